"""The house rules: imports point one way, importing is light, one door prints, no file grows a second noun."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RUNTIMES = {
    "torch", "torchaudio", "onnx", "onnxruntime", "transformers", "faster_whisper", "ctranslate2", "pyannote.audio",
    "pocketsphinx", "librosa", "kaldi_native_fbank",
}  # fmt: skip
OUTER = {"run_pipeline", "notebooks", "benchmarks", "tests", "examples"}
STAGES = (
    "asr",
    "vad",
    "windows",
    "cluster",
    "constrained",
    "separate",
    "turns",
    "overlap",
    "voices",
    "label",
    "score",
    "audio",
)  # modules of one stage each


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Dotted names of everything a file imports, `from a import b` as `a.b`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, f"{path}:{node.lineno}: a relative import hides where it leads"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def offending(files: list[Path], forbidden: set[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in imports(path)
        if any(name == bad or name.startswith(bad + ".") for bad in forbidden)
    ]


def test_the_library_knows_nothing_of_what_is_built_on_it() -> None:
    assert offending(modules("diarize"), OUTER | {"pipelines"}) == []


def test_recipes_know_nothing_of_the_door() -> None:
    assert offending(modules("pipelines"), OUTER) == []


def test_only_backends_import_model_runtimes() -> None:
    others = [path for path in modules("diarize") if path.parent.name != "backends"]
    assert offending([*others, *modules("pipelines"), ROOT / "run_pipeline.py"], RUNTIMES) == []


def test_nothing_imports_the_tests_but_tests() -> None:
    assert offending([*modules("benchmarks"), ROOT / "run_pipeline.py"], {"tests", "notebooks"}) == []
    assert offending([ROOT / "run_pipeline.py"], {"benchmarks", "examples"}) == []


def test_formats_and_backends_do_not_import_each_other() -> None:
    assert offending(modules("diarize/formats"), {"diarize.backends"}) == []
    assert offending(modules("diarize/backends"), {"diarize.formats"}) == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_no_other_stage(stage: str) -> None:
    assert (
        offending([ROOT / "diarize" / f"{stage}.py"], {f"diarize.{other}" for other in STAGES if other != stage}) == []
    )


def test_the_library_neither_prints_nor_parses_arguments() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in modules("diarize")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert found == []
    assert offending(modules("diarize"), {"argparse", "rich"}) == []


def test_nothing_unpickles() -> None:
    files = [*modules("diarize"), *modules("pipelines")]
    assert (
        offending(files, {"shelve", "joblib", "dill", "marshal", "pickle.load", "pickle.loads", "pickle.Unpickler"})
        == []
    )
    called = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "pickle"
        and node.attr in ("load", "loads", "Unpickler")
    ]
    assert called == []


@pytest.mark.parametrize("folder", ["diarize", "pipelines", "tests", "benchmarks", "."])
def test_no_file_is_too_long(folder: str) -> None:
    files = list(ROOT.glob("*.py")) if folder == "." else modules(folder)
    assert [
        f"{path.relative_to(ROOT)}" for path in files if len(path.read_text(encoding="utf-8").splitlines()) > 500
    ] == []


def test_importing_is_light() -> None:
    heavy = ["torch", "onnxruntime", "pandas", "librosa", "faster_whisper"]
    code = f"import sys, diarize, diarize.types, diarize.backends; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_names_that_say_nothing_are_not_used() -> None:
    empty = {"utils", "helpers", "util", "helper", "common", "misc", "manager", "handler"}
    assert [
        str(p.relative_to(ROOT)) for f in ("diarize", "pipelines", "tests") for p in modules(f) if p.stem in empty
    ] == []


def test_the_page_of_the_architecture_names_every_module_once() -> None:
    listed = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("```")[1]
    names = re.findall(r"[a-z_0-9*]+\.py", listed)
    for package in ("diarize", "pipelines"):
        for module in (ROOT / package).glob("*.py"):
            if module.name != "__init__.py":
                assert sum(fnmatch(module.name, name) for name in names) == 1, f"{package}/{module.name}"
    there = [path.name for path in (*ROOT.glob("*.py"), *ROOT.glob("diarize/*.py"), *ROOT.glob("pipelines/*.py"))]
    assert [name for name in names if not any(fnmatch(module, name) for module in there)] == []

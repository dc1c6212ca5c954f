"""The house rules: imports point one way, importing is light, one door prints, no file grows a second noun."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RUNTIMES = {
    "torch", "torchaudio", "onnx", "onnxruntime", "transformers", "faster_whisper", "ctranslate2", "pyannote.audio",
    "pocketsphinx", "librosa", "kaldi_native_fbank",
}  # fmt: skip
OUTER = {"run_pipeline", "notebooks", "benchmarks", "tests", "examples"}
NOUNS = "diarize"  # the modules of diarize/ itself, which every room may import
ALLOWED = {  # room of diarize/ -> the other rooms of it that it may import
    "diarize": set(),
    "diarize.audio": set(),
    "diarize.client": set(),
    "diarize.speech": set(),
    "diarize.clustering": set(),
    "diarize.turns": set(),
    "diarize.words": set(),
    "diarize.metrics": set(),
    "diarize.cache": set(),
    "diarize.formats": set(),
    "diarize.corrections": {"diarize.formats"},
    "diarize.guard": {"diarize.audio", "diarize.metrics"},
    "diarize.models": set(),
    "diarize.backends": {
        "diarize.audio", "diarize.speech", "diarize.words", "diarize.models", "diarize.backends.features",
        "diarize.backends.graphs",
    },
    "diarize.backends.embedders": {
        "diarize.audio", "diarize.models", "diarize.backends", "diarize.backends.features",
        "diarize.backends.graphs",
    },
    "diarize.backends.countermeasures": {
        "diarize.audio", "diarize.backends", "diarize.backends.graphs", "diarize.models",
    },
    "diarize.backends.features": {"diarize.audio"},
    "diarize.backends.graphs": set(),
    "diarize.training.data": {"diarize.audio"},
    "diarize.training.architectures": set(),
    "diarize.training": {
        "diarize.backends", "diarize.backends.graphs", "diarize.metrics", "diarize.models",
        "diarize.training.architectures", "diarize.training.data",
    },
    "diarize.library.database": set(),
    "diarize.library.search": {"diarize.library.database"},
    "diarize.library.scoring": {
        "diarize.audio", "diarize.clustering", "diarize.metrics", "diarize.turns", "diarize.library.database",
        "diarize.library.search",
    },
    "diarize.library": {"diarize.library.database", "diarize.library.search", "diarize.library.scoring"},
}  # fmt: skip
LAYERS = (  # rooms of pipelines/, each imports only what stands before it
    "pipelines",
    "pipelines.inputs",
    "pipelines.processes",
    "pipelines.results",
    "pipelines.batch",
    "pipelines.people",
    "pipelines.guard",
    "pipelines.review",
    "pipelines.review.server",
    "pipelines.pictures",
    "pipelines.app",
    "pipelines.evidence.formats",
    "pipelines.evidence",
    "pipelines.training",
    "pipelines.api",
    "pipelines.service.access",
    "pipelines.service.work",
    "pipelines.service.streams",
    "pipelines.service.http",
    "pipelines.service",
    "pipelines.evaluation",
    "pipelines.cli",
    "pipelines.cli.commands",
    "pipelines.cli.commands.network",
)
PUBLIC = (
    ROOT / "diarize" / "__init__.py"
)  # the only file of diarize/ that names pipelines: it exports their API, lazily
DOOR = ROOT / "diarize" / "__main__.py"  # `python -m diarize` opens the door; nothing imports it
MOST_MODULES = 14  # in one room, `formats/` apart: one module a format


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
    assert offending([path for path in modules("diarize") if path not in (PUBLIC, DOOR)], OUTER | {"pipelines"}) == []
    assert offending([PUBLIC], OUTER) == []
    assert offending([DOOR], OUTER - {"run_pipeline"} | {"pipelines", "diarize"}) == []


def test_what_the_library_exports_of_the_recipes_is_imported_when_it_is_used() -> None:
    lasting = ast.parse(PUBLIC.read_text(encoding="utf-8")).body
    assert not any(
        "pipelines" in ast.unparse(node) for node in lasting if isinstance(node, ast.Import | ast.ImportFrom)
    )
    code = "import sys, diarize; print(sorted({name.partition('.')[0] for name in sys.modules} & set(sys.argv[1:])))"
    roots = ["diarize", "pipelines", "numpy", "pydantic", "av"]
    out = subprocess.run([sys.executable, "-c", code, *roots], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "['diarize']"


def test_recipes_know_nothing_of_the_door() -> None:
    assert offending(modules("pipelines"), OUTER) == []


def test_only_backends_and_training_import_model_runtimes() -> None:
    others = [path for path in modules("diarize") if not {"backends", "training"} & set(path.parts)]
    assert offending([*others, *modules("pipelines"), ROOT / "run_pipeline.py"], RUNTIMES) == []


def test_nothing_imports_the_tests_but_tests() -> None:
    assert offending([*modules("benchmarks"), ROOT / "run_pipeline.py"], {"tests", "notebooks"}) == []
    assert offending([ROOT / "run_pipeline.py"], {"benchmarks", "examples"}) == []


def test_formats_and_backends_do_not_import_each_other() -> None:
    assert offending(modules("diarize/formats"), {"diarize.backends"}) == []
    assert offending(modules("diarize/backends"), {"diarize.formats"}) == []


def room(target: str) -> str:
    """The folder in which an imported module or name stands, dotted."""
    while not (ROOT / Path(*target.split("."))).is_dir():
        target = target.rpartition(".")[0]
    return target


def rooms_imported(name: str) -> dict[str, set[str]]:
    """Other room -> the imports that lead there, of all modules directly in the room `name`."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / Path(*name.split("."))).glob("*.py"):
        for target in imports(path) if path != PUBLIC else ():
            if target.partition(".")[0] in ("diarize", "pipelines") and room(target) != name:
                found.setdefault(room(target), set()).add(f"{path.relative_to(ROOT)} imports {target}")
    return found


def rooms(folder: str) -> list[str]:
    return sorted({".".join(path.parent.relative_to(ROOT).parts) for path in modules(folder)})


def test_every_room_of_the_library_is_listed() -> None:
    assert set(rooms("diarize")) == set(ALLOWED)
    assert set(rooms("pipelines")) == set(LAYERS)


@pytest.mark.parametrize("name", ALLOWED)
def test_a_room_of_the_library_imports_only_rooms_below_it(name: str) -> None:
    beyond = {other: found for other, found in rooms_imported(name).items() if other not in ALLOWED[name] | {NOUNS}}
    assert beyond == {}


def test_the_rooms_of_the_library_form_no_circle() -> None:
    done: set[str] = set()
    while ready := {name for name, below in ALLOWED.items() if name not in done and below <= done}:
        done |= ready
    assert done == set(ALLOWED)


@pytest.mark.parametrize("name", LAYERS)
def test_a_room_of_recipes_imports_only_rooms_before_it(name: str) -> None:
    above = set(LAYERS[LAYERS.index(name) + 1 :])
    assert {other: found for other, found in rooms_imported(name).items() if other in above} == {}


@pytest.mark.parametrize("name", [*ALLOWED, *LAYERS])
def test_no_room_is_crowded(name: str) -> None:
    inside = [path for path in (ROOT / Path(*name.split("."))).glob("*.py") if path.name != "__init__.py"]
    assert name == "diarize.formats" or len(inside) <= MOST_MODULES


@pytest.mark.parametrize("name", [*ALLOWED, *LAYERS])
def test_a_room_says_what_it_does(name: str) -> None:
    path = ROOT / Path(*name.split(".")) / "__init__.py"
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


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


def test_a_class_name_has_one_meaning() -> None:
    """`diarize.Transcript` and `diarize.Library` extend and wrap the classes of the same name."""
    names = Counter(
        node.name
        for folder in ("diarize", "pipelines")
        for path in modules(folder)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert {name for name, count in names.items() if count > 1} == {"Transcript", "Library"}


def test_values_have_names_that_say_what_they_are() -> None:
    vague = {"found", "given", "heard", "told", "kept", "made", "taken", "said"}
    assert [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.id}"
        for folder in ("diarize", "pipelines")
        for path in modules(folder)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in vague
    ] == []


def test_names_that_say_nothing_are_not_used() -> None:
    empty = {"utils", "helpers", "util", "helper", "common", "misc", "manager", "handler"}
    assert [
        str(p.relative_to(ROOT)) for f in ("diarize", "pipelines", "tests") for p in modules(f) if p.stem in empty
    ] == []


def test_the_page_of_the_architecture_lists_every_room() -> None:
    listed = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("```")[1]
    folders = {
        match.rstrip("/").replace("/", ".") for match in re.findall(r"^(?:diarize|pipelines)/[a-z_/]*", listed, re.M)
    }
    assert folders == {*ALLOWED, *LAYERS}

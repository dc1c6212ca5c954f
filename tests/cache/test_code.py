"""A digest changes with any module behind it, and with nothing else."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from diarize.cache import code


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of three modules, of which the first imports the second, which imports NumPy."""
    folder = tmp_path / "small"
    folder.mkdir()
    files = {
        "__init__": "",
        "stage": "from small import part\n",
        "part": "import os\n\nimport numpy\n",
        "other": "x = 1\n",
    }
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(code, "PROJECT", "small")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return folder


@pytest.fixture(autouse=True)
def _afresh() -> Iterator[None]:
    """What was taken of other code, or under another version, is forgotten."""
    yield
    for kept in (code.digest, code._module, code._versions):
        kept.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "small"]:
        del sys.modules[name]


def taken(module: str = "small.stage") -> str:
    for kept in (code.digest, code._module, code._versions):
        kept.cache_clear()
    importlib.invalidate_caches()
    return code.digest(module)


def test_fault_56_only_the_code_behind_a_stage_counts(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, other = taken(), taken("small.other")
    assert before == taken() != other
    (project / "other.py").write_text("x = 2\n", encoding="utf-8")
    assert taken() == before
    assert taken("small.other") != other
    (project / "part.py").write_text("import os\n\nimport numpy\n\nx = 1\n", encoding="utf-8")
    changed = taken()
    assert changed != before
    monkeypatch.setattr(code, "version", lambda name: "99.0")
    assert taken() != changed


def test_a_stage_of_this_project_is_digested_without_its_runtime() -> None:
    code.digest.cache_clear()
    digests = {code.digest(f"diarize.backends.{name}") for name in ("vad_silero", "embedder_ge2e", "asr_whisper")}
    assert len(digests) == 3
    with pytest.raises(ModuleNotFoundError):
        code.digest("diarize.backends.nothing")


def test_versions_of_what_computes_are_part_of_it() -> None:
    code._versions.cache_clear()
    assert [line.split()[0] for line in code._versions("numpy")] == ["numpy"]
    assert code._versions("os") == ()

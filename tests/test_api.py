"""What `import diarize` exports: the names, lazily, with types."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import diarize
from diarize.models.store import Store

ROOT = Path(__file__).resolve().parents[1]
EXPORTED = (
    "AudioError", "BackendError", "ConfigError", "DiarizeError", "FormatError", "Library", "LibraryError",
    "MissingExtra", "ModelError", "OutputError", "Segment", "Speaker", "StageError", "Transcript", "Turn", "Word",
    "__version__", "from_annotation", "from_seglst", "process", "read",
)  # fmt: skip


def test_the_exported_names_are_these() -> None:
    assert diarize.__all__ == sorted(EXPORTED)
    assert set(diarize._MODULES) | {"__version__"} == set(EXPORTED)
    assert set(EXPORTED) <= set(dir(diarize))
    for name, module in diarize._MODULES.items():
        assert getattr(diarize, name) is getattr(import_module(module), name)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'diarize' has no attribute 'proces'"):
        diarize.proces  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(diarize, "nowhere")


def test_another_package_of_the_name_pipelines_is_told(tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "__init__.py").touch()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-c", "import diarize; diarize.process('a.wav')"]
    out = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    last = out.stderr.splitlines()[-1]
    assert last.startswith("ImportError: diarize.process needs the package 'pipelines'") and str(tmp_path) in last


def test_importing_takes_less_than_a_third_of_a_second() -> None:
    code = "import time; t = time.process_time(); import diarize; print(time.process_time() - t)"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert float(out.stdout) < 0.3


SNIPPET = """
import diarize
from diarize import Transcript, Turn

def longest(path: str, people: diarize.Library) -> Turn:
    result: Transcript = diarize.process(path, num_speakers=4, library=people, config={"turns": {"gap": 0.5}})
    result.save("meeting.vtt")
    for speaker in result.speakers:
        print(speaker.label, len(result.to_rttm()), result.to_seglst()[0]["words"])
    return max(result.turns, key=lambda turn: turn.duration)

with diarize.Library("people.db") as people:
    outcome = people.enroll("Anna", ["anna1.wav"], consent="by letter")
    reveal_type(outcome.complete)
    reveal_type([person.name for person in people.people()])
try:
    reveal_type(diarize.process("meeting.m4a"))
except diarize.AudioError as error:
    print(error.cure)
"""
MISTAKES = """
import diarize

diarize.proces("meeting.m4a")
diarize.process("meeting.m4a", num_speakers="4")
diarize.process("meeting.m4a", num_speaker=4)
"""


def checked(code: str, folder: Path) -> list[str]:
    """What mypy says of a user's file. The packages are those of this checkout, whose own errors are not shown."""
    (folder / "snippet.py").write_text(code)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--follow-imports=silent"]
    command += ["--config-file=", f"--cache-dir={folder / 'cache'}", "snippet.py"]
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    out = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)
    assert out.stderr == ""
    return [line.partition(":")[2] for line in out.stdout.splitlines() if not line.startswith("/")]


def test_a_users_file_is_checked_with_types(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    for package in ("diarize", "pipelines"):
        assert (ROOT / package / "py.typed").exists()
    assert checked(SNIPPET, tmp_path) == [
        '14: note: Revealed type is "bool"',
        '15: note: Revealed type is "list[str]"',
        '17: note: Revealed type is "pipelines.api.transcript.Transcript"',
    ]
    found = checked(MISTAKES, tmp_path)
    assert [line.partition(":")[0] for line in found if "error" in line] == ["4", "5", "6"]


@pytest.mark.parametrize("name", ["transcript", "conversions", "library", "processing", "keywords"])
def test_examples_in_docstrings_run(name: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIARIZE_MODELS", str(store.folder))
    monkeypatch.chdir(ROOT)
    module = import_module(f"pipelines.api.{name}")
    results = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.failed == 0
    assert results.attempted or name not in ("transcript", "processing")

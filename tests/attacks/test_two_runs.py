"""Two runs want one folder: the second is refused, and a dead one is no hindrance."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import run_pipeline
from pipelines.batch.lock import Lock
from tests.cheap import SETTINGS, write_tones

ROOT = Path(__file__).resolve().parents[2]
KILLED = """
import os, pathlib, signal, sys
from pipelines.batch.lock import Lock
with Lock(pathlib.Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def process(place: Path) -> int:
    write_tones(place / "in" / "talk.wav", [(300, 2.0)])
    return run_pipeline.main(["process", str(place / "in"), "--out", str(place / "out"), *SETTINGS, "-q"])


def test_fault_53_a_second_run_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    with Lock(tmp_path / "out"):
        assert process(tmp_path) == 2
        assert "is writing its results there" in capfd.readouterr().err
        assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]
    assert process(tmp_path) == 0


def test_fault_53_the_lock_of_a_run_that_was_killed_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "out")], cwd=ROOT)
    assert killed.returncode == -9
    assert (tmp_path / "out" / ".lock").exists()
    assert process(tmp_path) == 0
    assert not (tmp_path / "out" / ".lock").exists()

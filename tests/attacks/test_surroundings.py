"""The main job where the machine gives it little: no home, nowhere to write, a folder that is gone, very many files."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from pipelines.inputs import recordings
from tests.cheap import SETTINGS, write_tones

ROOT = Path(__file__).resolve().parents[2]


def process(place: Path, before: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a shell, after `before`, with nothing in the environment but what is given."""
    write_tones(place / "in" / "talk.wav", [(300, 2.0)])
    command = (
        f"{before} {sys.executable} {ROOT}/run_pipeline.py process {place}/in --out {place}/out {' '.join(SETTINGS)}"
    )
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DIARIZE_RUN_CACHE": "auto", **environment}
    return subprocess.run(["bash", "-c", command], env=given, capture_output=True, text=True, cwd=place)


def test_fault_60_nothing_of_the_user_is_there(tmp_path: Path) -> None:
    """No HOME, a working folder that was deleted, umask 077: done, and readable by the user alone."""
    ran = process(tmp_path, "mkdir gone && cd gone && rmdir ../gone && umask 077 &&")
    assert ran.returncode == 0, ran.stderr
    made = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert made
    assert {path.stat().st_mode & 0o077 for path in made} == {0}


def test_fault_60_a_home_below_a_file_and_no_temporary_folder(tmp_path: Path) -> None:
    """Neither can anything be kept in the home, nor scratch be made: what needs neither is done."""
    (tmp_path / "file").touch()
    home = str(tmp_path / "file" / "home")
    ran = process(tmp_path, "", HOME=home, XDG_CACHE_HOME=home, HF_HOME=home, TMPDIR=str(tmp_path / "nowhere"))
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="mount spaces are Linux's")
def test_fault_60_no_folder_for_temporary_files_at_all(tmp_path: Path) -> None:
    """As in a container that may be read only: everything but the folder of the results."""
    place = tmp_path / "place"
    write_tones(place / "in" / "talk.wav", [(300, 2.0)])
    (place / "out").mkdir()
    script = (
        f"mount --bind {place} {place} && mount --bind {place}/out {place}/out && "
        f"for at in / /tmp {place}; do mount -o remount,bind,ro $at 2>/dev/null; done; "
        f"touch /tmp/x 2>/dev/null && exit 77; cd / && "
        f"{sys.executable} {ROOT}/run_pipeline.py process {place}/in --out {place}/out {' '.join(SETTINGS)}"
    )
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": "/nonexistent"}
    ran = subprocess.run(["unshare", "-m", "bash", "-c", script], env=given, capture_output=True, text=True)
    if ran.returncode in (1, 77) and "process" not in ran.stderr:
        pytest.skip("no file system may be mounted read-only here")
    assert "Traceback" not in ran.stderr
    assert ran.returncode == 0 or (ran.returncode == 5 and "TMPDIR" in ran.stderr), ran.stderr


def test_fault_62_very_many_small_files_take_little_memory(tmp_path: Path) -> None:
    for number in range(5000):
        folder = tmp_path / "in" / f"{number % 50}"
        if number < 50:
            folder.mkdir(parents=True)
        os.close(os.open(folder / f"{number}.wav", os.O_CREAT))
    deep = tmp_path / "in"
    for _ in range(60):
        deep /= "d"
    deep.mkdir(parents=True)
    (deep / "last.wav").touch()
    tracemalloc.start()
    try:
        found = recordings.find([tmp_path / "in"]).inputs
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == 5001
    assert len({item.id for item in found}) == 5001
    assert most < 5001 * 4000  # bytes: 100,000 files are some 400 MB at most

"""Killed at any moment, then the same command again: the bytes of an undisturbed run (faults 45 and 47)."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cheap import SETTINGS, write_tones

ROOT = Path(__file__).resolve().parents[2]
MOMENTS, SHARES = 200, 10
SEED = 20_260
SLACK = 1.1  # moments are drawn over the undisturbed run's length and somewhat more


class Killer:
    """The process of `killed.py`, and what an undisturbed run leaves."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "tests.pipelines.killed"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.inputs = folder / "in"
        for number, name in enumerate(("a", "b", "c")):
            write_tones(self.inputs / f"{name}.wav", [(300, 0.6 + number / 10), (2500, 0.7)])
        shutil.copy(self.inputs / "a.wav", self.inputs / "twin.wav")
        (self.inputs / "text.wav").write_text("this is no recording\n")
        self.out = folder / "out"
        self.whole = self.run()
        assert self.whole["status"] == 3
        self.expected = contents(self.out)
        self.seconds = min(self.again()["seconds"] for _ in range(2))

    def run(self, **how: Any) -> dict[str, Any]:
        """The command once, killed or not."""
        command = ["process", *SETTINGS, str(self.inputs), "--out", str(self.out), "-q", "--formats", "txt,rttm"]
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"arguments": command, **how}) + "\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def again(self, **how: Any) -> dict[str, Any]:
        """The same from nothing."""
        shutil.rmtree(self.out, ignore_errors=True)
        return self.run(**how)

    def close(self) -> None:
        self._process.communicate(timeout=60)


def contents(out: Path) -> dict[str, bytes]:
    """Every file of a folder of results, hidden ones too, but for those that say when and where."""
    found = (path for path in out.rglob("*") if path.is_file() and path.name != "provenance.json")
    return {str(path.relative_to(out)): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def killer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIARIZE_RUN_CACHE", "none")
        patch.setenv("DIARIZE_MODELS", str(tmp_path_factory.mktemp("models")))
        patch.setenv("OPENBLAS_NUM_THREADS", "1")  # and none of its threads, which a fork does not survive
        patch.setenv("OMP_NUM_THREADS", "1")
        memory = Path("/dev/shm")  # where there is one: flushing to a real disk is most of the time
        with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
            found = Killer(Path(folder))
            yield found
            found.close()


@pytest.mark.parametrize("share", range(SHARES))
def test_fault_45_killed_at_random_moments_the_same_command_gives_the_same_bytes(killer: Killer, share: int) -> None:
    chance = random.Random(SEED + share)
    for _ in range(MOMENTS // SHARES):
        moment = chance.uniform(0, killer.seconds * SLACK)
        killed = killer.again(seconds=moment)
        done = killer.run()
        assert done["status"] == 3, (share, moment, killed)
        assert contents(killer.out) == killer.expected, (share, moment, killed)


def test_fault_45_killed_again_and_again_it_comes_to_its_end(killer: Killer) -> None:
    chance = random.Random(SEED)
    shutil.rmtree(killer.out)
    for _ in range(10):
        killer.run(seconds=chance.uniform(0, killer.seconds))
    assert killer.run()["status"] == 3
    assert contents(killer.out) == killer.expected


@pytest.mark.parametrize("share", range(SHARES))
def test_fault_45_killed_at_each_change_to_the_disk_the_same_command_gives_the_same_bytes(
    killer: Killer, share: int
) -> None:
    assert killer.whole["steps"] > 50
    for step in range(1 + share, killer.whole["steps"] + 1, SHARES):
        killed = killer.again(step=step)
        done = killer.run()
        assert done["status"] == 3, (step, killed)
        assert contents(killer.out) == killer.expected, (step, killed)

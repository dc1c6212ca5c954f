"""kill -9 in the middle of writing: what was confirmed is there, and nothing half-done is."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from diarize.library import store
from tests.library.voices import MODEL

WRITER = r"""
import itertools, os, sys
from pathlib import Path
from diarize.library import store
from diarize.library.search import index
from tests.library.voices import MODEL, enrolment
index.MANY = 5
start = int(sys.argv[2])
with store.open(Path(sys.argv[1]), create=True) as library:
    os.write(1, b"ready\n")
    for seed in itertools.count(start):
        person = library.enrol(f"person {seed}", [enrolment(seed, audio=bytes(20_000))])
        os.write(1, b"enrolled %d\n" % seed)  # one system call: a line is told whole
        if seed % 3 == 0:
            library.matrix(MODEL)
        if seed % 7 == 0:
            library.remove(person.id)
            os.write(1, b"removed %d\n" % seed)
"""
ROUNDS = 8


def test_fault_63_killed_at_any_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = random.Random(63)
    present: set[int] = set()
    path = tmp_path / "s.db"
    for number in range(ROUNDS):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(1000 * number + 1)],
            stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0.01, 0.4))
        writer.send_signal(signal.SIGKILL)
        told = writer.communicate()[0].splitlines()
        assert writer.wait() == -signal.SIGKILL
        removed: set[int] = set()
        for line in told:
            assert len(line.split()) == 2, told[-3:]
            done, seed = line.split()
            (present if done == "enrolled" else removed).add(int(seed))
        present -= removed
        with store.open(path) as library:
            names = {int(person.name.split()[1]) for person in library.people()}
            # the one in hand may have been written and not yet told of, or removed and not yet told of
            assert len(names ^ present) <= 1
            assert not names & removed
            report = library.audit()
            assert report.problems == ()
            monkeypatch.setattr("diarize.library.search.index.MANY", 5)
            matrix = library.matrix(MODEL)
            assert matrix.digest == library.digest(MODEL)
            assert {int(name.split()[1]) for name in matrix.names} == names
        present = names
    assert len(present) > ROUNDS

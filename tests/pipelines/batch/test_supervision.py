"""One worker process: its detector, its ends, and what is known of them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.batch.supervision import SupervisedWorker, WorkerExit, end_all
from pipelines.processes import lifetime, stall
from pipelines.results.outcomes import Outcome
from tests.faulty import PLACE
from tests.pipelines.batch.test_worker_pool import chosen, tones


@contextlib.contextmanager
def child(out: Path, **run: float) -> Iterator[SupervisedWorker]:
    made = SupervisedWorker(chosen("tests.faulty:embedder", **run), out, 1)
    try:
        yield made
    finally:
        end_all([made])


def test_one_process_serves_many_and_is_deaf_to_what_its_group_hears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PLACE, str(tmp_path))
    heard = []
    with child(tmp_path / "out") as worker:
        for job in tones(tmp_path, "process-1", "process-2"):
            row = worker.run(job, lambda *said: heard.append(said))
            assert isinstance(row, Outcome)
            assert row.status == "done"
            pid = int((tmp_path / job.input.id).read_text())
            os.kill(pid, signal.SIGINT)
            os.kill(pid, signal.SIGTERM)
        assert (tmp_path / "process-1").read_text() == (tmp_path / "process-2").read_text()
        assert pid != os.getpid()
        assert os.getpgid(pid) == pid
    assert [stage for id, stage in heard].count("load") == 1  # the models are loaded once
    assert worker._process.exitcode == 0


def test_its_children_die_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLACE, str(tmp_path))
    with child(tmp_path / "out", patience=1.5) as worker:
        (job,) = tones(tmp_path, "parent")
        found = worker.run(job)
    assert isinstance(found, WorkerExit)
    assert (found.stage, found.job_started) == ("embed", True)
    assert found.reason == "no progress for 1.5 s in stage embed"
    pid = int((tmp_path / "child").read_text())
    for _ in range(200):  # until whoever inherits it has buried it
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_fault_51_an_endless_loop_ends_and_so_does_a_process_that_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(stall.SLOW, "embed", 0.1)  # s a second
    endless, stopped = tones(tmp_path, "endless", "stopped")
    with child(tmp_path / "out", patience=2) as worker:
        found = worker.run(endless)
        assert isinstance(found, WorkerExit)
        assert found.reason == "no end after 2 s in stage embed"
    monkeypatch.delitem(stall.SLOW, "embed")
    with child(tmp_path / "out", patience=2) as worker:
        found = worker.run(stopped)
        assert isinstance(found, WorkerExit)
        assert found.reason == "no progress for 2 s in stage embed"


def test_processor_time_is_told_of_the_living() -> None:
    before = lifetime.cpu_seconds(os.getpid())
    if before is None:
        pytest.skip("this system does not tell processor time")
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    now = lifetime.cpu_seconds(os.getpid())
    assert now is not None
    assert now >= before + 0.05
    assert lifetime.cpu_seconds(2**22 + 1) is None


def test_a_stage_may_take_longer_the_longer_the_recording_is(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(stall, "cpu_seconds", lambda pid: None)  # a system that tells no processor time
    detector = stall.StallDetector(1, 60, 100 * stall.READING)
    detector.enter_stage("read")
    clock[0] = 159.0
    assert detector.describe_stall() == ""
    clock[0] = 161.0
    assert detector.describe_stall() == "no end after 160 s in stage read"
    detector.enter_stage("recognize")
    detector.set_duration(3600)
    clock[0] += 3600 * stall.SLOW["recognize"]
    assert detector.describe_stall() == ""
    clock[0] += 61
    assert detector.describe_stall() == "no end after 144060 s in stage recognize"


def test_little_processor_time_is_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, used = [0.0], [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(stall, "cpu_seconds", lambda pid: used[0])
    detector = stall.StallDetector(1, 600, 0)
    detector.enter_stage("embed")
    detector.set_duration(36_000)
    for _ in range(100):  # at work: a tenth of the time
        clock[0], used[0] = clock[0] + 60, used[0] + 6
        assert detector.describe_stall() == ""
    found = []
    for _ in range(11):  # only looking whether it may go on
        clock[0], used[0] = clock[0] + 60, used[0] + 0.06
        found.append(detector.describe_stall())
    assert found == [""] * 10 + ["no progress for 600 s in stage embed"]

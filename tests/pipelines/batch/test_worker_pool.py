"""Many recordings at once: workers that die or hang, and Ctrl-C."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diarize.config import parse
from diarize.models.store import Store
from pipelines import plan
from pipelines.batch import supervision, worker_pool
from pipelines.batch.retries import RETRY
from pipelines.batch.worker import Worker
from pipelines.batch.worker_pool import longest_first
from pipelines.inputs.jobs import Job
from pipelines.inputs.recordings import Input
from pipelines.plan import Plan
from pipelines.processes.interrupt import ECHO, Interrupt
from tests.cheap import SETTINGS, write_tones
from tests.faulty import PLACE

ROOT = Path(__file__).resolve().parents[3]


def jobs(folder: Path, *names: str) -> list[Job]:
    cheap = chosen().config.cluster
    return [Job(Input(folder / name, name, Path(name).stem), cheap) for name in names]


def chosen(embedder: str = "tests.cheap:embedder", **run: Any) -> Plan:
    settings = {"vad": {"backend": "energy"}, "embedder": {"backend": embedder}, "asr": {"backend": "none"}}
    return plan.make(parse(settings | {"run": run}, "test"), Store(offline=True))


def tones(folder: Path, *names: str) -> list[Job]:
    """A recording of each name, the first the shortest."""
    for number, name in enumerate(names):
        write_tones(folder / f"{name}.wav", [(300, 1.0 + number / 10)])
    return jobs(folder, *(f"{name}.wav" for name in names))


def test_the_longest_is_first_and_equals_keep_their_order(tmp_path: Path) -> None:
    for name, size in (("b", 10), ("a", 10), ("long", 90), ("short", 1)):
        (tmp_path / name).write_bytes(bytes(size))
    found = longest_first(jobs(tmp_path, "b", "missing", "a", "short", "long"))
    assert [job.input.id for job in found] == ["long", "b", "a", "short", "missing"]


def test_fault_50_a_backend_that_ends_the_program_costs_a_row(tmp_path: Path) -> None:
    write_tones(tmp_path / "quit.wav", [(300, 2.0)])
    (row,) = (Worker(chosen("tests.cheap:dying_embedder"), tmp_path / "out")(job) for job in jobs(tmp_path, "quit.wav"))
    assert (row.status, row.reason) == ("failed", "SystemExit: no licence")


def test_faults_49_50_52_a_death_costs_a_try_and_two_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PLACE, str(tmp_path))
    heard: list[tuple[str, str]] = []
    names = ("a", "hungry", "once", "b", "killed", "segfault")
    found = worker_pool.run(
        tones(tmp_path, *names), chosen("tests.faulty:embedder"), tmp_path / "out", 2, lambda *said: heard.append(said)
    )
    rows = {row.id: row for row in found}
    assert {id: (row.status, row.tries) for id, row in rows.items()} == {
        "a": ("done", 1),
        "b": ("done", 1),
        "once": ("done", 2),
        "hungry": ("failed", 1),
        "killed": ("crashed", 2),
        "segfault": ("crashed", 2),
    }
    assert "MemoryError" in rows["hungry"].reason
    assert "killed by signal 9 (SIGKILL), probably because memory ran out; twice" in rows["killed"].reason
    assert "killed by signal 11 (SIGSEGV); twice" in rows["segfault"].reason
    assert rows["segfault"].stage == "embed"
    assert [id for id, stage in heard if stage == RETRY].count("once") == 1
    at = max(heard.index(said) for said in (("a", "write"), ("b", "write"), ("hungry", "embed"), ("once", RETRY)))
    at = max(at, heard.index(("killed", RETRY)), heard.index(("segfault", RETRY)))
    alone = [id for id, _ in itertools.groupby(heard[at + 1 :], lambda said: said[0])]
    assert sorted(alone) == ["killed", "once", "segfault"]  # one after the other, when the others are done


def test_fault_51_a_hang_costs_a_try_and_two_the_recording(tmp_path: Path) -> None:
    hung, done = worker_pool.run(
        tones(tmp_path, "a", "hang"), chosen("tests.faulty:embedder", patience=2), tmp_path / "out", 2
    )
    hung, done = (hung, done) if hung.id == "hang" else (done, hung)
    assert done.status == "done"
    assert (hung.status, hung.tries, hung.stage) == ("crashed", 2, "embed")
    assert hung.reason == "no progress for 2 s in stage embed; twice, the second time alone"


def test_a_worker_that_dies_idle_costs_nobody_a_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[supervision.SupervisedWorker] = []
    begin = supervision.SupervisedWorker.__init__

    def watched(child: supervision.SupervisedWorker, *arguments: Any) -> None:
        made.append(child)
        begin(child, *arguments)

    monkeypatch.setattr(supervision.SupervisedWorker, "__init__", watched)
    rows = worker_pool.run(tones(tmp_path, "a", "b", "c"), chosen(), tmp_path / "out")
    done = [next(rows)]
    made[0]._process.kill()
    made[0]._process.join()
    done += rows
    assert [(row.status, row.tries) for row in done] == [("done", 1)] * 3
    assert len(made) == 2


def test_workers_that_cannot_be_begun_are_the_machines_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object) -> None:
        raise OSError("no process can be had")

    monkeypatch.setattr(worker_pool, "SupervisedWorker", refused)
    (row,) = worker_pool.run(tones(tmp_path, "a", "b"), chosen(), tmp_path / "out", 2)
    assert (row.status, row.environment) == ("failed", True)
    assert "no process can be had" in row.reason


def test_fault_46_an_end_asked_for_leaves_what_was_not_begun(tmp_path: Path) -> None:
    told: list[int] = []
    with Interrupt(told.append) as interrupt:
        rows = worker_pool.run(tones(tmp_path, "a", "b", "c"), chosen(), tmp_path / "out", 1, interrupt=interrupt)
        found = [next(rows)]
        os.kill(os.getpid(), signal.SIGINT)
        found += rows
    assert [row.status for row in found] == ["done"]
    assert told == []  # nothing was running


@contextlib.contextmanager
def running(folder: Path, *more: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The command line at work on two recordings, one after the other, once the first is with the embedder."""
    tones(folder / "in", *more)
    out, scratch = folder / "out", folder / "scratch"
    scratch.mkdir()
    command: list[str | Path] = [sys.executable, ROOT / "run_pipeline.py", "process", folder / "in", "-v"]
    command += ["--out", out, *SETTINGS, "--embedder", "tests.faulty:embedder"]
    environment = os.environ | {"TMPDIR": str(scratch), PLACE: str(folder)}
    parent = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, start_new_session=True)
    try:
        assert says(parent, b"computing embeddings")
        yield parent, out
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
    assert not list(scratch.iterdir())


def says(parent: subprocess.Popen[bytes], text: bytes) -> bool:
    assert parent.stderr is not None
    return any(text in line for line in parent.stderr)


def statuses(out: Path) -> dict[str, str]:
    return {row["id"]: row["status"] for row in json.loads((out / "run.json").read_text())["recordings"]}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_fault_46_once_finishes_what_runs(tmp_path: Path, how: signal.Signals) -> None:
    with running(tmp_path, "never", "patient") as (parent, out):
        os.killpg(parent.pid, how)  # as a terminal and as a batch system do
        assert says(parent, b"finishing 1 recording; Ctrl-C again to stop now")
        (tmp_path / "go").touch()
        said = parent.communicate(timeout=60)[1]
    assert parent.returncode == 130
    assert b"Traceback" not in said
    assert statuses(out) == {"patient": "done", "never": "interrupted"}


def test_fault_46_twice_stops_now(tmp_path: Path) -> None:
    with running(tmp_path, "never", "hang") as (parent, out):
        os.killpg(parent.pid, signal.SIGTERM)
        assert says(parent, b"finishing 1 recording")
        time.sleep(ECHO + 0.1)
        os.killpg(parent.pid, signal.SIGINT)
        said = parent.communicate(timeout=60)[1]  # ends when no process holds the stream any more
    assert parent.returncode == 130
    assert b"Traceback" not in said
    assert statuses(out) == {"hang": "interrupted", "never": "interrupted"}
    assert not list(out.rglob("transcript.*"))


def test_fault_45_no_worker_outlives_its_parent(tmp_path: Path) -> None:
    with running(tmp_path, "never", "hang") as (parent, out):
        parent.kill()
        said = parent.communicate(timeout=60)[1]
    assert parent.returncode == -signal.SIGKILL
    assert b"Traceback" not in said
    assert not list(out.rglob("transcript.*"))

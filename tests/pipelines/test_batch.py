"""Many recordings at once: workers that die, workers whose parent dies, files with the same bytes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from diarize import files
from diarize.config import parse
from diarize.models.store import Store
from pipelines import batch, plan
from pipelines.batch import same_bytes
from pipelines.inputs import Input
from pipelines.plan import Plan
from pipelines.work import Job, Worker
from tests.cheap import SETTINGS, write_tones

ROOT = Path(__file__).resolve().parents[2]


def jobs(folder: Path, *names: str) -> list[Job]:
    cheap = chosen().config.cluster
    return [Job(Input(folder / name, name, Path(name).stem), cheap) for name in names]


def chosen(embedder: str = "tests.cheap:embedder") -> Plan:
    settings = {"vad": {"backend": "energy"}, "embedder": {"backend": embedder}, "asr": {"backend": "none"}}
    return plan.make(parse(settings, "test"), Store(offline=True))


def test_empty_files_are_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.wav", "b.wav"):  # files of the system (/proc) call themselves empty, and reading them may never end
        (tmp_path / name).touch()
    monkeypatch.setattr(files, "sha256", lambda path: pytest.fail(f"{path} was read"))
    assert same_bytes(jobs(tmp_path, "a.wav", "b.wav")) == {}


def test_fault_20_a_copy_of_a_bad_file_says_whose_fault_it_is(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_text("this is no recording")
    a, b = batch.run(jobs(tmp_path, "a.wav", "b.wav"), chosen(), tmp_path / "out")
    assert (a.name, b.name, b.status) == ("a.wav", "b.wav", "failed")
    assert b.reason == f"the same bytes as a.wav: {a.reason}"


def test_fault_50_a_backend_that_ends_the_program_costs_a_row(tmp_path: Path) -> None:
    write_tones(tmp_path / "quit.wav", [(300, 2.0)])
    (row,) = (Worker(chosen("tests.cheap:dying_embedder"), tmp_path / "out")(job) for job in jobs(tmp_path, "quit.wav"))
    assert (row.status, row.reason) == ("failed", "SystemExit: no licence")


def test_fault_50_a_pool_that_breaks_while_nobody_works_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[ProcessPoolExecutor] = []
    submit = ProcessPoolExecutor.submit

    def watched(pool: ProcessPoolExecutor, *args: Any, **options: Any) -> Any:
        pools.append(pool)
        return submit(pool, *args, **options)

    monkeypatch.setattr(ProcessPoolExecutor, "submit", watched)
    for number, name in enumerate(("a.wav", "b.wav", "c.wav")):
        write_tones(tmp_path / name, [(300, 2.0 + number)])
    rows = batch.run(jobs(tmp_path, "a.wav", "b.wav", "c.wav"), chosen(), tmp_path / "out")
    done = [next(rows).status]
    for process in pools[0]._processes.values():
        process.kill()
    while not pools[0]._broken:
        time.sleep(0.05)
    done += [row.status for row in rows]
    assert done == ["done"] * 3


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_fault_46_no_worker_outlives_its_parent(tmp_path: Path, how: signal.Signals) -> None:
    for name in ("a", "b"):
        write_tones(tmp_path / "in" / f"{name}.wav", [(300, 2.0 + ord(name) / 100)])
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    scratch.mkdir()
    command: list[str | Path] = [sys.executable, ROOT / "run_pipeline.py", "process", tmp_path / "in", "-v"]
    command += ["--out", out, *SETTINGS, "--embedder", "tests.cheap:sleeping_embedder"]
    environment = os.environ | {"TMPDIR": str(scratch)}
    parent = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, start_new_session=True)
    try:
        assert parent.stderr is not None
        assert any(b"hearing voices" in line for line in parent.stderr)
        parent.send_signal(how)
        said = parent.communicate(timeout=60)[1]  # ends when no process holds the stream any more
        assert parent.returncode == (-how if how == signal.SIGKILL else 130)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
    assert b"Traceback" not in said
    assert not list(scratch.iterdir())
    assert not list(tmp_path.rglob("transcript.*"))
    assert (out / "run.json").exists() == (how != signal.SIGKILL)

"""Runs without worker processes, which cost seconds each: what a run does around its workers is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import run_pipeline
from pipelines.batch import spare_worker, worker_pool
from pipelines.batch.supervision import OnProgress, ignore_progress
from pipelines.batch.worker import Worker
from pipelines.inputs.jobs import Job
from pipelines.plan import Plan
from pipelines.processes import decoding
from pipelines.processes.interrupt import Interrupt
from pipelines.results.outcomes import Outcome
from tests.cheap import SETTINGS


class InProcess:
    """In the place of `batch.run`. Says which recordings were processed."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.processed: list[str] = []
        self.before: Callable[[Job], Outcome | None] = lambda job: None  # may give a row in place of the worker's
        patch.setattr(spare_worker, "needs_worker", lambda arguments: False)
        patch.setattr(worker_pool, "run", self._run)
        patch.setattr(decoding, "available", lambda: False)

    def _run(
        self,
        jobs: Sequence[Job],
        plan: Plan,
        out: Path,
        workers: int,
        watch: Any,
        interrupt: Interrupt,
        on_progress: OnProgress = ignore_progress,
    ) -> Iterator[Outcome]:
        worker = Worker(plan, out, 1, watch, on_progress=on_progress)
        for job in jobs:
            if interrupt.stopping:
                return
            self.processed.append(job.input.id)
            yield self.before(job) or worker(job)

    def __call__(self, folder: Path, out: Path, *options: object) -> int:
        """`process` on a folder; `processed` is of this call then."""
        self.processed.clear()
        return run_pipeline.main(["process", *SETTINGS, str(folder), "--out", str(out), "-q", *map(str, options)])


def contents(out: Path) -> dict[str, bytes]:
    """Every file of a folder of results, hidden ones too, but for those that say when and where."""
    found = (path for path in out.rglob("*") if path.is_file() and not path.name.startswith("provenance."))
    return {str(path.relative_to(out)): path.read_bytes() for path in found}

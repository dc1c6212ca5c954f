"""Which recordings are tried again: in the same run after their worker ended, and in later runs after a failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol, Self

from pipelines.batch.supervision import OnStage, WorkerExit
from pipelines.inputs.jobs import Job
from pipelines.processes.interrupt import Interrupt
from pipelines.results.journal import Failure
from pipelines.results.outcomes import Outcome

RETRY = "again"  # the stage of a recording whose worker died, until it is tried once more
TRIES = 3  # at a recording that ends its worker, over all runs of one set of settings


class Pool(AbstractContextManager["Pool"], Protocol):
    """Workers on this machine, or on a Ray cluster."""

    def __enter__(self) -> Self: ...

    def process(
        self, jobs: Sequence[Job], on_stage: OnStage, interrupt: Interrupt
    ) -> Iterator[tuple[Job, Outcome | WorkerExit]]:
        """Each job with its row, or with the end of the worker that had it."""
        ...


def run_with_retries(
    jobs: Sequence[Job], open_pool: Callable[[int | None], Pool], on_stage: OnStage, interrupt: Interrupt
) -> Iterator[Outcome]:
    """Outcomes as they finish. A recording that ended its worker is tried once more, alone, after all others.

    `open_pool` opens a pool of so many workers; None: as many as there is room for.
    """
    exits: list[tuple[Job, WorkerExit]] = []
    with open_pool(None) as pool:
        for job, result in pool.process(jobs, on_stage, interrupt):
            if isinstance(result, Outcome):
                yield result
            else:
                on_stage(job.input.id, RETRY)
                exits.append((job, result))
    first = {job.input.id: end for job, end in exits}
    with open_pool(1) as pool:  # alone, in a new worker: none of the other recordings can be what kills it
        for job, result in pool.process([job for job, _ in exits], on_stage, interrupt):
            item, before = job.input, first.pop(job.input.id)
            if isinstance(result, Outcome):
                yield replace(result, tries=result.tries + 1)
                continue
            twice = f"{result.reason}; twice, the second time alone"
            reason = twice if result.reason == before.reason else f"{before.reason}; tried again alone: {result.reason}"
            yield Outcome(item.id, item.name, "crashed", result.stage, reason, tries=2)
    for job, end in exits:
        if job.input.id in first:
            reason = f"the run was interrupted before it could be tried again; {end.reason}"
            yield Outcome(job.input.id, job.input.name, "interrupted", end.stage, reason)


def would_fail_again(job: Job, failure: Failure, digest: str | None) -> bool:
    """Whether `failure` in an earlier run would repeat: of the same bytes and settings, and not by chance.

    `digest` is the sha256 of the recording's file. A file that cannot be decoded fails again; a recording that ends
    its worker is tried `TRIES` times in all.
    """
    if (failure.name, failure.settings_digest, failure.digest) != (job.input.name, job.settings_digest, digest):
        return False
    row = failure.outcome
    return (row.status == "failed" and row.stage == "read") or (row.status == "crashed" and failure.tries >= TRIES)

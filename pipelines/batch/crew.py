"""Many recordings, one bad file at a time: a failure is a row in the report, never the end of the run."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from diarize.backends import devices
from pipelines.batch import ray_crew, supervision
from pipelines.batch.supervision import Child, Death, Watch
from pipelines.inputs.jobs import Job
from pipelines.plan import Plan
from pipelines.processes.interrupt import Interrupt
from pipelines.results.outcomes import Outcome

AGAIN = "again"  # the stage of a recording whose worker died, until it is tried once more
ATTEMPTS = 3  # at a worker that ends before it has begun with anything


class Crew(Protocol):
    """Workers, here or elsewhere, for as long as its block lasts."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

    def work(self, jobs: Sequence[Job], watch: Watch, interrupt: Interrupt) -> Iterator[tuple[Job, Outcome | Death]]:
        """Each job with what came of it: its row, or the death of its worker."""
        ...


def run(
    jobs: Sequence[Job],
    plan: Plan,
    out: Path,
    workers: int = 1,
    watch: Watch = lambda id, stage: None,
    interrupt: Interrupt | None = None,
) -> Generator[Outcome, None, None]:
    """Outcomes as they finish, the longest recording first.

    A worker that dies (a crash of a library, killed for want of memory) or hangs costs its own recording one try. When
    the others are done it is tried once more, alone, and then its row says `crashed`. Where `interrupt` asks for an end
    no recording is begun any more, and those that were not begun have no row; raises KeyboardInterrupt where it asks to
    stop now. Leaving the iteration, in any way, ends all workers.
    """
    with _crews(plan, out, max(1, min(workers, len(jobs)))) as employ:
        yield from _tried(longest_first(jobs), employ, watch, interrupt or Interrupt())


def longest_first(jobs: Sequence[Job]) -> list[Job]:
    """The jobs by size of their files, those of one size in their order: a batch should not end with one long file.

    Sizes are no lengths, but need no decoding, and the recordings of a batch mostly are of one kind.
    """

    def size(job: Job) -> int:
        try:
            return job.input.path.stat().st_size
        except OSError:
            return 0

    return sorted(jobs, key=size, reverse=True)


def threads_for(workers: int) -> int:
    """Threads a worker may use, so that all workers together fill the cores and no more."""
    return max(1, devices.cores() // workers)


@contextlib.contextmanager
def _crews(plan: Plan, out: Path, workers: int) -> Iterator[Callable[[int | None], Crew]]:
    """What employs so many workers (None: all that there is room for), where the settings say."""
    run = plan.config.run
    if run.engine == "local":
        yield lambda most: _Crew(plan, out, most or workers)
        return
    with ray_crew.connected(run.ray_address):
        yield lambda most: ray_crew.RayCrew(plan, out, threads_for(workers), most)


def _tried(
    jobs: Sequence[Job], employ: Callable[[int | None], Crew], watch: Watch, interrupt: Interrupt
) -> Iterator[Outcome]:
    deaths: list[tuple[Job, Death]] = []
    with employ(None) as crew:
        for job, found in crew.work(jobs, watch, interrupt):
            if isinstance(found, Outcome):
                yield found
            else:
                watch(job.input.id, AGAIN)
                deaths.append((job, found))
    first = {job.input.id: death for job, death in deaths}
    with employ(1) as crew:  # alone, by a new worker: nothing of the others can be what kills it
        for job, found in crew.work([job for job, _ in deaths], watch, interrupt):
            item, before = job.input, first.pop(job.input.id)
            if isinstance(found, Outcome):
                yield replace(found, tries=found.tries + 1)
                continue
            twice = f"{found.reason}; twice, the second time alone"
            reason = twice if found.reason == before.reason else f"{before.reason}; tried again alone: {found.reason}"
            yield Outcome(item.id, item.name, "crashed", found.stage, reason, tries=2)
    for job, death in deaths:
        if job.input.id in first:
            reason = f"the run was interrupted before it could be tried again; {death.reason}"
            yield Outcome(job.input.id, job.input.name, "interrupted", death.stage, reason)


class _Crew:
    """Workers, as many as are wanted, for as long as the block lasts."""

    def __init__(self, plan: Plan, out: Path, workers: int) -> None:
        self._plan, self._out, self._workers = plan, out, workers
        self._children: list[Child] = []
        self._failed = 0  # workers in a row that ended before they began with anything
        self._problem = ""

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        supervision.end(self._children)

    def work(self, jobs: Sequence[Job], watch: Watch, interrupt: Interrupt) -> Iterator[tuple[Job, Outcome | Death]]:
        """Each job with what came of it: its row, or the death of its worker."""
        waiting = deque(jobs)
        while True:
            interrupt.check()
            if not interrupt.ending:
                self._employ(waiting)
            running = sum(child.job is not None for child in self._children)
            if interrupt.ending and running:
                interrupt.tell(running)
            if not running and (interrupt.ending or not waiting):
                return
            if not self._children:
                item, reason = waiting[0].input, f"no worker process can be begun: {self._problem}"
                yield waiting[0], Outcome(item.id, item.name, "failed", "start", reason, environment=True)
                return
            wait([sign for child in self._children for sign in child.signs], supervision.TICK)
            for child in list(self._children):
                job, found = child.job, child.look(watch)
                if isinstance(found, Death):
                    self._children.remove(child)
                if job is None or found is None:
                    if isinstance(found, Death):
                        self._failed, self._problem = self._failed + 1, found.reason
                elif isinstance(found, Death) and not found.begun:  # it was dying when it was given: not its fault
                    waiting.appendleft(job)
                    self._failed, self._problem = self._failed + 1, found.reason
                else:
                    self._failed = 0
                    yield job, found

    def _employ(self, waiting: deque[Job]) -> None:
        """Give work to all who are idle, and begin workers for what is left."""
        for child in self._children:
            if child.idle and waiting:
                child.give(waiting.popleft())
        at_work = sum(child.job is not None for child in self._children)
        wanted = min(self._workers, at_work + len(waiting))
        while len(self._children) < wanted and self._failed < ATTEMPTS:
            try:
                self._children.append(Child(self._plan, self._out, threads_for(self._workers)))
            except OSError as error:
                self._failed, self._problem = self._failed + 1, str(error)

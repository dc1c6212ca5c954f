"""Many jobs in worker processes: a failure is a row of the report, never the end of the run."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType

from diarize.backends import devices
from pipelines.batch import ray_pool, supervision
from pipelines.batch.ray_pool import RayPool
from pipelines.batch.retries import run_with_retries
from pipelines.batch.supervision import OnProgress, OnStage, SupervisedWorker, WorkerExit, ignore_progress
from pipelines.inputs.jobs import Job
from pipelines.plan import Plan
from pipelines.processes.interrupt import Interrupt
from pipelines.results.outcomes import Outcome

ATTEMPTS = 3  # to start a worker that ends before it has started a job


def run(
    jobs: Sequence[Job],
    plan: Plan,
    out: Path,
    workers: int = 1,
    on_stage: OnStage = lambda id, stage: None,
    interrupt: Interrupt | None = None,
    on_progress: OnProgress = ignore_progress,
) -> Generator[Outcome, None, None]:
    """Outcomes as they finish; the longest recording starts first.

    A worker that dies (a library crashes, memory runs out) or hangs costs its own recording one try. When the others
    are done it is tried once more, alone, and if that fails too its row says `crashed`. Once `interrupt` is stopping,
    no recording starts any more, and those that did not start have no row; raises KeyboardInterrupt where it asks to
    stop now. Leaving the iteration, in any way, ends all workers.
    """
    with _pools(plan, out, max(1, min(workers, len(jobs))), on_progress) as open_pool:
        yield from run_with_retries(longest_first(jobs), open_pool, on_stage, interrupt or Interrupt())


def longest_first(jobs: Sequence[Job]) -> list[Job]:
    """The jobs by size of their files, equal ones in their order: a batch should not end with one long file.

    Sizes are not durations, but need no decoding, and the recordings of a batch mostly are of one kind.
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
def _pools(
    plan: Plan, out: Path, workers: int, on_progress: OnProgress
) -> Iterator[Callable[[int | None], LocalPool | RayPool]]:
    """Opens pools of a number of workers (None: as many as there is room for), where the settings say."""
    run = plan.config.run
    if run.engine == "local":
        yield lambda most: LocalPool(plan, out, most or workers, on_progress)
        return
    with ray_pool.connected(run.ray_address):
        yield lambda most: RayPool(plan, out, threads_for(workers), most, on_progress)


class LocalPool:
    """Workers on this machine."""

    def __init__(self, plan: Plan, out: Path, most: int, on_progress: OnProgress = ignore_progress) -> None:
        self._plan, self._out, self._most, self._on_progress = plan, out, most, on_progress
        self._workers: list[SupervisedWorker] = []
        self._failures = 0  # workers in a row that ended before they started a job
        self._problem = ""

    def __enter__(self) -> LocalPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        supervision.end_all(self._workers)

    def process(
        self, jobs: Sequence[Job], on_stage: OnStage, interrupt: Interrupt
    ) -> Iterator[tuple[Job, Outcome | WorkerExit]]:
        """Each job with its row, or with the end of the worker that had it."""
        waiting = deque(jobs)
        while True:
            # Stop when nothing runs and nothing more may or must start.
            interrupt.check()
            if not interrupt.stopping:
                self._assign(waiting)
            running = sum(worker.job is not None for worker in self._workers)
            if interrupt.stopping and running:
                interrupt.announce(running)
            if not running and (interrupt.stopping or not waiting):
                return
            if not self._workers:
                item, reason = waiting[0].input, f"no worker process can start: {self._problem}"
                yield waiting[0], Outcome(item.id, item.name, "failed", "start", reason, environment=True)
                return
            wait([each for worker in self._workers for each in worker.waitables], supervision.TICK)
            for worker in list(self._workers):
                job, result = worker.job, worker.poll(on_stage, self._on_progress)
                # A worker that ended before it started its job is not the fault of that job, which another one gets.
                if isinstance(result, WorkerExit):
                    self._workers.remove(worker)
                    if job is None or not result.job_started:
                        self._failures, self._problem = self._failures + 1, result.reason
                        if job is not None:
                            waiting.appendleft(job)
                        continue
                if job is not None and result is not None:
                    self._failures = 0
                    yield job, result

    def _assign(self, waiting: deque[Job]) -> None:
        """Give jobs to idle workers, and start workers for the jobs that are left."""
        for worker in self._workers:
            if worker.idle and waiting:
                worker.assign(waiting.popleft())
        busy = sum(worker.job is not None for worker in self._workers)
        wanted = min(self._most, busy + len(waiting))
        while len(self._workers) < wanted and self._failures < ATTEMPTS:
            try:
                self._workers.append(SupervisedWorker(self._plan, self._out, threads_for(self._most)))
            except OSError as error:
                self._failures, self._problem = self._failures + 1, str(error)

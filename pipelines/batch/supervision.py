"""A supervised worker process: started, given jobs, watched, and ended, whatever happens in it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from pipelines.batch import spare_worker
from pipelines.inputs.jobs import Job
from pipelines.plan import Plan
from pipelines.processes import lifetime
from pipelines.processes.stall import StallDetector
from pipelines.results.outcomes import Outcome

TICK = 0.25  # s between looks at what cannot be waited for: a hung worker, Ctrl-C
GRACE = 5.0  # s that idle workers get to end by themselves
STARTING = 300.0  # s at least until a worker has loaded the code: on a cold network disk that takes minutes
EXIT_DELAY = 1.0  # s between the end of a connection and that of its process

OnStage = Callable[[str, str], None]  # called with (recording id, stage) as each stage begins
# Called with (recording id, share of its present stage that is done, s of sound of the recording if that is known).
OnProgress = Callable[[str, float, float | None], None]


def ignore_progress(id: str, share: float, duration: float | None) -> None:
    """The `OnProgress` of whoever does not want to know."""


@dataclass(frozen=True)
class WorkerExit:
    """The unexpected end of a worker."""

    stage: str  # in which it was
    reason: str
    job_started: bool  # whether it had started its job


class SupervisedWorker:
    """One worker process with its models, for one job after the other. It ends as `spare_worker.start` describes."""

    def __init__(self, plan: Plan, out: Path, threads: int) -> None:
        """Returns at once; the process becomes `idle` when it has loaded. Raises OSError where it cannot start."""
        self.job: Job | None = None
        self._patience = plan.config.run.patience
        self._ready = self._job_started = self._disconnected = False
        self._orders = (plan, out, threads)
        self._worker = spare_worker.take()
        self._process, self._pipe = self._worker.process, self._worker.pipe
        assert self._process.pid is not None
        self._pid = self._process.pid
        self._stall = StallDetector(self._pid, max(self._patience, STARTING), 0)

    @property
    def idle(self) -> bool:
        return self._ready and self.job is None

    @property
    def waitables(self) -> list[Any]:
        """What `multiprocessing.connection.wait` can wait for: a message, or the end of the process."""
        return [self._process.sentinel] if self._disconnected else [self._pipe, self._process.sentinel]

    def assign(self, job: Job) -> None:
        """Send it a job."""
        self.job, self._job_started = job, False
        size = 0
        with contextlib.suppress(OSError):
            size = job.input.path.stat().st_size
        self._stall = StallDetector(self._pid, self._patience, size)
        try:
            self._pipe.send(job)
        except OSError:  # it has ended meanwhile: `poll` reports that
            self._disconnected = True

    def poll(self, on_stage: OnStage, on_progress: OnProgress = ignore_progress) -> Outcome | WorkerExit | None:
        """What happened since the last call: the row of its job, its end, or None.

        After a WorkerExit the process and its children are gone, and `job` is the one it had.
        """
        ended = self._process.exitcode is not None  # asked before its last messages are read
        row = self._receive(on_stage, on_progress)
        if row is not None:
            return row
        if ended or self._disconnected:
            self._process.join(EXIT_DELAY)
            reason = f"the worker process {lifetime.describe_exit(self._process.exitcode)}"
        elif self.idle or not (reason := self._stall.describe_stall()):
            return None
        self.kill()
        return WorkerExit(self._stall.stage, reason, self._job_started)

    def run(
        self, job: Job, on_stage: OnStage = lambda id, stage: None, on_progress: OnProgress = ignore_progress
    ) -> Outcome | WorkerExit:
        """One job, from beginning to end."""
        while not self.idle:
            wait(self.waitables, TICK)
            if isinstance(result := self.poll(on_stage), WorkerExit):
                return result
        self.assign(job)
        while (result := self.poll(on_stage, on_progress)) is None:
            wait(self.waitables, TICK)
        return result

    def kill(self) -> None:
        """Kill it now, with its children."""
        self._worker.kill(GRACE)
        self._disconnected = True

    def _receive(self, on_stage: OnStage, on_progress: OnProgress) -> Outcome | None:
        try:
            while not self._disconnected and self._pipe.poll():
                kind, *values = self._pipe.recv()
                if kind == "row":
                    self.job = None
                    return values[0]  # type: ignore[no-any-return]
                if kind == "ready":
                    self._pipe.send(self._orders)
                    self._ready = True
                elif kind == "started":
                    self._job_started = True
                elif kind == "duration":
                    self._stall.set_duration(*values)
                elif kind == "progress":
                    on_progress(*values)
                else:
                    self._stall.enter_stage(values[1])
                    on_stage(*values)
        except (EOFError, OSError):
            self._disconnected = True
        return None


def end_all(workers: Sequence[SupervisedWorker]) -> None:
    """End workers: idle ones by themselves, the others at once."""
    for worker in workers:
        if worker.idle:
            worker._pipe.close()
            worker._disconnected = True
    waiting = [worker._process.sentinel for worker in workers if worker.idle]
    while waiting and (ended := wait(waiting, GRACE)):
        waiting = [sentinel for sentinel in waiting if sentinel not in ended]
    for worker in workers:
        worker.kill()

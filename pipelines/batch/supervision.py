"""A worker process: begun, given recordings, watched, and ended, whatever happens in it."""

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
from pipelines.processes.stall import Pulse
from pipelines.results.outcomes import Outcome

TICK = 0.25  # s between looks at what cannot be waited for: a hung worker, Ctrl-C
GRACE = 5.0  # s that idle workers get to end by themselves
STARTING = 300.0  # s at least until a worker has loaded the code: on a cold network disk that takes minutes
LAST_WORDS = 1.0  # s between the end of a connection and that of its process

Watch = Callable[[str, str], None]  # told (recording id, stage)


@dataclass(frozen=True)
class Death:
    """The end of a worker that should have gone on."""

    stage: str  # what it was doing
    reason: str  # all that is known
    begun: bool  # it had begun with its recording


class Child:
    """One worker process with its models, for one recording after the other.

    It lives no longer than `ahead.begin` says.
    """

    def __init__(self, plan: Plan, out: Path, threads: int) -> None:
        """Returns at once; the process becomes `idle` when it has loaded. Raises OSError where it cannot be begun."""
        self.job: Job | None = None
        self._patience = plan.config.run.patience
        self._ready = self._begun = self._mute = False
        self._orders = (plan, out, threads)
        self._worker = spare_worker.take()
        self._process, self._pipe = self._worker.process, self._worker.pipe
        assert self._process.pid is not None
        self._pid = self._process.pid
        self._pulse = Pulse(self._pid, max(self._patience, STARTING), 0)

    @property
    def idle(self) -> bool:
        return self._ready and self.job is None

    @property
    def signs(self) -> list[Any]:
        """What `multiprocessing.connection.wait` can wait for: something said, or the end."""
        return [self._process.sentinel] if self._mute else [self._pipe, self._process.sentinel]

    def give(self, job: Job) -> None:
        """Begin with a recording."""
        self.job, self._begun = job, False
        size = 0
        with contextlib.suppress(OSError):
            size = job.input.path.stat().st_size
        self._pulse = Pulse(self._pid, self._patience, size)
        try:
            self._pipe.send(job)
        except OSError:  # it has ended since: `look` will find that
            self._mute = True

    def look(self, watch: Watch) -> Outcome | Death | None:
        """What became of it since the last look: its recording's row, its end, or nothing yet.

        After a Death it is gone, with its children, and `job` is what it was given.
        """
        over = self._process.exitcode is not None  # asked before its last words are read
        row = self._listen(watch)
        if row is not None:
            return row
        if over or self._mute:
            self._process.join(LAST_WORDS)
            ending = f"the worker process {lifetime.describe_exit(self._process.exitcode)}"
            self.kill()
            return Death(self._pulse.stage, ending, self._begun)
        stopped = self._pulse.stopped() if self.job is not None or not self._ready else ""
        if stopped:
            self.kill()
            return Death(self._pulse.stage, stopped, self._begun)
        return None

    def do(self, job: Job, watch: Watch = lambda id, stage: None) -> Outcome | Death:
        """One recording, from beginning to end."""
        while not self.idle:
            wait(self.signs, TICK)
            if isinstance(found := self.look(watch), Death):
                return found
        self.give(job)
        while (found := self.look(watch)) is None:
            wait(self.signs, TICK)
        return found

    def kill(self) -> None:
        """End it now, with its children."""
        self._worker.kill(GRACE)
        self._mute = True

    def _listen(self, watch: Watch) -> Outcome | None:
        try:
            while not self._mute and self._pipe.poll():
                kind, *said = self._pipe.recv()
                if kind == "row":
                    self.job = None
                    return said[0]  # type: ignore[no-any-return]
                if kind == "ready":
                    self._pipe.send(self._orders)
                    self._ready = True
                elif kind == "begun":
                    self._begun = True
                elif kind == "length":
                    self._pulse.measure(*said)
                else:
                    self._pulse.enter(said[1])
                    watch(*said)
        except (EOFError, OSError):
            self._mute = True
        return None


def end(children: Sequence[Child]) -> None:
    """End workers: idle ones by themselves, the others at once."""
    for child in children:
        if child.idle:
            child._pipe.close()
            child._mute = True
    waiting = [child._process.sentinel for child in children if child.idle]
    while waiting and (ended := wait(waiting, GRACE)):
        waiting = [sentinel for sentinel in waiting if sentinel not in ended]
    for child in children:
        child.kill()

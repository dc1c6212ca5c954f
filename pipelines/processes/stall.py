"""Whether a worker is still getting anywhere."""

from __future__ import annotations

import time

from pipelines.processes.lifetime import cpu_seconds

ALIVE = 0.01  # of its patience, in processor time: less is a process that only looks whether it may go on
LOOKS = 20  # at the processor time, within the patience
PACE = 5.0  # s that a stage may take for each second of sound: tens of times what one needs on one slow core
SLOW = {"diarize": 40.0, "recognize": 40.0}  # large models without a GPU need several seconds for one
READING = 50_000  # bytes a second of the slowest disk or network that a recording is read from


class Pulse:
    """Signs of life of a process at work on one recording.

    Three things are progress: another stage, the end, and processor time used by the process or its children. Where the
    system does not tell processor time, a stage may take as long as `limit` says.
    """

    def __init__(self, pid: int, patience: float, size: int) -> None:
        """`patience` in s; `size` of the recording's file in bytes, which bounds what is not yet known of it."""
        self._pid, self._patience = pid, patience
        self._pause = size / READING  # s that its reading may take
        self._length: float | None = None
        self.stage = ""
        self._entered = self._moved = self._looked = time.monotonic()
        self._used: float | None = None

    def enter(self, stage: str) -> None:
        """It begins with a stage."""
        self.stage = stage
        self._entered = self._moved = self._looked = time.monotonic()
        self._used = None  # to ask the system now would cost a recording of two seconds as much as its stages

    def measure(self, seconds: float) -> None:
        """The recording is so long."""
        self._length = seconds

    @property
    def limit(self) -> float:
        """s that the stage may take, whatever it does: an endless loop uses processor time too."""
        if self._length is None:
            return self._patience + self._pause
        return self._patience + SLOW.get(self.stage, PACE) * self._length

    def stopped(self) -> str:
        """Why it is taken to be hung; nothing as long as it is not."""
        now = time.monotonic()
        where = f"in stage {self.stage}" if self.stage else "before its first stage"
        if now - self._entered > self.limit:
            return f"no end after {self.limit:.0f} s {where}"
        if now - self._looked < self._patience / LOOKS:
            return ""
        self._looked = now
        used = cpu_seconds(self._pid)
        if used is None:
            return ""
        if self._used is None:
            self._used = used
        if abs(used - self._used) >= ALIVE * self._patience:
            self._moved, self._used = now, used
        return f"no progress for {self._patience:g} s {where}" if now - self._moved > self._patience else ""

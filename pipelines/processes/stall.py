"""Whether a worker still makes progress."""

from __future__ import annotations

import time

from pipelines.processes.lifetime import cpu_seconds

PROGRESS = 0.01  # share of the patience, in processor time; a process that only polls uses less
CHECKS = 20  # of the processor time, within the patience
PACE = 5.0  # s that a stage may take for each second of sound: tens of times what one needs on one slow core
SLOW = {"diarize": 40.0, "recognize": 40.0}  # large models without a GPU need several seconds for one
READING = 50_000  # bytes a second of the slowest disk or network that a recording is read from


class StallDetector:
    """Decides whether a process that works on one recording is hung.

    Three things are progress: another stage, the end, and processor time used by the process or its children. Where the
    system does not report processor time, only the `limit` of a stage counts.
    """

    def __init__(self, pid: int, patience: float, size: int) -> None:
        """`patience` in s; `size` of the recording's file in bytes, which bounds the time to read it."""
        self._pid, self._patience = pid, patience
        self._reading_time = size / READING  # s
        self._duration: float | None = None
        self.stage = ""
        self._entered = self._progressed = self._checked = time.monotonic()
        self._cpu: float | None = None

    def enter_stage(self, stage: str) -> None:
        """The process starts a stage."""
        self.stage = stage
        self._entered = self._progressed = self._checked = time.monotonic()
        self._cpu = None  # to ask the system now would cost a recording of two seconds as much as its stages

    def set_duration(self, seconds: float) -> None:
        """The length of the recording is known."""
        self._duration = seconds

    @property
    def limit(self) -> float:
        """s that the stage may take, whatever the process does: an endless loop uses processor time too."""
        if self._duration is None:
            return self._patience + self._reading_time
        return self._patience + SLOW.get(self.stage, PACE) * self._duration

    def describe_stall(self) -> str:
        """Why the process counts as hung; "" as long as it does not."""
        now = time.monotonic()
        where = f"in stage {self.stage}" if self.stage else "before its first stage"
        if now - self._entered > self.limit:
            return f"no end after {self.limit:.0f} s {where}"
        if now - self._checked < self._patience / CHECKS:
            return ""
        self._checked = now
        cpu = cpu_seconds(self._pid)
        if cpu is None:
            return ""
        if self._cpu is None:
            self._cpu = cpu
        if abs(cpu - self._cpu) >= PROGRESS * self._patience:
            self._progressed, self._cpu = now, cpu
        return f"no progress for {self._patience:g} s {where}" if now - self._progressed > self._patience else ""

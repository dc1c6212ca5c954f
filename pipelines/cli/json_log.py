"""A run as JSON lines, for programs that watch it (`--log-json`): one event a line.

    {"event": "stage", "time": "2031-05-02T10:00:03.120+00:00", "id": "board", "stage": "embed", "seconds": 1.2}

`seconds` are since the recording was begun, by a clock that never jumps; `time` is the wall clock's. No text that
somebody said and no name of a speaker is in it, unless names are asked for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from diarize.errors import DiarizeError
from pipelines.batch.run import Watcher
from pipelines.cli.console import Silent
from pipelines.inputs.jobs import Job
from pipelines.plan import Plan
from pipelines.results import outputs
from pipelines.results.outcomes import Outcome


class JsonLog(Silent):
    """Writes events to a stream. Where that can take no more (a full disk) the run goes on without a log."""

    def __init__(self, stream: TextIO, out: Path, names: bool = False, lost: Callable[[str], None] = print) -> None:
        """`names`: also who was recognised, from the results in `out`. `lost` is told once that the log has ended."""
        self._stream, self._out, self._names, self._lost = stream, out, names, lost
        self._begun: dict[str, float] = {}
        self._open = True

    def waiting(self, why: str) -> None:
        self._write("waiting", reason=why)

    def planned(self, plan: Plan, jobs: Sequence[Job]) -> None:
        self._write("planned", recordings=len(jobs), stages=plan.stages, models=plan.models)

    def entered(self, id: str, stage: str) -> None:
        begun = self._begun.setdefault(id, time.monotonic())
        self._write("stage", id=id, stage=stage, seconds=round(time.monotonic() - begun, 3))

    def finished(self, outcome: Outcome) -> None:
        now = time.monotonic()
        facts: dict[str, Any] = {"outcome": outcome.status, "stage": outcome.stage, "reason": outcome.reason}
        facts |= {"kept": outcome.kept, "tries": outcome.tries, "audio_seconds": outcome.duration}
        if self._names and outcome.status == "done":
            facts["speakers"] = self._speakers(outcome.id)
        seconds = round(now - self._begun.pop(outcome.id, now), 3)
        self._write("finished", id=outcome.id, seconds=seconds, **facts)

    def ending(self, running: int) -> None:
        self._write("ending", running=running)

    def ended(self, status: int) -> None:
        """The run is over, with this exit status."""
        self._write("ended", status=status)

    def _speakers(self, id: str) -> list[str]:
        try:
            return [speaker.called or speaker.id for speaker in outputs.read(self._out / id).speakers]
        except DiarizeError:
            return []

    def _write(self, event: str, **facts: Any) -> None:
        if not self._open:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        try:
            self._stream.write(json.dumps({"event": event, "time": now, **facts}) + "\n")
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._open = False
            self._lost(f"the log can no longer be written; the run continues: {error}")


class Both:
    """Two watchers of one run."""

    def __init__(self, first: Watcher, second: Watcher) -> None:
        self._watchers = (first, second)

    def fetching(self, file: str, done: int, total: int | None) -> None:
        for each in self._watchers:
            each.fetching(file, done, total)

    def waiting(self, why: str) -> None:
        for each in self._watchers:
            each.waiting(why)

    def planned(self, plan: Plan, jobs: Sequence[Job]) -> None:
        for each in self._watchers:
            each.planned(plan, jobs)

    def entered(self, id: str, stage: str) -> None:
        for each in self._watchers:
            each.entered(id, stage)

    def finished(self, outcome: Outcome) -> None:
        for each in self._watchers:
            each.finished(outcome)

    def ending(self, running: int) -> None:
        for each in self._watchers:
            each.ending(running)

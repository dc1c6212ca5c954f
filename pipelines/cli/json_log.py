"""A run as JSON lines, for programs that watch it (`--log-json`): one event a line.

    {"event": "stage", "time": "2031-05-02T10:00:03.120+00:00", "id": "board", "stage": "embed", "seconds": 1.2}

    {"event": "progress", ..., "stage_share": 0.4, "audio_done": 720, "audio_seconds": 1801, "share": 0.31, "eta": 95}

`seconds` are since the recording started, by a clock that never jumps; `time` is the wall clock's. A stage reports its
progress at most once a second, by seconds of audio; `share` and `eta` (s) are of the recording, `run_share` and
`run_eta` of the run. The log has no words
of the recordings, and names of speakers only where they are asked for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from diarize.errors import DiarizeError
from pipelines.batch.run import RunObserver
from pipelines.inputs.jobs import Job
from pipelines.plan import Plan
from pipelines.results import outputs
from pipelines.results.fingerprint import file_state
from pipelines.results.outcomes import Outcome
from pipelines.results.progress import RunProgress

EVERY = 1.0  # s at least between two reports about one recording


class JsonLog(RunObserver):
    """Writes events to a stream. When that fails (a full disk) the run goes on without a log."""

    def __init__(
        self, stream: TextIO, out: Path, names: bool = False, on_failure: Callable[[str], None] = print
    ) -> None:
        """`names`: also who was identified, from the results in `out`. `on_failure` is called once, when it fails."""
        self._stream, self._out, self._names, self._on_failure = stream, out, names, on_failure
        self._started: dict[str, float] = {}
        self._progress = RunProgress(0, {})
        self._reported: dict[str, float] = {}
        self._failed = False

    def waiting(self, reason: str) -> None:
        self._write("waiting", reason=reason)

    def planned(self, plan: Plan, jobs: Sequence[Job]) -> None:
        sizes = {job.input.id: (file_state(job.input.path) or {"size": 0})["size"] for job in jobs}
        self._progress = RunProgress(len(jobs), sizes, plan.stages)
        self._write("planned", recordings=len(jobs), stages=plan.stages, models=plan.models)

    def stage_started(self, id: str, stage: str) -> None:
        started = self._started.setdefault(id, time.monotonic())
        self._progress.stage_started(id, stage)
        self._write("stage", id=id, stage=stage, seconds=round(time.monotonic() - started, 3))

    def stage_progressed(self, id: str, share: float, duration: float | None) -> None:
        self._progress.stage_progressed(id, share, duration)
        now = time.monotonic()
        if id not in self._progress.running or now - self._reported.get(id, now - EVERY) < EVERY:
            return
        self._reported[id] = now
        run, eta = self._progress.share_done, self._progress.eta
        whole = {"run_share": None if run is None else round(run, 4), "run_eta": None if eta is None else round(eta)}
        self._write("progress", id=id, stage=self._progress.running[id].stage, **self._progress.facts(id), **whole)

    def recording_finished(self, outcome: Outcome) -> None:
        now = time.monotonic()
        self._progress.recording_finished(outcome)
        self._reported.pop(outcome.id, None)
        fields: dict[str, Any] = {"outcome": outcome.status, "stage": outcome.stage, "reason": outcome.reason}
        fields |= {"kept": outcome.reused, "tries": outcome.tries, "audio_seconds": outcome.duration}
        if self._names and outcome.status == "done":
            fields["speakers"] = self._speakers(outcome.id)
        seconds = round(now - self._started.pop(outcome.id, now), 3)
        self._write("finished", id=outcome.id, seconds=seconds, **fields)

    def stopping(self, running: int) -> None:
        self._write("ending", running=running)

    def run_ended(self, status: int) -> None:
        """The run has ended with this exit status."""
        self._write("ended", status=status)

    def _speakers(self, id: str) -> list[str]:
        try:
            return [speaker.called or speaker.id for speaker in outputs.read(self._out / id).speakers]
        except DiarizeError:
            return []

    def _write(self, event: str, **fields: Any) -> None:
        if self._failed:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        try:
            self._stream.write(json.dumps({"event": event, "time": now, **fields}) + "\n")
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._failed = True
            self._on_failure(f"the log can no longer be written; the run continues: {error}")

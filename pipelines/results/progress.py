"""How far a run is, and how long the rest will take.

The cost of a stage is its wall time for each second of sound. It is measured while the run goes on; until a stage was
seen, its usual cost counts, scaled as those that were seen differ from theirs. So there is an estimate as soon as the
length of the first recording is known. The length of recordings that have not started is estimated by file size.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pipelines.results.outcomes import Outcome

# s for each second of sound, on one core of 2020 with the default models; only their ratios matter
USUAL = {
    "read": 0.004, "segment": 0.04, "detect": 0.005, "embed": 0.08, "cluster": 0.005, "diarize": 0.5,
    "identify": 0.001, "spoof": 0.2, "recognize": 0.1, "write": 0.002,
}  # fmt: skip
UNLIKE = ("read", "write")  # these wait for a disk, or for a process to start: they say nothing of the others
LEAST_SEEN = 5.0  # s of sound in a stage after which its own cost counts
MOST_GUESSED = 0.95  # share of a stage that reports nothing, by the time it has taken


@dataclass
class RunningRecording:
    """A recording at work."""

    stage: str
    entered: float  # s, of the clock of its `RunProgress`
    since: datetime
    duration: float | None = None  # s of sound, once it is known
    reported: float | None = None  # share of the stage that is done, where the stage says it
    before: tuple[str, ...] = ()  # stages that are done
    highest: float = 0.0  # share of the recording so far: a new estimate of costs never lowers it


@dataclass
class RunProgress:
    """How far a run is."""

    recordings: int
    sizes: Mapping[str, int]  # id -> bytes of the file
    stages: Sequence[str] = ()  # that a recording goes through between its decoding and its files
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    reused: int = 0
    failed: int = 0
    audio: float = 0.0  # s of sound that were processed
    started: float = field(default_factory=time.monotonic)
    running: dict[str, RunningRecording] = field(default_factory=dict)
    _known_bytes: int = 0  # of the files whose length is known and that are not reused
    _known_seconds: float = 0.0  # of their sound
    _seen: dict[str, tuple[float, float]] = field(default_factory=dict)  # stage -> s of work, s of sound

    def __post_init__(self) -> None:
        self._bytes_left = sum(self.sizes.values())  # of files that are not finished

    @property
    def elapsed(self) -> float:
        """s since the run started."""
        return self.clock() - self.started

    @property
    def speed(self) -> float:
        """Hours of sound an hour."""
        partial = sum(self.share(id) * (each.duration or 0.0) for id, each in self.running.items())
        return (self.audio + partial) / self.elapsed if self.elapsed > 0 else 0.0

    @property
    def waiting(self) -> int:
        """Recordings that have not started."""
        return self.recordings - self.done - self.failed - len(self.running)

    @property
    def eta(self) -> float | None:
        """s until all is done; None as long as nothing is known of any recording."""
        remaining = [self._remaining(each) for each in self.running.values()]
        known = [seconds for seconds in remaining if seconds is not None]
        if len(known) < len(remaining) or self._bytes_left:
            if not self._known_bytes and (len(known) < len(remaining) or self._unstarted_bytes):
                return None
            unsized = [self._estimated(id) for id, each in self.running.items() if self._remaining(each) is None]
            unsized.append(self._unstarted_bytes * self._seconds_per_byte)
            known += map(self._whole_cost, unsized)
        return sum(known) / max(1, len(self.running))

    @property
    def share_done(self) -> float | None:
        """Share of all sound that is processed, 0 to 1; None as long as nothing is known of any recording."""
        if not self.sizes or not self._bytes_left:
            return 1.0 if self.recordings and self.done + self.failed == self.recordings else None
        running = {id: self._estimated(id) for id in self.running}
        done = self.audio + sum(seconds * self.share(id) for id, seconds in running.items())
        total = self.audio + sum(running.values()) + self._unstarted_bytes * self._seconds_per_byte
        return done / total if total > 0 else None

    def stage_started(self, id: str, stage: str) -> None:
        """A recording begins a stage; where it is in it already, the stage goes on (another channel)."""
        before = self.running.get(id)
        if before is not None and before.stage == stage and stage != "read":
            return
        now = RunningRecording(stage, self.clock(), datetime.now(UTC))
        if before is not None and stage in (*USUAL, "load"):
            self._learn(before)
            now.duration, now.before = before.duration, (*before.before, before.stage)
            now.highest = before.highest
        self.running[id] = now

    def stage_progressed(self, id: str, share: float, duration: float | None) -> None:
        """A share of the present stage of a recording is done; `duration` s of sound, if that is known."""
        if (recording := self.running.get(id)) is None:
            return
        recording.reported = share
        if duration is not None:
            self._measure(id, recording.duration, duration)
            recording.duration = duration

    def recording_finished(self, row: Outcome) -> None:
        """A recording has its row."""
        recording = self.running.pop(row.id, None)
        self._bytes_left -= self.sizes.get(row.id, 0)
        self.done += row.status == "done"
        self.failed += row.status != "done"
        self.reused += row.reused and row.status == "done"
        if not row.reused:
            self.audio += row.duration or 0.0
            if row.duration:
                self._measure(row.id, None if recording is None else recording.duration, row.duration)
            if recording is not None and row.status == "done":
                recording.duration = row.duration
                self._learn(recording)

    def stage_share(self, id: str) -> float | None:
        """Share of the present stage of a recording that is done; None where it is not known."""
        recording = self.running[id]
        if recording.reported is not None or recording.stage not in USUAL or recording.duration is None:
            return recording.reported
        cost = self._cost(recording.stage) * recording.duration
        return min((self.clock() - recording.entered) / cost, MOST_GUESSED) if cost > 0 else None

    def share(self, id: str) -> float:
        """Share of the work on a recording that is done, 0 to 1."""
        recording = self.running[id]
        if recording.stage not in (*USUAL, "load"):  # waiting for another try
            return 0.0
        whole = self._whole_cost(1.0)
        done = sum(self._cost(stage) for stage in self._stages() if stage in recording.before)
        if recording.stage not in recording.before:
            done += self._cost(recording.stage) * (self.stage_share(id) or 0.0)
        recording.highest = max(recording.highest, min(done / whole, 1.0) if whole > 0 else 0.0)
        return recording.highest

    def remaining(self, id: str) -> float | None:
        """s until a recording is done; None as long as its length is not known."""
        return self._remaining(self.running[id])

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as `run.json` has it."""
        eta, share = self.eta, self.share_done
        return {
            "recordings": self.recordings,
            "done": self.done,
            "kept": self.reused,
            "failed": self.failed,
            "seconds": round(self.elapsed, 1),
            "speed": round(self.speed, 2),
            "eta": None if eta is None else round(eta),
            "share": None if share is None else round(share, 4),
            "running": [self._as_dict(id, each) for id, each in self.running.items()],
        }

    def facts(self, id: str) -> dict[str, Any]:
        """How far a recording is: share of the stage, s of sound through it and in all, share of the recording, ETA."""
        recording, stage_share, remaining = self.running[id], self.stage_share(id), self.remaining(id)
        duration = recording.duration
        return {
            "stage_share": None if stage_share is None else round(stage_share, 4),
            "audio_done": None if stage_share is None or duration is None else round(stage_share * duration, 1),
            "audio_seconds": duration,
            "share": round(self.share(id), 4),
            "eta": None if remaining is None else round(remaining),
        }

    def _as_dict(self, id: str, recording: RunningRecording) -> dict[str, Any]:
        since = recording.since.isoformat(timespec="seconds")
        return {"id": id, "stage": recording.stage, "since": since, **self.facts(id)}

    def _stages(self) -> Iterable[str]:
        return dict.fromkeys(("read", *self.stages, "write"))

    def _learn(self, recording: RunningRecording) -> None:
        """A stage is done: what it took."""
        if recording.duration is None or recording.stage not in USUAL or recording.stage in recording.before:
            return
        work, sound = self._seen.get(recording.stage, (0.0, 0.0))
        took = self.clock() - recording.entered
        self._seen[recording.stage] = (work + took, sound + recording.duration)

    def _cost(self, stage: str) -> float:
        """s of work for each second of sound."""
        work, sound = self._measured().get(stage, (0.0, 0.0))
        if sound >= LEAST_SEEN:
            return work / sound
        return USUAL.get(stage, 0.0) * self._scale()

    def _scale(self) -> float:
        """How much slower than usual the stages were that are seen."""
        work = usual = 0.0
        for stage, (took, sound) in self._measured().items():
            if stage not in UNLIKE:
                work, usual = work + took, usual + USUAL[stage] * sound
        return work / usual if usual > 0 else 1.0

    def _measured(self) -> dict[str, tuple[float, float]]:
        """Stage -> s of work, s of sound; with what running recordings report."""
        measured = dict(self._seen)
        for each in self.running.values():
            if each.duration is not None and each.reported and each.stage in USUAL and each.stage not in each.before:
                work, sound = measured.get(each.stage, (0.0, 0.0))
                took = self.clock() - each.entered
                measured[each.stage] = (work + took, sound + each.reported * each.duration)
        return measured

    def _whole_cost(self, seconds: float) -> float:
        return seconds * sum(self._cost(stage) for stage in self._stages())

    def _remaining(self, recording: RunningRecording) -> float | None:
        if recording.duration is None:  # while it is decoded: by the usual ratio of the costs
            if not recording.reported:
                return None
            took = self.clock() - recording.entered
            return took / recording.reported * self._whole_cost(1.0) / self._cost("read") - took
        if recording.stage not in (*USUAL, "load"):
            return self._whole_cost(recording.duration)
        rest = 0.0
        for stage in self._stages():
            if stage in recording.before:
                continue
            cost = self._cost(stage) * recording.duration
            if stage == recording.stage:
                took = self.clock() - recording.entered
                cost = cost * (1 - recording.reported) if recording.reported is not None else max(cost - took, 0.0)
            rest += cost
        return rest

    def _measure(self, id: str, before: float | None, seconds: float) -> None:
        """The length of a recording is known."""
        if before is None:
            self._known_bytes += self.sizes.get(id, 0)
        self._known_seconds += seconds - (before or 0.0)

    @property
    def _seconds_per_byte(self) -> float:
        return self._known_seconds / self._known_bytes if self._known_bytes else 0.0

    @property
    def _unstarted_bytes(self) -> int:
        return max(0, self._bytes_left - sum(self.sizes.get(id, 0) for id in self.running))

    def _estimated(self, id: str) -> float:
        """s of sound of a running recording: known, or by its size and the sizes of those that are known."""
        duration = self.running[id].duration
        return self.sizes.get(id, 0) * self._seconds_per_byte if duration is None else duration

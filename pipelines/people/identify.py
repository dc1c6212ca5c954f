"""Who speaks in these recordings? The main job without words, of whose results only the speakers are returned."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarize import timeline
from diarize.config import Config
from diarize.guard import spoofing
from diarize.models.store import Store
from diarize.types import Speaker, SpoofScores, Transcript
from diarize.units import round_time
from pipelines.batch.process import ProcessRequest, process
from pipelines.batch.run import RunObserver
from pipelines.results import outputs
from pipelines.results.outcomes import Outcome

if TYPE_CHECKING:
    from diarize.library.store import Library


@dataclass(frozen=True, slots=True)
class SpeakingTime:
    """A speaker of a recording, with the seconds that they talk."""

    speaker: Speaker
    seconds: float


@dataclass(frozen=True, slots=True)
class IdentifiedRecording:
    """A recording, with its speakers by first appearance; or why it could not be processed."""

    name: str
    speakers: tuple[SpeakingTime, ...] = ()
    problem: str = ""
    spoof: SpoofScores | None = None  # of a countermeasure, where one was asked


@dataclass(frozen=True, slots=True)
class Identification:
    recordings: tuple[IdentifiedRecording, ...]
    notes: tuple[str, ...]  # which better models are not installed
    status: int  # exit status, as of the main job

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        recordings = [
            {
                "recording": recording.name,
                "problem": recording.problem or None,
                "speakers": [
                    {**asdict(each.speaker), "seconds": each.seconds, **_spoof(recording, each.speaker.id)}
                    for each in recording.speakers
                ],
            }
            for recording in self.recordings
        ]
        return {"schema": "diarize-identification/1", "recordings": recordings, "notes": list(self.notes)}


def identify(
    paths: Iterable[Path],
    library: Callable[[], Library],
    config: Config,
    store: Store,
    observer: RunObserver,
    out: Path | None = None,
) -> Identification:
    """The speakers of the recordings that `paths` (files and folders) stand for; a bad one is a row of its own.

    Results stay in the folder `out`, so that a rerun resumes; without one they are deleted at the end. Words are not
    recognized. Raises what `process` raises before any work.
    """
    only = {
        "asr": config.asr.model_copy(update={"backend": "none"}),
        "output": config.output.model_copy(update={"formats": ("json",)}),
    }
    with tempfile.TemporaryDirectory(prefix="diarize-") if out is None else nullcontext(out) as folder:
        request = ProcessRequest(tuple(paths), Path(folder), library=library)
        report = process(request, config.model_copy(update=only), store, observer)
        recordings = tuple(_recording(outcome, Path(folder)) for outcome in report.outcomes)
    return Identification(recordings, report.notes, report.status)


def _recording(outcome: Outcome, out: Path) -> IdentifiedRecording:
    if outcome.status != "done":
        return IdentifiedRecording(outcome.name, problem=outcome.reason or outcome.status)
    transcript = outputs.read(out / outcome.id)
    return IdentifiedRecording(outcome.name, speaking_times(transcript), spoof=transcript.spoofing)


def _spoof(recording: IdentifiedRecording, speaker: str) -> dict[str, Any]:
    """The scores of one speaker, as those of a recording in `verify --json`; nothing where none were asked."""
    if recording.spoof is None:
        return {}
    windows = tuple(window for window in recording.spoof.windows if window.speaker == speaker)
    return {"spoof": spoofing.as_dict(replace(recording.spoof, windows=windows))}


def speaking_times(transcript: Transcript) -> tuple[SpeakingTime, ...]:
    """Each speaker with the seconds that they talk, in the transcript's order."""
    seconds = {
        speaker.id: timeline.total(turn for turn in transcript.turns if turn.speaker == speaker.id)
        for speaker in transcript.speakers
    }
    return tuple(SpeakingTime(speaker, round_time(seconds[speaker.id])) for speaker in transcript.speakers)

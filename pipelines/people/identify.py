"""Who speaks in these recordings? Each is diarized, and each of its speakers held against the library."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from diarize import timeline
from diarize.config import Config
from diarize.errors import DiarizeError
from diarize.library.scoring.linking import Strangers
from diarize.library.store import Library
from diarize.models.registry import Progress
from diarize.models.store import Store
from diarize.types import Speaker, Transcript
from diarize.units import round_time
from pipelines import plan
from pipelines.inputs import recordings as inputs
from pipelines.inputs.recordings import Input
from pipelines.processes import decoding
from pipelines.recording import Stages, recognise
from pipelines.results import linking

Watch = Callable[[str, str], None]  # told (recording, stage)


@dataclass(frozen=True, slots=True)
class Spoken:
    """A speaker of a recording, with the seconds that they talk."""

    speaker: Speaker
    seconds: float


@dataclass(frozen=True, slots=True)
class Row:
    """A recording, with its speakers by first appearance; or why it could not be heard."""

    name: str
    speakers: tuple[Spoken, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Identified:
    rows: tuple[Row, ...]
    notes: tuple[str, ...]  # what the plan leaves to be desired

    @property
    def status(self) -> int:
        """Exit status: 0, 3 where some recordings failed, 4 where nothing could be heard."""
        failed = sum(bool(row.problem) for row in self.rows)
        return 4 if failed == len(self.rows) else 3 if failed else 0

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        recordings = [
            {
                "recording": row.name,
                "problem": row.problem or None,
                "speakers": [{**asdict(found.speaker), "seconds": found.seconds} for found in row.speakers],
            }
            for row in self.rows
        ]
        return {"schema": "diarize-identification/1", "recordings": recordings, "notes": list(self.notes)}


def identify(
    paths: Iterable[Path],
    library: Callable[[], Library],
    config: Config,
    store: Store,
    watch: Watch = lambda name, stage: None,
    progress: Progress | None = None,
) -> Identified:
    """The speakers of the recordings that `paths` (files and folders) stand for; a bad one is a row of its own.

    Words are not recognized. Raises LibraryError, ConfigError, CalibrationError, BackendError and ModelError before
    anything is heard.
    """
    found = inputs.find(paths).inputs
    with library() as opened:
        chosen = plan.make(config, store, progress, recognize=False, library=opened)
    stages = chosen.build()
    heard: list[tuple[Input, Transcript | str, Strangers | None]] = []
    for item in found:
        try:
            heard.append((item, *_heard(item, stages, chosen.config, watch)))
        except DiarizeError as error:
            heard.append((item, getattr(error, "reason", None) or str(error), None))
    called: dict[str, dict[str, str]] = {}
    people = chosen.people
    if people is not None and people.calibration is not None:
        strangers = [(item.id, unknown) for item, _, unknown in heard if unknown is not None]
        called = linking.labels(strangers, people.calibration, people.config.prior, people.config.seconds)
    rows = [
        Row(item.name, problem=made)
        if isinstance(made, str)
        else Row(item.name, _spoken(linking.linked(made, called.get(item.id, {}))))
        for item, made, _ in heard
    ]
    return Identified(tuple(rows), (*chosen.notes, *stages.notes()))


def _heard(item: Input, stages: Stages, config: Config, watch: Watch) -> tuple[Transcript, Strangers | None]:
    if item.problem is not None:
        raise item.problem
    watch(item.name, "read")
    recording = decoding.read(item.path, id=item.id, name=item.name, channel=config.audio.channel)
    return recognise(recording, stages, config, watch=lambda stage: watch(item.name, stage))


def _spoken(transcript: Transcript) -> tuple[Spoken, ...]:
    seconds = {
        speaker.id: timeline.total(turn for turn in transcript.turns if turn.speaker == speaker.id)
        for speaker in transcript.speakers
    }
    return tuple(Spoken(speaker, round_time(seconds[speaker.id])) for speaker in transcript.speakers)

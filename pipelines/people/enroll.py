"""Enrolment that grows: recordings of one person in, each checked before it counts, a voice out (docs/enrolment.md).

Nothing here decides by itself who somebody is: a person enrols a person. Results are plain; somebody else prints them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from diarize.config import Config
from diarize.errors import AudioError, ConfigError, FormatError, LibraryError, UnknownPerson, printable
from diarize.library.database import sound
from diarize.library.database.records import Enrolled, Enrolment, Person
from diarize.library.database.rows import voice_of
from diarize.library.scoring import enrolment
from diarize.library.store import Library
from diarize.models.store import Store
from pipelines.people import enrolment_audio, enrolment_checks, speakers
from pipelines.people.enrolment_audio import Take
from pipelines.people.enrolment_checks import Check, Row
from pipelines.people.scoring import Scoring
from pipelines.people.utterance import UtteranceEmbedder, load_embedder
from pipelines.people.verify import Verifier, load_verifier

ALIKE = 4.6  # log-likelihood ratio (100 to 1) from which somebody else's voice is worth a word

Watch = Callable[[str], None]  # told what is heard next


@dataclass(frozen=True, slots=True)
class Request:
    """Who is to be enrolled, and how. `name` is a new person's, or the name or id of somebody who is there."""

    name: str
    new: bool = False  # somebody else of that name, whoever is there
    consent: str | None = None
    expires: date | None = None
    keep_audio: bool = False
    accept: frozenset[Check] = frozenset()  # checks that do not refuse


@dataclass(frozen=True, slots=True)
class Outcome:
    """The person as they are now (None: nothing counted, nobody was made), and how far enrolment is."""

    person: Person | None
    created: bool
    model: str
    rows: tuple[Row, ...]
    seconds: float  # of speech behind the voice, for `model`
    wanted: float  # s
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        return self.seconds >= self.wanted

    @property
    def status(self) -> int:
        """Exit status: 0, 3 where some utterances were refused, 4 where all were."""
        refused = sum(row.outcome == "refused" for row in self.rows)
        return 0 if not refused else 4 if refused == len(self.rows) else 3

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            "schema": "diarize-enrolment/1",
            "person": None if self.person is None else speakers.plain(self.person),
            "created": self.created,
            "model": self.model,
            "seconds": self.seconds,
            "wanted": self.wanted,
            "complete": self.complete,
            "utterances": [{**asdict(row), "quality": dict(row.quality)} for row in self.rows],
            "notes": list(self.notes),
        }


def enroll(
    library: Library,
    request: Request,
    recordings: Sequence[Path],
    config: Config,
    store: Store,
    *,
    start: float | None = None,
    end: float | None = None,
    calibration: Path | None = None,
    watch: Watch = lambda origin: None,
) -> Outcome:
    """Enrol a person from recordings in which they alone speak.

    A recording that is refused costs its own row. Raises ConfigError, LibraryError, UnknownPerson, CalibrationError,
    and whatever the models raise.
    """
    if not recordings:
        raise ConfigError("command line", "AUDIO", "no recording was given")
    person = whom(library, request)
    embedder = load_embedder(config, store)
    found = enrolment_audio.of_files(recordings, embedder.config.audio.channel, start, end)
    return grow(
        library, request, person, found, embedder, load_verifier(embedder, Scoring(calibration=calibration)), watch
    )


def enroll_from(
    library: Library,
    request: Request,
    folder: Path,
    speaker: str,
    config: Config,
    store: Store,
    *,
    recording: Path | None = None,
    calibration: Path | None = None,
    watch: Watch = lambda origin: None,
) -> Outcome:
    """Enrol a speaker of a finished transcript from where they talk alone.

    `recording` is the recording's path, where it is not found by itself. Raises as `enroll` does, and FormatError for
    no transcript, AudioError for another recording.
    """
    person = whom(library, request)
    embedder = load_embedder(config, store)
    found = enrolment_audio.of_transcript(folder, speaker, recording)
    return grow(
        library, request, person, found, embedder, load_verifier(embedder, Scoring(calibration=calibration)), watch
    )


def whom(library: Library, request: Request) -> Person | None:
    """Who is meant by a request; None: somebody new.

    Raises UnknownPerson where several have the name, or the id is not there (any more), LibraryError where the
    consent is over, ConfigError for no name or a day that is over.
    """
    today = datetime.now(UTC).date()
    if not request.name.strip():
        raise ConfigError("command line", "NAME", "a person needs a name")
    if request.expires is not None and request.expires < today:
        raise ConfigError("command line", "--expires", f"{request.expires} is over")
    if request.new:
        return None
    try:
        person = library.find(request.name)
    except UnknownPerson:
        if library.named(request.name):  # several: their ids are in the message
            raise
        if re.fullmatch("[0-9a-f]{32}", request.name):
            _gone(library, request.name)
            library.person(request.name)
        return None
    if person.expired and request.expires is None:
        problem = f"the consent of {printable(person.name)} ({person.id}) ended on {person.expires}"
        raise LibraryError(library.place, problem, "Renew it (--expires DATE), or remove them.")
    return person


def _gone(library: Library, id: str) -> None:
    """Tell of an id that the audit log knows. Raises UnknownPerson."""
    for entry in library.audit().entries:
        if entry.action == "remove" and entry.person == id:
            problem = f"the person with the id {id} was removed on {entry.time[:10]}, with everything kept of them"
            raise UnknownPerson(library.place, problem, "Enrol them anew, under a name.")
        if entry.action == "merge" and entry.detail.get("gone") == id:
            problem = f"the person with the id {id} was merged into {entry.person}"
            raise UnknownPerson(library.place, problem, "Use that id.")


def grow(
    library: Library,
    request: Request,
    person: Person | None,
    found: Iterable[Take | AudioError],
    embedder: UtteranceEmbedder,
    verifier: Verifier,
    watch: Watch = lambda origin: None,
) -> Outcome:
    """Enrol `person` (None: somebody new) from what was `found`, with models that are loaded: one change, at the end.

    Raises LibraryError, and UnknownPerson where they were removed meanwhile.
    """
    model = embedder.model
    rows: list[Row] = []
    new: dict[int, Enrolment] = {}  # row -> what passed its own checks
    held = library.utterances(person.id) if person is not None else ()
    for take in found:
        if isinstance(take, AudioError):
            rows.append(Row(printable(take.path), "refused", "reading", str(take)))
            continue
        watch(take.origin)
        row = enrolment_checks.duplicate(library, person, take, (*held, *new.values()), model, request.keep_audio)
        passed = None
        if row is None:
            row, passed = enrolment_checks.examine(take, embedder, verifier, request.accept, request.keep_audio)
        if passed is not None:
            new[len(rows)] = passed
        rows.append(row)
    again = {(u.source, u.start, u.end) for u in new.values()}  # held, and given once more to gain something
    earlier = [u for u in held if model in u.vectors and (u.source, u.start, u.end) not in again]
    notes = [*embedder.notes, *enrolment_checks.agree(rows, new, earlier, model, verifier, request.accept)]
    if person is not None and person.seconds and model not in person.seconds:
        others = ", ".join(person.seconds)
        notes.append(f"{printable(person.name)} has had a voice of another model only ({others}); this is a second one")
    created = person is None and bool(new)
    if new or (person is not None and (request.consent is not None or request.expires is not None)):
        known = (person.consent, person.expires) if person is not None else (None, None)
        consent, expires = (request.consent or known[0]), (request.expires or known[1])
        twin = _twin(library, person, [*new.values()], model, verifier) if new else None
        notes += [twin] if twin else []
        name, id = (request.name, None) if person is None else (None, person.id)
        person = library.enrol(name, [*new.values()], consent, expires, person=id)
        notes += speakers.show(library, person.id).notes
    seconds = person.seconds.get(model, 0.0) if person is not None else 0.0
    return Outcome(person, created, model, tuple(rows), round(seconds, 3), enrolment.COMPLETE, tuple(notes))


def _twin(
    library: Library, person: Person | None, new: Sequence[Enrolment], model: str, verifier: Verifier
) -> str | None:
    """A note on somebody else who sounds like this person."""
    if verifier.calibration is None:
        return None
    seconds = np.array([u.seconds for u in new])
    mean = seconds @ np.stack([u.vector for u in new]).astype(np.float64)
    voice = (mean / np.linalg.norm(mean)).astype(np.float32)
    best = 0.0, ""
    for near in library.search(voice, model):
        other = voice_of(library.utterances(near.voice), model)
        if other is None or (person is not None and near.voice == person.id):
            continue
        value = float(
            verifier.calibration.llr(verifier.scorer(voice[None], other[1][None]), seconds.sum(), other[0])[0]
        )
        best = max(best, (value, f"{printable(near.name)} ({near.voice})"))
    if best[0] < ALIKE:
        return None
    return f"sounds like {best[1]} too (log-likelihood ratio {best[0]:.1f}): if they are one person, merge them"


@dataclass(frozen=True, slots=True)
class Renewed:
    """One utterance that lacked a vector of the model; `problem` says why it still does."""

    person: str  # id
    name: str
    origin: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Renewal:
    """What serving an embedding model from kept sound came to."""

    model: str
    rows: tuple[Renewed, ...]
    unchanged: int  # utterances that had a vector of it
    without: tuple[str, ...]  # ids of the people who have no voice of it now
    notes: tuple[str, ...] = ()

    @property
    def status(self) -> int:
        """Exit status: 0, 3 where some utterances could not be heard again, 4 where none could."""
        missed = sum(bool(row.problem) for row in self.rows)
        return 0 if not missed else 4 if missed == len(self.rows) else 3

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {"schema": "diarize-renewal/1", **asdict(self)}


def re_embed(
    library: Library,
    config: Config,
    store: Store,
    *,
    who: str | None = None,
    watch: Watch = lambda origin: None,
) -> Renewal:
    """Give utterances a vector of the embedder that `config` asks for, out of the sound that was kept of them.

    Everybody's, or those of `who` (id or name). Each person is one change. Raises UnknownPerson, LibraryError, and
    whatever the models raise.
    """
    people = library.people() if who is None else (library.find(who),)
    embedder = load_embedder(config, store)
    model = embedder.model
    rows: list[Renewed] = []
    unchanged, without = 0, []
    for person in people:
        made: list[Enrolment] = []
        for held in library.utterances(person.id):
            if model in held.vectors:
                unchanged += 1
                continue
            watch(held.origin)
            again = _again(library, person, held, embedder)
            rows.append(Renewed(person.id, person.name, held.origin, again if isinstance(again, str) else ""))
            if not isinstance(again, str):
                made.append(again)
        if made:
            person = library.enrol(None, made, person=person.id)
        if model not in person.seconds:
            without.append(person.id)
    return Renewal(model, tuple(rows), unchanged, tuple(without), embedder.notes)


def _again(library: Library, person: Person, held: Enrolled, embedder: UtteranceEmbedder) -> Enrolment | str:
    """An utterance as the embedder hears it now, or why it cannot."""
    if person.expired:
        return f"the consent ended on {person.expires}"
    kept = library.sound(held.id)
    if kept is None:
        return "its sound was not kept: enrol it again from the recording"
    try:
        heard = embedder.embed_audio(sound.unpack(kept, held.origin))
    except (AudioError, FormatError) as error:
        return error.problem
    return Enrolment(
        held.source, held.seconds, held.quality, heard.vector, heard.model, held.start, held.end, origin=held.origin
    )

"""Enrolment: recordings of one person -> checked utterances -> their voice in the library (docs/enrolment.md).

No function here decides who a speaker is: the user names the person. The results are values; the commands print them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
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
from diarize.library.enrolled import RE_EMBED
from diarize.library.store import Library
from diarize.models.store import Store
from diarize.text import counted
from pipelines.inputs.folders import is_folder
from pipelines.inputs.recordings import require
from pipelines.people import enrolment_audio, speakers
from pipelines.people.enrolment_audio import EnrolmentAudio
from pipelines.people.enrolment_checks import Check, Checked, UtteranceChecks, UtteranceResult
from pipelines.people.scoring import Scoring
from pipelines.people.utterance import UtteranceEmbedder, load_embedder
from pipelines.people.verify import Verifier, load_verifier
from pipelines.people.wording import ratio
from pipelines.results import outputs
from pipelines.results.integrity import is_results

SIMILAR = 4.6  # log-likelihood ratio (100 to 1) from which another person's voice is worth a note


@dataclass(frozen=True, slots=True)
class EnrolmentRequest:
    """Whom to enrol, and how. `name` is that of a new person, or the name or id of an enrolled one."""

    name: str
    new: bool = False  # a new person, although others of this name are enrolled
    consent: str | None = None
    expires: date | None = None
    keep_audio: bool = False
    accept: frozenset[Check] = frozenset()  # checks to ignore


@dataclass(frozen=True, slots=True)
class EnrolmentResult:
    """The person as they are now (None: no utterance counted, so nobody was enrolled), and a row an utterance."""

    person: Person | None
    created: bool
    model: str
    rows: tuple[UtteranceResult, ...]
    seconds: float  # of speech behind the voice, for `model`
    wanted: float  # s
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """For people: who, how far, and what was refused."""
        if self.person is None:
            person = "nobody was enrolled"
        else:
            complete = "complete" if self.complete else f"not complete: {self.wanted:.0f} s are wanted"
            person = f"{printable(self.person.name)} ({self.person.id}), {self.seconds:.1f} s of speech, {complete}"
        rows = (f"  {row.origin}: {row.outcome}" + (f": {row.reason}" if row.reason else "") for row in self.rows)
        return "\n".join((f"<EnrolmentResult: {person}", *rows)) + ">"

    @property
    def complete(self) -> bool:
        return self.seconds >= self.wanted

    @property
    def status(self) -> int:
        """Exit status: 0, 3 where some utterances were refused, 4 where all were."""
        return _status(row.outcome == "refused" for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            "schema": "diarize-enrolment/1",
            "person": None if self.person is None else speakers.person_as_dict(self.person),
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
    request: EnrolmentRequest,
    recordings: Sequence[Path],
    config: Config,
    store: Store,
    *,
    start: float | None = None,
    end: float | None = None,
    calibration: Path | None = None,
) -> EnrolmentResult:
    """Enrol a person from recordings in which they alone speak.

    A recording that is refused costs its own row. Raises ConfigError, LibraryError, UnknownPerson, CalibrationError,
    and what loading the models raises.
    """
    if not recordings:
        raise ConfigError("command line", "AUDIO", "no recording was named")
    require(recordings)
    _refuse_folders(recordings)
    person = find_person(library, request)
    embedder = load_embedder(config, store)
    excerpts = enrolment_audio.read_files(recordings, embedder.config.audio, start, end)
    verifier = load_verifier(embedder, Scoring(calibration=calibration))
    return add_utterances(library, request, person, excerpts, embedder, verifier)


def _refuse_folders(paths: Sequence[Path]) -> None:
    """Raises ConfigError for the first folder: a person is enrolled from files, or from a speaker of results."""
    for path in filter(is_folder, paths):
        if is_results(path) or (path / outputs.TRANSCRIPT).exists():
            cure = "Enrol a speaker of it: --from OUT/<id> --speaker SPEAKER_01."
            raise ConfigError("AUDIO", str(path), "has results of `process`, no recordings", cure)
        raise ConfigError("AUDIO", str(path), "is a folder, not a recording", "Name the files in it.")


def enroll_from_transcript(
    library: Library,
    request: EnrolmentRequest,
    folder: Path,
    speaker: str,
    config: Config,
    store: Store,
    *,
    recording: Path | None = None,
    calibration: Path | None = None,
) -> EnrolmentResult:
    """Enrol a speaker of a processed recording from the parts where they talk alone.

    `folder` holds the recording's results; `recording` is its path, None to search for it. Raises as `enroll` does, and
    FormatError where there is no transcript, AudioError where the recording is missing or is another one.
    """
    require([folder] if recording is None else [folder, recording])
    person = find_person(library, request)
    embedder = load_embedder(config, store)
    excerpts = enrolment_audio.read_transcript(folder, speaker, recording)
    verifier = load_verifier(embedder, Scoring(calibration=calibration))
    return add_utterances(library, request, person, excerpts, embedder, verifier)


def find_person(library: Library, request: EnrolmentRequest) -> Person | None:
    """The enrolled person that a request names; None: a new person.

    Raises UnknownPerson where several have the name, or the id is not (or no longer) enrolled, LibraryError where the
    consent has expired, ConfigError for an empty name or an expiry date in the past.
    """
    speakers.check_name(request.name)
    if request.expires is not None and request.expires < datetime.now(UTC).date():
        raise ConfigError("command line", "--expires", f"{request.expires} is in the past")
    if request.new:
        return None
    try:
        person = library.find(request.name)
    except UnknownPerson:
        if library.named(request.name):  # several people: the message lists their ids
            raise
        if re.fullmatch("[0-9a-f]{32}", request.name):
            _raise_if_removed(library, request.name)
            library.person(request.name)
        return None
    if person.expired and request.expires is None:
        problem = f"the consent of {printable(person.name)} ({person.id}) ended on {person.expires}"
        raise LibraryError(library.place, problem, "Renew it (--expires DATE), or remove them.")
    return person


def _raise_if_removed(library: Library, id: str) -> None:
    """Raises UnknownPerson for an id that was removed or merged, as the audit log shows."""
    for entry in library.audit().entries:
        if entry.action == "remove" and entry.person == id:
            problem = f"the person with the id {id} was removed on {entry.time[:10]}, with all their data"
            raise UnknownPerson(library.place, problem, "Enrol them again by name.")
        if entry.action == "merge" and entry.detail.get("gone") == id:
            problem = f"the person with the id {id} was merged into {entry.person}"
            raise UnknownPerson(library.place, problem, "Use that id.")


def add_utterances(
    library: Library,
    request: EnrolmentRequest,
    person: Person | None,
    excerpts: Iterable[EnrolmentAudio | AudioError],
    embedder: UtteranceEmbedder,
    verifier: Verifier,
) -> EnrolmentResult:
    """Add the `excerpts` that pass the checks to `person` (None: a new person), as one change of the library.

    Raises LibraryError, and UnknownPerson where the person was removed meanwhile.
    """
    model = embedder.model
    stored = library.utterances(person.id) if person is not None else ()
    checks = UtteranceChecks(embedder, verifier, request.accept, request.keep_audio)
    checked = _check_each(library, person, stored, excerpts, checks)

    # An utterance that is enrolled again, for this model or with its audio, is compared as a new one.
    again = {(new.source, new.start, new.end) for _, new in checked if new is not None}
    earlier = [u for u in stored if model in u.vectors and (u.source, u.start, u.end) not in again]
    checked, notes = checks.check_agreement(checked, earlier)
    notes = [*embedder.notes, *notes]
    if person is not None and person.seconds and model not in person.seconds:
        others = ", ".join(person.seconds)
        notes.append(f"{printable(person.name)} had a voice of another model only ({others}); this adds a second one")

    new = [passed for _, passed in checked if passed is not None]
    created = person is None and bool(new)
    if new or (person is not None and (request.consent is not None or request.expires is not None)):
        similar = _note_similar_person(library, person, new, model, verifier) if new else None
        notes += [similar] if similar else []
        notes += _note_other_models(library, person, model)
        consent, expires = (person.consent, person.expires) if person is not None else (None, None)
        name, id = (request.name, None) if person is None else (None, person.id)
        person = library.enrol(name, new, request.consent or consent, request.expires or expires, person=id)
        notes += speakers.notes_on(person)
    seconds = person.seconds.get(model, 0.0) if person is not None else 0.0
    rows = tuple(result for result, _ in checked)
    return EnrolmentResult(person, created, model, rows, round(seconds, 3), enrolment_audio.COMPLETE, tuple(notes))


def _check_each(
    library: Library,
    person: Person | None,
    stored: Sequence[Enrolled],
    excerpts: Iterable[EnrolmentAudio | AudioError],
    checks: UtteranceChecks,
) -> list[Checked]:
    checked: list[Checked] = []
    for excerpt in excerpts:
        if isinstance(excerpt, AudioError):
            checked.append((UtteranceResult(printable(excerpt.path), "refused", "reading", str(excerpt)), None))
            continue
        earlier: list[Enrolled | Enrolment] = [*stored, *(new for _, new in checked if new is not None)]
        duplicate = checks.find_duplicate(library, person, excerpt, earlier)
        if duplicate is not None:
            checked.append((duplicate, None))
            continue
        again = any(u.source == excerpt.audio.identity for u in stored)  # for another model, or with its audio
        examined = checks.check_utterance(excerpt)
        passed = [new for _, new in checked if new is not None]
        checked.append(examined if again else checks.check_replay(library, examined, passed))
    return checked


def _note_similar_person(
    library: Library, person: Person | None, new: Sequence[Enrolment], model: str, verifier: Verifier
) -> str | None:
    """A note on another enrolled person whose voice is similar to the `new` utterances."""
    if verifier.calibration is None:
        return None
    seconds = np.array([u.seconds for u in new])
    mean = seconds @ np.stack([u.vector for u in new]).astype(np.float64)
    vector = (mean / np.linalg.norm(mean)).astype(np.float32)
    highest, name = 0.0, ""
    for near in library.search(vector, model):
        other = voice_of(library.utterances(near.voice), model)
        if other is None or (person is not None and near.voice == person.id):
            continue
        score = verifier.scorer(vector[None], other[1][None])
        llr = float(verifier.calibration.llr(score, seconds.sum(), other[0])[0])
        highest, name = max((highest, name), (llr, f"{printable(near.name)} ({near.voice})"))
    if highest < SIMILAR:
        return None
    return f"sounds like {name} too ({ratio(highest)}): if they are one person, merge them"


def _note_other_models(library: Library, person: Person | None, model: str) -> list[str]:
    """A note on the other enrolled people who have voices of other models only: they are not compared with `model`."""
    if set(library.models()) <= {model}:
        return []
    people, expired = library.counts()
    without = people - expired - len(library.matrix(model))
    if person is not None and person.seconds and not person.expired and model not in person.seconds:
        without -= 1
    return [f"without a voice for {model}: {counted(without, 'enrolled person')}; {RE_EMBED}"] if without > 0 else []


@dataclass(frozen=True, slots=True)
class ReEmbeddedUtterance:
    """An utterance that had no vector of the model; `problem` says why it still has none."""

    person: str  # id
    name: str
    origin: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ReEmbedding:
    """The result of `re_embed`."""

    model: str
    rows: tuple[ReEmbeddedUtterance, ...]
    unchanged: int  # utterances that had a vector of it already
    without: tuple[str, ...]  # ids of the people who still have no voice of it
    notes: tuple[str, ...] = ()

    @property
    def status(self) -> int:
        """Exit status: 0, 3 where some utterances could not be embedded again, 4 where none could."""
        return _status(bool(row.problem) for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {"schema": "diarize-renewal/1", **asdict(self)}


def re_embed(library: Library, config: Config, store: Store, *, who: str | None = None) -> ReEmbedding:
    """Give stored utterances a vector of the embedder that `config` asks for, from their stored audio.

    Of everybody, or of the person `who` (id or name). Each person is one change of the library. Raises UnknownPerson,
    LibraryError, and what loading the models raises.
    """
    people = library.people() if who is None else (library.find(who),)
    embedder = load_embedder(config, store)
    model = embedder.model
    rows: list[ReEmbeddedUtterance] = []
    unchanged, without = 0, []
    for person in people:
        new: list[Enrolment] = []
        for stored in library.utterances(person.id):
            if model in stored.vectors:
                unchanged += 1
                continue
            embedded = _embed_again(library, person, stored, embedder)
            problem = embedded if isinstance(embedded, str) else ""
            rows.append(ReEmbeddedUtterance(person.id, person.name, stored.origin, problem))
            if not isinstance(embedded, str):
                new.append(embedded)
        if new:
            person = library.enrol(None, new, person=person.id)
        if model not in person.seconds:
            without.append(person.id)
    notes = list(embedder.notes)
    if without:
        who_lacks = counted(len(without), "person")
        notes.append(f"still without a voice for {model}: {who_lacks}; enrol them again from recordings")
    return ReEmbedding(model, tuple(rows), unchanged, tuple(without), tuple(notes))


def _embed_again(library: Library, person: Person, stored: Enrolled, embedder: UtteranceEmbedder) -> Enrolment | str:
    """A stored utterance with a vector of the embedder, or why there is none."""
    if person.expired:
        return f"the consent ended on {person.expires}"
    packed = library.sound(stored.id)
    if packed is None:
        return "its audio was not kept: enrol it again from the recording"
    try:
        voice = embedder.embed_audio(sound.unpack(packed, stored.origin))
    except (AudioError, FormatError) as error:
        return error.problem
    return Enrolment(
        stored.source,
        stored.seconds,
        stored.quality,
        voice.vector,
        voice.model,
        stored.start,
        stored.end,
        origin=stored.origin,
    )


def _status(failed: Iterable[bool]) -> int:
    """Exit status of rows: 0, 3 where some failed, 4 where all did."""
    rows = list(failed)
    return 0 if not any(rows) else 4 if all(rows) else 3

"""The library of enrolled speakers as recipes: plain results that somebody else prints (docs/library.md).

`who` is an id or a name everywhere; a name that several people share is refused, and their ids are told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diarize.errors import ConfigError, printable
from diarize.library import portable, store
from diarize.library.database import address, encryption
from diarize.library.database.records import AuditReport, Enrolled, Person
from diarize.library.store import Library


@dataclass(frozen=True, slots=True)
class Model:
    """What a library holds of one embedding model."""

    name: str
    people: int  # who have a voice of it, expired ones among them
    seconds: float  # of enrolment speech


@dataclass(frozen=True, slots=True)
class Overview:
    place: str
    encrypted: bool
    models: tuple[Model, ...]
    people: tuple[Person, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """A person as they are now (or were, once removed), and what a person should know about the change."""

    person: Person
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    person: Person
    utterances: tuple[Enrolled, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Carried:
    """What went out of a library, or came into one."""

    path: Path
    people: tuple[Person, ...]
    notes: tuple[str, ...] = ()


def open_library(
    where: str | Path | None,
    environment: Mapping[str, str],
    passphrase_file: Path | None = None,
    create: bool = False,
    read_only: bool = False,
) -> Library:
    """The library `where` the user says, else at DIARIZE_LIBRARY, else the user's own.

    Raises ConfigError, LibraryError, MissingExtra.
    """
    place = address.default() if where is None else address.parse(where)
    return store.open(place, encryption.passphrase_of(environment, passphrase_file), create, read_only)


def overview(library: Library) -> Overview:
    """Everybody in the library, and the models of which it holds voices."""
    people = library.people()
    models = [
        Model(
            model,
            sum(model in person.seconds for person in people),
            sum(person.seconds.get(model, 0.0) for person in people),
        )
        for model in library.models()
    ]
    notes = [note for person in people for note in _notes(person)]
    return Overview(library.place, library.encrypted, tuple(models), people, tuple(notes))


def show(library: Library, who: str) -> Shown:
    """One person with all utterances. Raises UnknownPerson."""
    person = library.find(who)
    return Shown(person, library.utterances(person.id), _notes(person))


def rename(library: Library, who: str, name: str) -> Changed:
    """Raises UnknownPerson, and ConfigError for a name that is none."""
    if not name.strip():
        raise ConfigError("command line", "NAME", "a person needs a name")
    person = library.rename(library.find(who).id, name)
    return Changed(person, _notes(person))


def merge(library: Library, keep: str, gone: str) -> Changed:
    """All utterances of `gone` go to `keep`; consent stays that of `keep`.

    Raises UnknownPerson, and ConfigError where both are one person already.
    """
    kept, lost = library.find(keep), library.find(gone)
    if kept.id == lost.id:
        problem = f"{printable(gone)} is {kept.id}, who was to be kept"
        raise ConfigError("command line", "GONE", problem, "Name two people.")
    person = library.merge(kept.id, lost.id)
    return Changed(person, _notes(person))


def remove(library: Library, who: str) -> Changed:
    """Delete a person with everything that is kept of them. Raises UnknownPerson, LibraryLocked."""
    person = library.find(who)
    library.remove(person.id)
    note = "transcripts, exports and copies of the library that were made before still hold what they held"
    return Changed(person, (note,))


def export(library: Library, path: Path) -> Carried:
    """Write the library into one portable file. Raises OutputError."""
    portable.write(library, path)
    note = f"{printable(str(path))} holds names and voiceprints, and is not encrypted"
    return Carried(path, library.people(), (note,))


def bring(library: Library, path: Path) -> Carried:
    """Take in an exported file, whole or not at all. Raises FormatError."""
    people = portable.read(library, path)
    return Carried(path, people, tuple(note for person in people for note in _notes(person)))


def audit(library: Library) -> AuditReport:
    """Check everything, and tell what was done when."""
    return library.audit()


def plain(person: Person) -> dict[str, Any]:
    """A person as JSON takes it."""
    return {
        "id": person.id,
        "name": person.name,
        "created": person.created.isoformat(),
        "consent": person.consent,
        "expires": person.expires.isoformat() if person.expires else None,
        "expired": person.expired,
        "utterances": person.utterances,
        "seconds": dict(person.seconds),
        "namesakes": list(person.namesakes),
    }


def plain_utterance(held: Enrolled) -> dict[str, Any]:
    """An utterance as JSON takes it, without its vectors and its sound."""
    return {
        "id": held.id,
        "source": held.source,
        "start": held.start,
        "end": held.end,
        "seconds": held.seconds,
        "quality": dict(held.quality),
        "origin": held.origin,
        "added": held.added.isoformat(),
        "audio": held.audio,
        "models": list(held.vectors),
    }


def _notes(person: Person) -> tuple[str, ...]:
    name, notes = f"{printable(person.name)} ({person.id})", []
    if person.namesakes:
        notes.append(f"{name} has the same name as {', '.join(person.namesakes)}: use ids to tell them apart")
    if person.expired:
        notes.append(f"{name}: the consent ended on {person.expires}, so the voice is not used: renew it, or remove it")
    if not person.seconds:
        notes.append(f"{name} has no utterance, and cannot be recognised")
    return tuple(notes)

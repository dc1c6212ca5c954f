"""The library of enrolled speakers as commands need it: opening it, an overview, notes (docs/library.md).

`who` is an id or a name everywhere; a name that several people share is refused, and the message lists their ids.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diarize.errors import ConfigError, printable
from diarize.library import store
from diarize.library.database import address, encryption
from diarize.library.database.records import Enrolled, Person
from diarize.library.enrolled import RE_EMBED
from diarize.library.store import Library
from diarize.text import counted


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """What a library holds of one embedding model."""

    name: str
    people: int  # who have a voice of it, expired ones included
    seconds: float  # of enrolment speech


@dataclass(frozen=True, slots=True)
class Overview:
    place: str
    encrypted: bool
    models: tuple[ModelSummary, ...]
    people: tuple[Person, ...]
    notes: tuple[str, ...]


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


@contextmanager
def library_to_change(
    where: str | Path | None, environment: Mapping[str, str], passphrase_file: Path | None = None, create: bool = False
) -> Iterator[Library]:
    """As `open_library`. What a run reads of a large library is brought up to date at the end of the change: runs do
    not write into libraries. A library that was created for the change is deleted where nobody came into it.
    """
    place = address.default() if where is None else address.parse(where)
    is_new = create and isinstance(place, Path) and not os.path.lexists(place)
    empty = False
    try:
        with open_library(where, environment, passphrase_file, create) as library:
            try:
                yield library
                library.update_indexes()
            finally:
                empty = is_new and not library.people()
    finally:
        if empty and isinstance(place, Path):
            for suffix in ("", "-wal", "-shm"):
                place.with_name(place.name + suffix).unlink(missing_ok=True)


def summarise(library: Library) -> Overview:
    """Everybody in the library, and the models of which it holds voices; a note on who lacks which."""
    people = library.people()
    models = [
        ModelSummary(
            model,
            sum(model in person.seconds for person in people),
            sum(person.seconds.get(model, 0.0) for person in people),
        )
        for model in library.models()
    ]
    notes = [note for person in people for note in notes_on(person)]
    for model in models if len(models) > 1 else ():
        without = sum(bool(person.seconds) and model.name not in person.seconds for person in people)
        if without:
            notes.append(f"without a voice for {model.name}: {counted(without, 'person')}; {RE_EMBED}")
    return Overview(library.place, library.encrypted, tuple(models), people, tuple(notes))


def rename(library: Library, who: str, name: str) -> Person:
    """Raises UnknownPerson, and ConfigError for an empty name."""
    check_name(name)
    return library.rename(library.find(who).id, name)


def merge(library: Library, keep: str, gone: str) -> Person:
    """All utterances of `gone` go to `keep`; consent stays that of `keep`.

    Raises UnknownPerson, and ConfigError where both are one person already.
    """
    person, other = library.find(keep), library.find(gone)
    if person.id == other.id:
        problem = f"{printable(gone)} is {person.id} too"
        raise ConfigError("command line", "GONE", problem, "Name two people.")
    return library.merge(person.id, other.id)


def check_name(name: str) -> None:
    """Raises ConfigError for an empty name."""
    if not name.strip():
        raise ConfigError("command line", "NAME", "a person needs a name")


def notes_on(person: Person) -> tuple[str, ...]:
    """What a user should know about a person: namesakes, an expired consent, no utterance."""
    name, notes = f"{printable(person.name)} ({person.id})", []
    if person.namesakes:
        notes.append(f"{name} has the same name as {', '.join(person.namesakes)}: use ids to tell them apart")
    if person.expired:
        notes.append(f"{name}: the consent ended on {person.expires}, so the voice is not used: renew it, or remove it")
    if not person.seconds:
        notes.append(f"{name} has no utterance, and cannot be recognised")
    return tuple(notes)


def person_as_dict(person: Person) -> dict[str, Any]:
    """A person as plain data, ready for JSON."""
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


def utterance_as_dict(utterance: Enrolled) -> dict[str, Any]:
    """An utterance as plain data, ready for JSON, without its vectors and its audio."""
    return {
        "id": utterance.id,
        "source": utterance.source,
        "start": utterance.start,
        "end": utterance.end,
        "seconds": utterance.seconds,
        "quality": dict(utterance.quality),
        "origin": utterance.origin,
        "added": utterance.added.isoformat(),
        "audio": utterance.audio,
        "models": list(utterance.vectors),
    }

"""A library as one portable file, and back: a zip archive that any tool can open, nothing in it compressed.

- `library.json`: {"format": "diarize-library", "version": 1, "models": [{"name", "vectors"}], "people": [...]}.
  A person is {"id", "name", "created", "consent", "expires", "utterances": [...]}; an utterance {"source", "start",
  "end", "seconds", "quality", "origin", "audio", "vectors": {"0": 17}}: of model 0 it has row 17. "audio" is a member
  or null.
- `vectors-0.npy`: the vectors of model 0, float32 (n, d), in NumPy's own format, without objects.
- `audio-000001`: kept sound, as it was given.

The file holds voiceprints and names in the clear, whatever the library does. The audit log stays where it is.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from diarize import files
from diarize.errors import FormatError, OutputError
from diarize.library.database.records import Enrolment, Person
from diarize.library.store import Library
from diarize.types import Vectors

VERSION = 1
_NOTES = "library.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest time a zip archive can tell: the same library gives the same bytes


def write(library: Library, path: Path) -> None:
    """Everything in `library` but its audit log; rights 0600. Raises OutputError, also for the place of a library."""
    if _is_library(path):
        raise OutputError(str(path), "is a database, and would be lost", "Name another file.")
    models = library.models()
    vectors: list[list[Any]] = [[] for _ in models]
    people: list[dict[str, Any]] = []
    sounds = 0
    with files.replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        os.fchmod(file.fileno(), 0o600)
        for person in library.people():
            utterances: list[dict[str, Any]] = []
            for held in library.utterances(person.id):
                audio = None
                if (sound := library.sound(held.id)) is not None:
                    sounds += 1
                    audio = f"audio-{sounds:06d}"
                    archive.writestr(zipfile.ZipInfo(audio, _EPOCH), sound)
                places = {}
                for model, vector in held.vectors.items():
                    k = models.index(model)
                    places[str(k)] = len(vectors[k])
                    vectors[k].append(vector)
                utterances.append({
                    "source": held.source, "start": held.start, "end": held.end, "seconds": held.seconds,
                    "quality": dict(held.quality), "origin": held.origin, "audio": audio, "vectors": places,
                })  # fmt: skip
            people.append({
                "id": person.id, "name": person.name, "created": person.created.isoformat(), "consent": person.consent,
                "expires": person.expires.isoformat() if person.expires else None, "utterances": utterances,
            })  # fmt: skip
        listed = []
        for k, model in enumerate(models):
            listed.append({"name": model, "vectors": f"vectors-{k}.npy"})
            with archive.open(zipfile.ZipInfo(f"vectors-{k}.npy", _EPOCH), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.stack(vectors[k]).astype("<f4"), allow_pickle=False)
        notes = {"format": "diarize-library", "version": VERSION, "models": listed, "people": people}
        archive.writestr(zipfile.ZipInfo(_NOTES, _EPOCH), json.dumps(notes, indent=1))


def _is_library(path: Path) -> bool:
    """Whether there is a database at `path`, or `path` is what SQLite calls the log of one."""
    places = [path] + [path.with_name(path.name.removesuffix(end)) for end in ("-wal", "-shm") if path.name[:-4]]
    for place in places:
        try:
            with place.open("rb") as file:
                if file.read(16) == b"SQLite format 3\0":
                    return True
        except OSError:  # not there, or a folder, which the writer tells about
            continue
    return False


def read(library: Library, path: Path) -> tuple[Person, ...]:
    """Take everything in `path` into `library`, all or nothing. Raises FormatError for a file that is not ours.

    Whoever is there already (same id) keeps name, consent and expiry, and gains the utterances that they lack.
    """
    try:
        with zipfile.ZipFile(files.regular(path)) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError(
                    "it is compressed, which an export never is"
                )  # and a small file could claim much memory
            return _take(library, json.loads(archive.read(_NOTES)), archive)
    except OSError as error:
        raise FormatError(str(path), f"cannot be read: {error.strerror or error}", "Nothing was changed.") from error
    except (zipfile.BadZipFile, LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise FormatError(str(path), f"it is no export of a library ({what})", "Nothing was changed.") from error


def _take(library: Library, notes: Mapping[str, Any], archive: zipfile.ZipFile) -> tuple[Person, ...]:
    if notes["format"] != "diarize-library" or type(notes["version"]) is not int:
        raise ValueError("it says that it is something else")
    if notes["version"] > VERSION:
        raise ValueError(f"a newer version of this package made it: its version is {notes['version']}")
    models = [(_string(model["name"]), _vectors(archive.read(_string(model["vectors"])))) for model in notes["models"]]
    taken = []
    with library.batch():
        there = {person.id for person in library.people()}
        for person in notes["people"]:
            utterances = [
                enrolment for held in person["utterances"] for enrolment in _enrolments(held, models, archive)
            ]
            id = _string(person["id"])
            if id in there:
                taken.append(library.enrol(None, utterances, person=id))
                continue
            taken.append(
                library.enrol(
                    _string(person["name"]),
                    utterances,
                    None if person["consent"] is None else _string(person["consent"]),
                    None if person["expires"] is None else date.fromisoformat(person["expires"]),
                    person=id,
                    created=datetime.fromisoformat(person["created"]),
                )
            )
    return tuple(taken)


def _enrolments(
    held: Mapping[str, Any], models: list[tuple[str, Vectors]], archive: zipfile.ZipFile
) -> list[Enrolment]:
    audio = None if held["audio"] is None else archive.read(_string(held["audio"]))
    return [
        Enrolment(
            source=_string(held["source"]),
            seconds=float(held["seconds"]),
            quality={_string(key): float(value) for key, value in held["quality"].items()},
            vector=models[int(k)][1][int(row)].copy(),
            model=models[int(k)][0],
            start=float(held["start"]),
            end=float(held["end"]),
            audio=audio,
            origin=_string(held["origin"]),
        )
        for k, row in held["vectors"].items()
    ]


def _vectors(data: bytes) -> Vectors:
    found = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    if found.ndim != 2 or found.dtype != np.float32:
        raise ValueError(f"vectors are float32 (n, d), got {found.dtype} {found.shape}")
    return np.asarray(found, dtype=np.float32)


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text was expected, got {value!r}")
    return value

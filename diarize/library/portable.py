"""Export of a library into one file, and import: a zip archive without compression, which any tool can open.

- `library.json`: {"format": "diarize-library", "version": 1, "models": [{"name", "vectors"}], "people": [...]}.
  A person is {"id", "name", "created", "consent", "expires", "preferences", "utterances": [...]}; an utterance
  {"source", "start", "end", "seconds", "quality", "origin", "audio", "vectors": {"0": 17}}: of model 0 it has row 17.
  "audio" is a member or null. Exports of earlier versions have no "preferences".
- `vectors-0.npy`: the vectors of model 0, float32 (n, d), in NumPy's own format, without objects.
- `audio-000001`: stored audio.

The file contains voiceprints and names unencrypted, also of an encrypted library. It does not contain the audit log.
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
_CONTENTS = "library.json"


def write(library: Library, path: Path) -> None:
    """Write everything in `library` but its audit log, with mode 0600. Raises OutputError, also where `path` is a
    library.
    """
    if _is_library(path):
        raise OutputError(str(path), "is a database, and would be overwritten", "Name another file.")
    models = library.models()
    vectors: list[list[Any]] = [[] for _ in models]
    people: list[dict[str, Any]] = []
    sounds = 0
    with files.replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        os.fchmod(file.fileno(), 0o600)
        for person in library.people():
            utterances: list[dict[str, Any]] = []
            for utterance in library.utterances(person.id):
                audio = None
                if (sound := library.sound(utterance.id)) is not None:
                    sounds += 1
                    audio = f"audio-{sounds:06d}"
                    archive.writestr(files.zip_member(audio), sound)
                rows = {}
                for model, vector in utterance.vectors.items():
                    k = models.index(model)
                    rows[str(k)] = len(vectors[k])
                    vectors[k].append(vector)
                utterances.append({
                    "source": utterance.source, "start": utterance.start, "end": utterance.end,
                    "seconds": utterance.seconds, "quality": dict(utterance.quality), "origin": utterance.origin,
                    "audio": audio, "vectors": rows,
                })  # fmt: skip
            people.append({
                "id": person.id, "name": person.name, "created": person.created.isoformat(), "consent": person.consent,
                "expires": person.expires.isoformat() if person.expires else None, "utterances": utterances,
                "preferences": library.guard.preferences(person.id),
            })  # fmt: skip
        listing = []
        for k, model in enumerate(models):
            listing.append({"name": model, "vectors": f"vectors-{k}.npy"})
            with archive.open(files.zip_member(f"vectors-{k}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.stack(vectors[k]).astype("<f4"), allow_pickle=False)
        contents = {"format": "diarize-library", "version": VERSION, "models": listing, "people": people}
        archive.writestr(files.zip_member(_CONTENTS), json.dumps(contents, indent=1))


def _is_library(path: Path) -> bool:
    """Whether `path` is a database of SQLite, or a file that belongs to one."""
    places = [path] + [path.with_name(path.name.removesuffix(end)) for end in ("-wal", "-shm") if path.name[:-4]]
    for place in places:
        try:
            with place.open("rb") as file:
                if file.read(16) == b"SQLite format 3\0":
                    return True
        except OSError:  # it does not exist, or is a folder: the writer raises for that
            continue
    return False


def read(library: Library, path: Path) -> tuple[Person, ...]:
    """Add everybody in the file `path` to `library`, or nobody. Raises FormatError for any other file.

    A person who is in the library already (same id) keeps name, consent and expiry, and gets the missing utterances.
    """
    try:
        with zipfile.ZipFile(files.regular(path)) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("it is compressed, which an export never is")  # a small file could fill the memory
            return _add(library, json.loads(archive.read(_CONTENTS)), archive)
    except OSError as error:
        raise FormatError(str(path), f"cannot be read: {error.strerror or error}", "Nothing was changed.") from error
    except (zipfile.BadZipFile, LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise FormatError(str(path), f"it is not an export of a library ({what})", "Nothing was changed.") from error


def _add(library: Library, contents: Mapping[str, Any], archive: zipfile.ZipFile) -> tuple[Person, ...]:
    if contents["format"] != "diarize-library" or type(contents["version"]) is not int:
        raise ValueError("its format is another one")
    if contents["version"] > VERSION:
        raise ValueError(f"it is of a newer version of this package: {contents['version']}")
    models = [
        (_string(model["name"]), _vectors(archive.read(_string(model["vectors"])))) for model in contents["models"]
    ]
    people = []
    with library.batch():
        present = {person.id for person in library.people()}
        for person in contents["people"]:
            utterances = [e for each in person["utterances"] for e in _enrolments(each, models, archive)]
            id = _string(person["id"])
            if id in present:
                people.append(library.enrol(None, utterances, person=id))
                continue
            people.append(
                library.enrol(
                    _string(person["name"]),
                    utterances,
                    None if person["consent"] is None else _string(person["consent"]),
                    None if person["expires"] is None else date.fromisoformat(person["expires"]),
                    person=id,
                    created=datetime.fromisoformat(person["created"]),
                )
            )
            if preferences := person.get("preferences"):  # of this version; earlier ones have none
                library.set_preferences(id, dict(preferences))
    return tuple(people)


def _enrolments(
    utterance: Mapping[str, Any], models: list[tuple[str, Vectors]], archive: zipfile.ZipFile
) -> list[Enrolment]:
    """One enrolment for each model."""
    audio = None if utterance["audio"] is None else archive.read(_string(utterance["audio"]))
    return [
        Enrolment(
            source=_string(utterance["source"]),
            seconds=float(utterance["seconds"]),
            quality={_string(key): float(value) for key, value in utterance["quality"].items()},
            vector=models[int(k)][1][int(row)].copy(),
            model=models[int(k)][0],
            start=float(utterance["start"]),
            end=float(utterance["end"]),
            audio=audio,
            origin=_string(utterance["origin"]),
        )
        for k, row in utterance["vectors"].items()
    ]


def _vectors(data: bytes) -> Vectors:
    vectors = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    if vectors.ndim != 2 or vectors.dtype != np.float32:
        raise ValueError(f"vectors are float32 (n, d), got {vectors.dtype} {vectors.shape}")
    return np.asarray(vectors, dtype=np.float32)


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a string was expected, got {value!r}")
    return value

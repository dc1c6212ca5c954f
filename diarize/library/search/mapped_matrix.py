"""A pair of index files: many voices side by side on the disk, mapped into memory when they are needed.

vectors: float32, little endian, row by row. people: int64 ends of the ids, int64 ends of the names, float64 seconds,
then the ids and the names as UTF-8. Neither can hold a program, and what must be in them is known from elsewhere
(`MappedFiles`).
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from diarize.library.database import fingerprint
from diarize.library.database.records import Matrix, Texts
from diarize.library.database.rows import VoiceRow

PIECE = 4096  # rows that share a hash, so that a new voice needs the last of them hashed again


@dataclass(frozen=True, slots=True)
class MappedFiles:
    """A pair of files as the library describes it: names, content, and the state of both when they were written."""

    vectors: str  # file names
    people: str
    rows: int
    dimension: int
    total: str  # hex; the sum (fingerprint.py) of the voices in them
    changes: int  # number of the last change of the library that is in them
    pieces: tuple[str, ...]  # hex sha256 of each PIECE rows of the vectors
    people_hash: str
    looks: tuple[tuple[int, ...], ...] = ()  # of both files: size, times of change in ns, inode

    @property
    def files(self) -> tuple[str, ...]:
        return self.vectors, self.people

    def facts(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> MappedFiles:
        looks = tuple(tuple(look) for look in facts["looks"])
        return cls(**{**facts, "pieces": tuple(facts["pieces"]), "looks": looks})


def create(folder: Path, dimension: int, voices: Iterable[VoiceRow], total: str, changes: int) -> MappedFiles:
    """Write `voices` into new files. Raises OSError, and leaves none then."""
    folder.mkdir(mode=0o700, exist_ok=True)
    stem = secrets.token_hex(8)
    names, pieces, ids = [], [], []
    seconds: list[float] = []
    remaining = iter(voices)
    try:
        with _new(folder / f"{stem}.vectors") as file:
            while block := list(islice(remaining, PIECE)):
                raw = np.stack([row.vector for row in block]).astype("<f4").tobytes()
                file.write(raw)
                pieces.append(hashlib.sha256(raw).hexdigest())
                ids += [row.id for row in block]
                names += [row.name for row in block]
                seconds += [row.seconds for row in block]
            _sync(file)
        files = MappedFiles(f"{stem}.vectors", "", len(ids), dimension, total, changes, tuple(pieces), "")
        return _with_people(folder, files, Texts.of(ids), Texts.of(names), np.array(seconds, dtype=np.float64))
    except BaseException:
        (folder / f"{stem}.vectors").unlink(missing_ok=True)
        raise


def extend(folder: Path, old: MappedFiles, new: Sequence[VoiceRow], total: str, changes: int) -> MappedFiles:
    """The same files with more voices at the end; whoever has mapped the old rows sees no change. Raises OSError.

    Nobody else may write meanwhile. Rows beyond those that `old` counts, of a writer that was killed, are cut off
    first.
    """
    before = open_matrix(folder, old, "")
    whole = len(old.pieces) - bool(old.rows % PIECE)  # pieces that stay as they are
    width = 4 * old.dimension
    with (folder / old.vectors).open("r+b") as file:
        file.truncate(old.rows * width)
        file.seek(old.rows * width)
        file.write(np.stack([row.vector for row in new]).astype("<f4").tobytes() if new else b"")
        _sync(file)
        file.seek(whole * PIECE * width)
        pieces = [hashlib.sha256(raw).hexdigest() for raw in iter(lambda: file.read(PIECE * width), b"")]
    files = replace(
        old,
        rows=old.rows + len(new),
        total=total,
        changes=changes,
        pieces=(*old.pieces[:whole], *pieces),
    )
    assert isinstance(before.ids, Texts) and isinstance(before.names, Texts)
    seconds = np.concatenate([before.seconds, [row.seconds for row in new]])
    return _with_people(
        folder,
        files,
        before.ids.and_more([r.id for r in new]),
        before.names.and_more([r.name for r in new]),
        seconds,
    )


def open_matrix(folder: Path, files: MappedFiles, model: str) -> Matrix:
    """The voices in a pair of files, without reading them. Raises OSError; ValueError for files that are too short."""
    vectors = _map_file(folder / files.vectors, 4 * files.rows * files.dimension)
    people = _map_file(folder / files.people, None)
    n = files.rows
    id_ends, name_ends = people[: 8 * n].view("<i8"), people[8 * n : 16 * n].view("<i8")
    texts = people[24 * n :]
    split = int(id_ends[-1])
    return Matrix(
        model=model,
        ids=Texts(id_ends, texts[:split]),
        names=Texts(name_ends, texts[split:]),
        vectors=vectors.view("<f4").reshape(n, files.dimension),
        seconds=people[16 * n : 24 * n].view("<f8"),
        digest=fingerprint.digest(model, bytes.fromhex(files.total)),
    )


def looks(folder: Path, files: MappedFiles) -> tuple[tuple[int, ...], ...]:
    """What changes with every write to a file: its ctime cannot be set by a program."""
    states = [(folder / name).lstat() for name in files.files]
    return tuple((s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for s in states)


def is_intact(folder: Path, files: MappedFiles) -> bool:
    """True where the files hold what was written into them; reads them whole."""
    try:
        width = 4 * files.dimension
        vectors = _map_file(folder / files.vectors, width * files.rows)
        for i, expected in enumerate(files.pieces):
            if hashlib.sha256(vectors[i * PIECE * width : (i + 1) * PIECE * width].data).hexdigest() != expected:
                return False
        return hashlib.sha256(_map_file(folder / files.people, None).data).hexdigest() == files.people_hash
    except (OSError, ValueError):
        return False


def write_file(folder: Path, kind: str, data: bytes) -> str:
    """Write a file of another kind; its name. Raises OSError."""
    name = f"{secrets.token_hex(8)}.{kind}"
    _write(folder / name, (data,))
    return name


def read_file(path: Path) -> bytes:
    """What `write_file` wrote; no link is followed. Raises OSError, and ValueError for an empty file."""
    return _map_file(path, None).tobytes()


def _with_people(
    folder: Path, files: MappedFiles, ids: Texts, names: Texts, seconds: NDArray[np.float64]
) -> MappedFiles:
    """Write the second file, and note the state of both."""
    name = f"{secrets.token_hex(8)}.people"
    parts = [ids.ends.astype("<i8"), names.ends.astype("<i8"), seconds.astype("<f8"), ids.data, names.data]
    digest = _write(folder / name, [part.data for part in parts])
    files = replace(files, people=name, people_hash=digest)
    return replace(files, looks=looks(folder, files))


def _write(path: Path, parts: Iterable[bytes | memoryview]) -> str:
    """A new file, on the disk when this returns; its sha256. Raises OSError, and leaves no file then."""
    hasher = hashlib.sha256()
    try:
        with _new(path) as file:
            for part in parts:
                file.write(part)
                hasher.update(part)
            _sync(file)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return hasher.hexdigest()


def _new(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _map_file(path: Path, size: int | None) -> NDArray[np.uint8]:
    """The first `size` bytes of a file (None: all of them), mapped read-only; no link is followed.

    Raises OSError, and ValueError for a file that is shorter or empty.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:
        return np.memmap(file, dtype=np.uint8, mode="r", shape=None if size is None else (size,))

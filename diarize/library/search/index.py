"""The voices of a library as a matrix; of a large library as index files that are derived, checked, and made again.

A small library is read row by row, and so is an encrypted one: its vectors lie nowhere but in the sealed columns. A
large one has a pair of files (mapped_matrix.py) in `<library>.index/`. The library itself names these files and says
what they hold: a file that it does not name is never opened; one whose size, times or inode have changed is hashed; one
that is not what was written is made again. New people are added at the end; any other change makes new files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from diarize.errors import LibraryError
from diarize.library.database import fingerprint
from diarize.library.database.records import Matrix, Texts
from diarize.library.database.rows import Rows, VoiceRow
from diarize.library.search import mapped_matrix
from diarize.library.search.mapped_matrix import MappedFiles

MANY = 10_000  # voices from which on there are files: fewer are read from the library in a tenth of a second
MOST_ADDED = 4096  # voices added to the end of a file at once; more make a new one


class VoiceIndex:
    """The matrices of one open library."""

    def __init__(self, rows: Rows) -> None:
        self._rows, self._engine = rows, rows.engine
        self._folder = None if rows.seal.encrypted else self._engine.folder
        self._latest: dict[str, Matrix] = {}  # model -> what `matrix` returned last

    def matrix(self, model: str, today: date) -> Matrix:
        """The voices of `model` whose consent lasts on `today`."""
        matrix = self._up_to_date(model, today)
        if matrix is None and self._folder is not None and self._engine.writable:
            with contextlib.suppress(LibraryError, OSError):  # without files the rows are read
                matrix = self._extend(model, today, self._folder)
        if matrix is None:
            matrix = self._build(model, today)
        self._latest[model] = matrix
        return matrix

    def files(self, model: str) -> tuple[Path, MappedFiles] | None:
        """The folder and the files under the matrix that `matrix` returned, where it has any."""
        latest, files = self._latest.get(model), self._files(model)
        if latest is None or files is None or self._folder is None or not isinstance(latest.vectors.base, np.memmap):
            return None
        same = latest.digest == fingerprint.digest(model, bytes.fromhex(files.total))
        return (self._folder, files) if same else None

    def add_derived(self, model: str, kind: str, files: MappedFiles, data: bytes, facts: Mapping[str, Any]) -> None:
        """Write a file made of the vectors in `files`, which `derived` then finds, if they are still those of `model`.

        Raises OSError.
        """
        if self._folder is None or not self._engine.writable:
            return
        name = mapped_matrix.write_file(self._folder, kind, data)
        with contextlib.suppress(LibraryError):  # it is written without a name, and deleted with the next change
            with self._engine.writing():
                now = self._files(model)
                if now is not None and now.vectors == files.vectors:
                    known = {**facts, "vectors": files.vectors, "hash": hashlib.sha256(data).hexdigest()}
                    self._register(model, kind, (name,), known)
            self.delete_unused()

    def derived(self, model: str, kind: str) -> dict[str, Any] | None:
        """The facts that `add_derived` was given, with the file's "path" and "hash"; None: there is no such file."""
        manifest, files = self._manifest(model, kind), self.files(model)
        if manifest is None or files is None or manifest["facts"]["vectors"] != files[1].vectors:
            return None
        return {**manifest["facts"], "path": files[0] / manifest["files"][0]}

    def delete_unused(self) -> None:
        """Delete every index file that the library does not name."""
        folder = self._engine.folder
        if folder is None or not folder.is_dir():
            return
        named = {
            name
            for (text,) in self._engine.execute("SELECT manifest FROM indexes")
            for name in json.loads(text)["files"]
        }
        for path in folder.iterdir():
            if path.name not in named:
                path.unlink(missing_ok=True)

    def problems(self) -> Iterator[str]:
        """Index files that are not what was written; they are read whole."""
        for model in self._rows.models():
            files = self._files(model)
            if files is not None and self._folder is not None and not mapped_matrix.is_intact(self._folder, files):
                yield f"the index files of {model} are not what was written; the next search makes them again"

    def _up_to_date(self, model: str, today: date) -> Matrix | None:
        """The latest matrix, or the files, where nothing has changed since."""
        with self._engine.reading():
            total = self._rows.total(model, today)
            files = self._files(model)
        latest = self._latest.get(model)
        if latest is not None and latest.digest == fingerprint.digest(model, total):
            return latest
        if self._folder is None or files is None or files.total != total.hex():
            return None
        with contextlib.suppress(OSError, ValueError):
            if files.looks == mapped_matrix.looks(self._folder, files) or mapped_matrix.is_intact(self._folder, files):
                return mapped_matrix.open_matrix(self._folder, files, model)
        return None

    def _extend(self, model: str, today: date, folder: Path) -> Matrix | None:
        """The files with the voices added that are new, if nothing else has changed. Other writers wait."""
        with self._engine.writing():
            old = self._files(model)
            if old is None or (
                old.looks != mapped_matrix.looks(folder, old) and not mapped_matrix.is_intact(folder, old)
            ):
                return None
            total, changes = self._rows.total(model, today), self._rows.changes()
            new = list(islice(self._rows.voices(model, today, old.changes), MOST_ADDED + 1))
            expected = bytes.fromhex(old.total)
            for row in new:
                expected = fingerprint.add(expected, fingerprint.of_voice(*row))
            if len(new) > MOST_ADDED or expected != total:
                return None  # somebody was changed, was removed, or has expired
            files = mapped_matrix.extend(folder, old, new, total.hex(), changes)
            self._register(model, "matrix", files.files, files.facts())
        matrix = mapped_matrix.open_matrix(folder, files, model)
        self.delete_unused()
        return matrix

    def _build(self, model: str, today: date) -> Matrix:
        """All voices, read from the rows; written into new files where they are many."""
        with self._engine.reading():
            total, changes = self._rows.total(model, today), self._rows.changes()
            dimension = self._rows.dimension(model) or 0
            files = None
            if self._folder is not None and self._engine.writable and self._rows.count(model) >= MANY:
                with contextlib.suppress(OSError):  # no room, or no right to write: the matrix stays in memory
                    voices = self._rows.voices(model, today)
                    files = mapped_matrix.create(self._folder, dimension, voices, total.hex(), changes)
            if self._folder is None or files is None:
                return matrix_of(model, dimension, self._rows.voices(model, today), total)
        matrix = mapped_matrix.open_matrix(self._folder, files, model)
        with contextlib.suppress(LibraryError):
            with self._engine.writing():
                if self._rows.total(model, today) == total:  # or somebody removed meanwhile would stay on the disk
                    self._register(model, "matrix", files.files, files.facts())
            self.delete_unused()
        return matrix

    def _files(self, model: str) -> MappedFiles | None:
        manifest = self._manifest(model, "matrix")
        return None if manifest is None else MappedFiles.of(manifest["facts"])

    def _manifest(self, model: str, kind: str) -> Any:
        rows = self._engine.execute(
            "SELECT i.manifest FROM indexes i JOIN models m ON m.id = i.model WHERE m.name = ? AND i.kind = ?",
            (model, kind),
        )
        manifest = json.loads(rows[0][0]) if rows else None
        if manifest is not None and any(Path(name).name != name for name in manifest["files"]):
            return None  # a name that leads to another folder was not written by this class
        return manifest

    def _register(self, model: str, kind: str, names: Sequence[str], facts: Mapping[str, Any]) -> None:
        """From now on these are the files of `model`."""
        rows = self._engine.execute("SELECT id FROM models WHERE name = ?", (model,))
        self._engine.execute(
            "INSERT INTO indexes (model, kind, manifest) VALUES (?, ?, ?) "
            "ON CONFLICT (model, kind) DO UPDATE SET manifest = excluded.manifest",
            (rows[0][0], kind, json.dumps({"files": list(names), "facts": dict(facts)})),
        )


def matrix_of(model: str, dimension: int, voices: Iterable[VoiceRow], total: bytes) -> Matrix:
    """Voices as a matrix in memory; `total` is their sum (fingerprint.py)."""
    ids, names, seconds = [], [], []
    blocks = [np.empty((0, dimension), dtype=np.float32)]
    remaining = iter(voices)
    while block := list(islice(remaining, mapped_matrix.PIECE)):
        blocks.append(np.stack([row.vector for row in block]))
        ids += [row.id for row in block]
        names += [row.name for row in block]
        seconds += [row.seconds for row in block]
    vectors = np.concatenate(blocks)
    vectors.flags.writeable = False
    return Matrix(model, Texts.of(ids), Texts.of(names), vectors, np.array(seconds), fingerprint.digest(model, total))

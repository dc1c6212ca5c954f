"""The voices of a library as a matrix; of a large library as files that are derived, checked, and rebuilt when stale.

A small library is read row by row, and an encrypted one too: its vectors lie nowhere but in the sealed columns. For a
large one a pair of files (filed.py) lies in `<library>.index/`. The library itself says which files these are and
what they hold: a file that it does not name is never opened, one that looks different than it was left is hashed, and
one that is not what was written is made anew. New people are added at the end; any other change makes new files.
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
from diarize.library.search.mapped_matrix import Filed

MANY = 10_000  # voices from which on files are kept: fewer are read from the library in a tenth of a second
MOST_ADDED = 4096  # voices added to the end of a file at once; more make a new one


class Index:
    """The matrices of one open library."""

    def __init__(self, rows: Rows) -> None:
        self._rows, self._engine = rows, rows.engine
        self._folder = None if rows.seal.encrypted else self._engine.folder
        self._known: dict[str, Matrix] = {}

    def matrix(self, model: str, today: date) -> Matrix:
        """The voices of `model` that are not expired on `today`."""
        found = self._current(model, today)
        if found is None and self._folder is not None and self._engine.writable:
            with contextlib.suppress(LibraryError, OSError):  # files are a convenience: the rows are always there
                found = self._extended(model, today, self._folder)
        if found is None:
            found = self._built(model, today)
        self._known[model] = found
        return found

    def files(self, model: str) -> Filed | None:
        """The files under the matrix that `matrix` gave, if it has any."""
        known, files = self._known.get(model), self._filed(model)
        if known is None or files is None or not isinstance(known.vectors.base, np.memmap):
            return None
        return files if known.digest == fingerprint.digest(model, bytes.fromhex(files.total)) else None

    def place(self, model: str) -> tuple[Path, Filed] | None:
        """Folder and files under the matrix that `matrix` gave, if it has any: what another process maps it from."""
        files = self.files(model)
        return (self._folder, files) if files is not None and self._folder is not None else None

    def keep(self, model: str, kind: str, of: Filed, data: bytes) -> None:
        """Put something derived from the files `of` beside them, if they are still those of `model`. Raises OSError."""
        if self._folder is None or not self._engine.writable:
            return
        name = mapped_matrix.put(self._folder, kind, data)
        facts = {"vectors": of.vectors, "hash": hashlib.sha256(data).hexdigest()}
        with contextlib.suppress(LibraryError):
            with self._engine.writing():
                now = self._filed(model)
                if now is not None and now.vectors == of.vectors:
                    self._name(model, kind, (name,), facts)
            self.sweep()

    def kept(self, model: str, kind: str, of: Filed) -> bytes | None:
        """What `keep` was given for these files; None where there is nothing, or not what was given."""
        rows = self._manifest(model, kind)
        if rows is None or self._folder is None or rows["facts"]["vectors"] != of.vectors:
            return None
        data = mapped_matrix.get(self._folder, rows["files"][0])
        return data if data is not None and hashlib.sha256(data).hexdigest() == rows["facts"]["hash"] else None

    def sweep(self) -> None:
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
            files = self._filed(model)
            if files is not None and self._folder is not None and not mapped_matrix.sound(self._folder, files):
                yield f"the index files of {model} are not what was written; the next search makes them anew"

    def _current(self, model: str, today: date) -> Matrix | None:
        """What is at hand and up to date."""
        with self._engine.reading():
            total = self._rows.total(model, today)
            files = self._filed(model)
        known = self._known.get(model)
        if known is not None and known.digest == fingerprint.digest(model, total):
            return known
        if self._folder is None or files is None or files.total != total.hex():
            return None
        with contextlib.suppress(OSError, ValueError):
            if files.looks == mapped_matrix.looks(self._folder, files) or mapped_matrix.sound(self._folder, files):
                return mapped_matrix.mapped(self._folder, files, model)
        return None

    def _extended(self, model: str, today: date, folder: Path) -> Matrix | None:
        """Voices that came since are added to the files, if that is all that happened. Other writers wait."""
        with self._engine.writing():
            old = self._filed(model)
            if old is None or (old.looks != mapped_matrix.looks(folder, old) and not mapped_matrix.sound(folder, old)):
                return None
            total, changes = self._rows.total(model, today), self._rows.changes()
            fresh = list(islice(self._rows.voices(model, today, old.changes), MOST_ADDED + 1))
            expected = bytes.fromhex(old.total)
            for row in fresh:
                expected = fingerprint.add(expected, fingerprint.of_voice(*row))
            if len(fresh) > MOST_ADDED or expected != total:
                return None  # somebody was changed, was removed, or has expired
            files = mapped_matrix.extended(folder, old, fresh, total.hex(), changes)
            self._name(model, "matrix", files.files, files.facts())
        found = mapped_matrix.mapped(folder, files, model)
        self.sweep()
        return found

    def _built(self, model: str, today: date) -> Matrix:
        """All voices, read from the rows; put into files where they are many."""
        with self._engine.reading():
            total, changes = self._rows.total(model, today), self._rows.changes()
            dimension = self._rows.dimension(model) or 0
            files = None
            if self._folder is not None and self._engine.writable and self._rows.count(model) >= MANY:
                with contextlib.suppress(OSError):  # no room, or no right to write: memory must do
                    voices = self._rows.voices(model, today)
                    files = mapped_matrix.create(self._folder, dimension, voices, total.hex(), changes)
            if self._folder is None or files is None:
                return matrix_of(model, dimension, self._rows.voices(model, today), total)
        found = mapped_matrix.mapped(self._folder, files, model)
        with contextlib.suppress(LibraryError):
            with self._engine.writing():
                if self._rows.total(model, today) == total:  # or somebody removed meanwhile would stay on the disk
                    self._name(model, "matrix", files.files, files.facts())
            self.sweep()
        return found

    def _filed(self, model: str) -> Filed | None:
        manifest = self._manifest(model, "matrix")
        return None if manifest is None else Filed.of(manifest["facts"])

    def _manifest(self, model: str, kind: str) -> Any:
        rows = self._engine.execute(
            "SELECT i.manifest FROM indexes i JOIN models m ON m.id = i.model WHERE m.name = ? AND i.kind = ?",
            (model, kind),
        )
        manifest = json.loads(rows[0][0]) if rows else None
        if manifest is not None and any(Path(name).name != name for name in manifest["files"]):
            return None  # a name that leads elsewhere is none of ours
        return manifest

    def _name(self, model: str, kind: str, names: Sequence[str], facts: Mapping[str, Any]) -> None:
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

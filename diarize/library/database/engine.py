"""The database of a library: what the store needs of it, and SQLite, which every machine has."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diarize.errors import (
    LibraryDamaged,
    LibraryError,
    LibraryFull,
    LibraryLocked,
    LibraryMissing,
    LibraryNewer,
    LibraryReadOnly,
    LibraryUnreadable,
)
from diarize.library.database import schema

PATIENCE = 10.0  # s to wait for another process; a write takes milliseconds, so a longer wait means that it hangs
_MAGIC = b"SQLite format 3\0"
RESTORE = "Restore a backup of it."

SqlRow = tuple[Any, ...]


class Engine(Protocol):
    """SQL with `?` for parameters. Raises every database error as a LibraryError."""

    place: str  # the name in messages
    folder: Path | None  # of index files; None: this database has none
    writable: bool
    overwrites: bool  # deleted rows, without a rewrite of the tables
    depth: int  # of nested transactions; 0: none is open

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[SqlRow]: ...

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[SqlRow]:
        """Rows one by one, for results that are too large for the memory."""

    def has_table(self, name: str) -> bool:
        """Whether there is a table of this name."""

    def typed(self, statement: str) -> str:
        """A statement of schema.py with this database's names of types."""

    def reading(self) -> contextlib.AbstractContextManager[None]:
        """All that is read inside is of one consistent state."""

    def writing(self) -> contextlib.AbstractContextManager[None]:
        """All changes inside, or none; one writer at a time, others wait. May be nested."""

    def purge(self, rewrite: bool = True) -> None:
        """Overwrite deleted data where the database `overwrites`, else let their space be used again.

        `rewrite`: write everything again without them, in any database. Raises LibraryLocked where another process is
        reading them.
        """

    def check(self) -> tuple[str, ...]:
        """The problems that the database itself finds in its files."""

    def add_to_search(self, person: str, model: int, vector: NDArray[np.float32]) -> None:
        """Give a voice to the database's own vector search, where it has one."""

    def nearest(self, model: str, query: NDArray[np.float32], count: int, today: date) -> list[str] | None:
        """The ids of `count` people, and of all who are as near as the last of these, whose voices have the largest
        inner product with `query` and whose consent lasts on `today`. None: this database has no vector search.
        """

    def close(self) -> None: ...


@contextlib.contextmanager
def transaction(engine: Engine, begin: str) -> Iterator[None]:
    """All statements inside, or none of them. `begin` starts the outermost one; one inside another is a savepoint."""
    outermost, savepoint = not engine.depth, f"level{engine.depth}"
    engine.execute(begin if outermost else f"SAVEPOINT {savepoint}")
    engine.depth += 1
    try:
        yield
        engine.execute("COMMIT" if outermost else f"RELEASE SAVEPOINT {savepoint}")
    except BaseException:
        with contextlib.suppress(LibraryError):  # the database ends a transaction by itself where its disk is full
            engine.execute("ROLLBACK" if outermost else f"ROLLBACK TO SAVEPOINT {savepoint}")
        raise
    finally:
        engine.depth -= 1


class Sqlite:
    """A library in one SQLite file, WAL mode, rights 0600. One object belongs to one thread."""

    overwrites = True

    def __init__(self, path: Path, create: bool, read_only: bool) -> None:
        self.place, self.path, self.depth = str(path), path, 0
        self.folder: Path | None = path.with_name(path.name + ".index")
        self.writable = not read_only
        _check_file(path, create and not read_only)
        with self._translated():
            self._connection = _connect(path, read_only)
        try:
            self._prepare(create)
        except BaseException:
            self.close()
            raise

    def _prepare(self, create: bool) -> None:
        if not self.writable:
            self.execute("PRAGMA query_only = ON")
        self.execute("PRAGMA foreign_keys = ON")
        self.execute("PRAGMA secure_delete = ON")  # deleted rows are overwritten with zeros
        self.execute("PRAGMA synchronous = FULL")  # what was confirmed survives a power failure
        empty = not self.execute("SELECT 1 FROM sqlite_master LIMIT 1")
        if empty and create and self.writable:
            self.execute("PRAGMA journal_mode = WAL")
            self._build()
        elif empty:
            raise LibraryUnreadable(self.place, "it is empty", "Delete it, or name another library.")
        application = self.execute("PRAGMA application_id")[0][0]
        if application != schema.APPLICATION:
            raise LibraryUnreadable(self.place, "it is another program's database", "Name another library.")
        self._migrate()

    def _build(self) -> None:
        with self.writing():
            if self.execute("SELECT 1 FROM sqlite_master LIMIT 1"):
                return  # another process has created it
            for statement in schema.SQLITE:
                self.execute(statement)
            self.execute(f"PRAGMA application_id = {schema.APPLICATION}")
            self.execute(f"PRAGMA user_version = {schema.VERSION}")

    def _migrate(self) -> None:
        """Bring an older library up to date: a copy first, then all steps in one transaction."""
        if (version := self._version()) == schema.VERSION:
            return
        if version < 1:  # there was no such version
            raise LibraryDamaged(self.place, f"the file is damaged (its version is {version})", RESTORE)
        if version > schema.VERSION:
            raise LibraryNewer(
                self.place,
                f"its version is {version}, and this package reads versions up to {schema.VERSION}",
                "Update the package: pip install --upgrade diarize-pipeline.",
            )
        if not self.writable:
            problem = f"it is of version {version} and must be updated first"
            raise LibraryReadOnly(self.place, problem, "Run: diarize speakers list, with the right to write it.")
        with self.writing():
            version = self._version()  # another process may have updated it
            if version < schema.VERSION:
                self._back_up(version)
            for step in range(version, schema.VERSION):
                for statement in schema.MIGRATIONS[step]:
                    self.execute(statement)
            self.execute(f"PRAGMA user_version = {schema.VERSION}")

    def _version(self) -> int:
        return int(self.execute("PRAGMA user_version")[0][0])

    def _back_up(self, version: int) -> None:
        copy = self.path.with_name(f"{self.path.name}.v{version}-backup")
        copy.unlink(missing_ok=True)
        _create_file(copy)
        source = _connect(self.path, read_only=True)  # sees the state before this change
        with (
            self._translated(),
            contextlib.closing(source),
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[SqlRow]:
        with self._translated():
            return self._connection.execute(sql, parameters).fetchall()

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[SqlRow]:
        with self._translated():
            yield from self._connection.execute(sql, parameters)

    def has_table(self, name: str) -> bool:
        return bool(self.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)))

    def typed(self, statement: str) -> str:
        return schema.typed(statement, **schema.SQLITE_TYPES)

    def reading(self) -> contextlib.AbstractContextManager[None]:
        return transaction(self, "BEGIN")

    def writing(self) -> contextlib.AbstractContextManager[None]:
        if not self.writable:
            raise LibraryReadOnly(self.place, "it was opened for reading only", "Open it for writing.")
        return transaction(self, "BEGIN IMMEDIATE")

    def purge(self, rewrite: bool = True) -> None:
        if rewrite:  # without it, deleted rows are zeros already (secure_delete)
            self.execute("VACUUM")
        busy = self.execute("PRAGMA wal_checkpoint(TRUNCATE)")[0][0]
        if busy:
            problem = "another process is reading the library"
            raise LibraryLocked(self.place, problem, "Deleted data are overwritten when the library is opened next.")
        for copy in self.path.parent.glob(f"{_literal(self.path.name)}.v*-backup"):
            copy.unlink(missing_ok=True)

    def check(self) -> tuple[str, ...]:
        problems = [str(row[0]) for row in self.execute("PRAGMA integrity_check") if row[0] != "ok"]
        problems += [f"a row of {row[0]} refers to a missing row" for row in self.execute("PRAGMA foreign_key_check")]
        return tuple(problems)

    def add_to_search(self, person: str, model: int, vector: NDArray[np.float32]) -> None:
        pass

    def nearest(self, model: str, query: NDArray[np.float32], count: int, today: date) -> list[str] | None:
        return None

    def close(self) -> None:
        self._connection.close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise translate(error, self.place) from error


def translate(error: sqlite3.Error, place: str) -> LibraryError:
    """The error of SQLite as one of this package."""
    code = getattr(error, "sqlite_errorcode", None)
    match None if code is None else code & 0xFF:  # the low byte is the kind, the rest its detail
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return LibraryLocked(place, "another process is using it", "Wait for it to end, and run the command again.")
        case sqlite3.SQLITE_READONLY:
            return LibraryReadOnly(place, "it cannot be written", "Change its permissions, or those of its folder.")
        case sqlite3.SQLITE_FULL:
            return LibraryFull(place, "the disk is full; nothing was changed", "Free some space, and run it again.")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_FORMAT:
            return LibraryDamaged(place, f"the file is damaged ({error})", RESTORE)
        case sqlite3.SQLITE_NOTADB:
            return LibraryUnreadable(place, "it is no library of speakers, or is damaged", "Name another library.")
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return LibraryUnreadable(
                place, f"it cannot be opened ({error})", "Change its permissions, or its folder's."
            )
        case sqlite3.SQLITE_IOERR:
            return LibraryFull(
                place, f"it could not be read or written ({error}); nothing was changed", "Check the disk."
            )
        case _:
            return LibraryDamaged(place, f"the database reports: {error}", "Run: diarize speakers audit")


def _check_file(path: Path, create: bool) -> None:
    """Refuse other files before SQLite opens them; create the file of a new library."""
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise LibraryUnreadable(str(path), "it is not a file", "Name a file.")
        if state.st_size:
            with path.open("rb") as file:
                if file.read(len(_MAGIC)) != _MAGIC:
                    raise LibraryUnreadable(str(path), "it is no library of speakers", "Name another library.")
    except FileNotFoundError:
        if not create:
            cure = "Enrol somebody first (diarize enroll), or name another one with --library."
            raise LibraryMissing(str(path), "there is no library here", cure) from None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _create_file(path)
        except OSError as error:
            raise LibraryReadOnly(
                str(path), f"it cannot be created ({error.strerror})", "Name another place."
            ) from error
    except OSError as error:
        raise LibraryUnreadable(
            str(path), f"it cannot be read ({error.strerror})", "Change its permissions."
        ) from error


def _create_file(path: Path) -> None:
    """An empty file that only its owner can read; SQLite gives its side files the same rights."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _connect(path: Path, read_only: bool) -> sqlite3.Connection:
    address = path.absolute().as_uri() + ("?mode=ro" if read_only else "?mode=rw")
    if read_only and not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists():
        address += "&immutable=1"  # a read-only medium: WAL needs a second file, and nobody can write
    return sqlite3.connect(address, uri=True, isolation_level=None, timeout=PATIENCE)


def _literal(name: str) -> str:
    """A file name as a glob pattern that matches it alone."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)

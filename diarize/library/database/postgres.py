"""PostgreSQL as the engine under a library of speakers, for several machines (extra `postgres`)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diarize.errors import (
    LibraryDamaged,
    LibraryError,
    LibraryFull,
    LibraryLocked,
    LibraryMissing,
    LibraryNewer,
    LibraryReadOnly,
    LibraryUnreadable,
    MissingExtra,
)
from diarize.library.database import schema
from diarize.library.database.engine import PATIENCE, Row

_WRITERS = 0x64696172  # the server's advisory lock that one writer holds at a time: "diar"
_BATCH = 1000  # rows fetched at a time


class Postgres:
    """The engine (engine.py) over one connection. A password in the address is in no message."""

    folder: Path | None = None  # the voices of a server are mapped into no file
    writable = True

    def __init__(self, address: str, create: bool, read_only: bool) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise MissingExtra("a library on a server", "postgres") from error
        self._psycopg, self._read_only, self.depth, self._streams = psycopg, read_only, 0, 0
        self.place = "postgresql"
        with self._translated():
            facts = psycopg.conninfo.conninfo_to_dict(address)
            self.place = f"postgresql://{facts.get('host', '')}/{facts.get('dbname', '')}"
            self._connection = psycopg.connect(address, autocommit=True, connect_timeout=int(PATIENCE))
        try:
            self._prepare(create and not read_only)
        except BaseException:
            self.close()
            raise

    def _prepare(self, create: bool) -> None:
        self.execute("SET client_min_messages = warning")
        self.execute(f"SET lock_timeout = '{int(1000 * PATIENCE)}ms'")
        self.execute("SET search_path = diarize, public")
        if not self._there():
            if not create:
                cure = "Enrol somebody first (diarize enroll), or name another one with --library."
                raise LibraryMissing(self.place, "there is no library here", cure)
            with self.writing():
                if not self._there():  # another process may have been first
                    self._build()
        version = int(bytes(self.execute("SELECT value FROM meta WHERE key = 'version'")[0][0]))
        if version > schema.VERSION:
            raise LibraryNewer(
                self.place,
                f"its version is {version}, and this package knows versions up to {schema.VERSION}",
                "Update the package: pip install --upgrade diarize-pipeline.",
            )
        if version < schema.VERSION:
            with self.writing():
                for step in range(version, schema.VERSION):
                    for statement in schema.MIGRATIONS[step]:
                        self.execute(statement)
                self.execute("UPDATE meta SET value = ? WHERE key = 'version'", (b"%d" % schema.VERSION,))
        self.has_pgvector = bool(
            self.execute(
                "SELECT 1 FROM information_schema.columns "
                "WHERE table_schema = 'diarize' AND table_name = 'voices' AND column_name = 'embedding'"
            )
        )

    def _there(self) -> bool:
        """Asked of the catalogue's rows: `to_regclass` may answer from a cache that is older than the lock."""
        return bool(self.execute("SELECT 1 FROM pg_tables WHERE schemaname = 'diarize' AND tablename = 'meta'"))

    def _build(self) -> None:
        self.execute("CREATE SCHEMA IF NOT EXISTS diarize")
        for statement in schema.POSTGRES:
            self.execute(statement)
        if self.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"):
            with contextlib.suppress(LibraryError), self.writing():  # where this user may not, it is done without
                for statement in schema.PGVECTOR:
                    self.execute(statement)
        self.execute("INSERT INTO meta (key, value) VALUES ('version', ?)", (b"%d" % schema.VERSION,))

    def fill_vectors(self) -> None:
        """Give the server's own vectors to the voices that have none yet."""
        if not self.has_pgvector:
            return
        for person, model, vector in self.execute("SELECT person, model, vector FROM voices WHERE embedding IS NULL"):
            text = "[" + ",".join(repr(float(x)) for x in np.frombuffer(vector, dtype="<f4")) + "]"
            self.execute(
                "UPDATE voices SET embedding = ?::vector WHERE person = ? AND model = ?", (text, person, model)
            )

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        with self._translated():
            cursor = self._connection.execute(sql.replace("?", "%s"), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Row]:
        """Inside a transaction only: the rows wait on the server."""
        self._streams += 1
        with self._translated(), self._connection.cursor(name=f"rows{self._streams}") as cursor:
            cursor.itersize = _BATCH
            cursor.execute(sql.replace("?", "%s"), parameters or None)
            yield from cursor

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        with self._transaction("BEGIN ISOLATION LEVEL REPEATABLE READ"):
            yield

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        if self._read_only:
            raise LibraryReadOnly(self.place, "it was opened for reading only", "Open it for writing.")
        outermost = not self.depth
        with self._transaction("BEGIN"):
            if outermost:  # one writer at a time, as in SQLite; what it reads afterwards is the newest state
                self.execute("SELECT pg_advisory_xact_lock(?)", (_WRITERS,))
            yield

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        inner = f"inner{self.depth}"
        self.execute(f"SAVEPOINT {inner}" if self.depth else begin)
        self.depth += 1
        try:
            yield
            self.execute(f"RELEASE SAVEPOINT {inner}" if self.depth > 1 else "COMMIT")
        except BaseException:
            with contextlib.suppress(LibraryError):
                self.execute(f"ROLLBACK TO SAVEPOINT {inner}" if self.depth > 1 else "ROLLBACK")
            raise
        finally:
            self.depth -= 1

    def purge(self) -> None:
        """Write the tables anew, without the space of deleted rows."""
        for table in ("people", "utterances", "vectors", "voices", "indexes", "meta"):
            self.execute(f"VACUUM (FULL) {table}")

    def check(self) -> tuple[str, ...]:
        """A server checks its own files (data checksums, pg_amcheck): nothing is known here."""
        return ()

    def close(self) -> None:
        self._connection.close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._psycopg.Error as error:
            raise self._told(error) from error

    def _told(self, error: Any) -> LibraryError:
        """What the server says, as one of our errors (PostgreSQL manual, appendix A, error codes)."""
        said = (error.diag.message_primary or str(error)).strip().splitlines()[0]
        match error.sqlstate or "":
            case "55P03" | "40001" | "40P01" | "57014":
                cure = "Wait for it to end, and run the command again."
                return LibraryLocked(self.place, "another process is using it", cure)
            case "25006" | "42501":
                return LibraryReadOnly(self.place, f"it cannot be written ({said})", "Ask for the right to write.")
            case "53100" | "53200" | "53300":
                return LibraryFull(self.place, f"the server has no room ({said}); nothing was changed", "")
            case "XX001" | "XX002":
                return LibraryDamaged(self.place, f"the server found damage ({said})", "Bring back a backup.")
            case "" | "08000" | "08001" | "08003" | "08004" | "08006" | "3D000" | "28000" | "28P01" | "57P01" | "57P03":
                return LibraryUnreadable(self.place, f"the server cannot be reached ({said})", "Check the address.")
            case _:
                return LibraryDamaged(self.place, f"the database refuses: {said}", "Run: diarize speakers audit")

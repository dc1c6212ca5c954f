"""PostgreSQL as the engine under a library of speakers, for several machines (extra `postgres`).

The tables lie in a schema called `diarize`, or in the one that the address names. Where the server has pgvector and the
library is not encrypted, each voice stands in the table as a vector of the server too, so that the server finds the
nearest ones by itself. What a server keeps beyond the tables (write-ahead log, backups, replicas, statement log) is its
administrator's task.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

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
    MissingExtra,
)
from diarize.library.database import schema
from diarize.library.database.address import SCHEMA, ServerAddress
from diarize.library.database.engine import PATIENCE, RESTORE, SqlRow, transaction

_WRITERS = 0x64696172  # the advisory lock of the server that one writer has at a time: "diar"
_TABLES = (  # from which rows are deleted; the last four are those of the guards, which may be missing
    *("people", "utterances", "vectors", "voices", "models", "indexes", "meta"),
    *("prints", "enrolled_prints", "preferences", "challenges"),
)
_BATCH = 1000  # rows fetched at a time
_CHECK = "Check the address; the password is read from ~/.pgpass or PGPASSWORD."


class Postgres:
    """The engine (engine.py) over one connection. One object belongs to one thread."""

    overwrites = False
    folder: Path | None = None  # the voices of a server are mapped into no file

    def __init__(self, address: ServerAddress, create: bool, read_only: bool) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise MissingExtra("a library on a PostgreSQL server", "postgres") from error
        self.place, self.writable, self.depth = str(address), not read_only, 0
        self._psycopg, self._streams, self._schema = psycopg, 0, address.schema
        with self._translated():
            self._connection = psycopg.connect(address.secret, autocommit=True, connect_timeout=int(PATIENCE))
        try:
            self._prepare(create and not read_only)
        except BaseException:
            self.close()
            raise

    def _prepare(self, create: bool) -> None:
        self.execute("SET client_min_messages = warning")
        self.execute(f"SET lock_timeout = '{int(1000 * PATIENCE)}ms'")
        self.execute(f"SET search_path = {self._schema}, public")  # a name that needs no quotes (address.py)
        if not self.writable:
            self.execute("SET default_transaction_read_only = on")
        if not self._exists():
            if not create:
                cure = "Enrol somebody first (diarize enroll), or name another one with --library."
                raise LibraryMissing(self.place, "there is no library here", cure)
            with self.writing():
                if not self._exists():  # another process may have created it
                    self._build()
        version = int(bytes(self.execute("SELECT value FROM meta WHERE key = 'version'")[0][0]))
        if version > schema.VERSION:
            raise LibraryNewer(
                self.place,
                f"its version is {version}, and this package reads versions up to {schema.VERSION}",
                "Update the package: pip install --upgrade diarize-pipeline.",
            )
        if version < schema.VERSION:
            with self.writing():
                for step in range(version, schema.VERSION):
                    for statement in schema.MIGRATIONS[step]:
                        self.execute(statement)
                self.execute("UPDATE meta SET value = ? WHERE key = 'version'", (b"%d" % schema.VERSION,))
        self._has_pgvector = bool(
            self.execute(
                "SELECT 1 FROM information_schema.columns "
                "WHERE table_schema = ? AND table_name = 'voices' AND column_name = 'embedding'",
                (self._schema,),
            )
        )

    def _exists(self) -> bool:
        """Reads the rows of the catalogue, as `to_regclass` may answer from a cache that is older than the lock."""
        sql = "SELECT 1 FROM pg_tables WHERE schemaname = ? AND tablename = 'meta'"
        return bool(self.execute(sql, (self._schema,)))

    def _build(self) -> None:
        self.execute(f"CREATE SCHEMA IF NOT EXISTS {self._schema}")
        for statement in schema.POSTGRES:
            self.execute(statement)
        if self.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"):
            with (
                contextlib.suppress(LibraryError),
                self.writing(),
            ):  # this user may not install it: the library works without
                extension, column = schema.PGVECTOR
                if self._schema != SCHEMA:  # all libraries of the database find it there
                    extension += " SCHEMA public"
                self.execute(extension)
                self.execute(column)
        self.execute("INSERT INTO meta (key, value) VALUES ('version', ?)", (b"%d" % schema.VERSION,))

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[SqlRow]:
        with self._translated():
            cursor = self._connection.execute(sql.replace("?", "%s"), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[SqlRow]:
        """Inside a transaction only, as the rows stay on the server."""
        self._streams += 1
        with self._translated(), self._connection.cursor(name=f"rows{self._streams}") as cursor:
            cursor.itersize = _BATCH
            cursor.execute(sql.replace("?", "%s"), parameters or None)
            yield from cursor

    def has_table(self, name: str) -> bool:
        sql = "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = ?"
        return bool(self.execute(sql, (name,)))

    def typed(self, statement: str) -> str:
        return schema.typed(statement, **schema.POSTGRES_TYPES)

    def reading(self) -> contextlib.AbstractContextManager[None]:
        return transaction(self, "BEGIN ISOLATION LEVEL REPEATABLE READ")

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        if not self.writable:
            raise LibraryReadOnly(self.place, "it was opened for reading only", "Open it for writing.")
        outermost = not self.depth
        with transaction(self, "BEGIN"):
            if outermost:  # one writer at a time, as in SQLite; what it reads afterwards is the newest state
                if self._schema == SCHEMA:
                    self.execute("SELECT pg_advisory_xact_lock(?)", (_WRITERS,))
                else:
                    self.execute("SELECT pg_advisory_xact_lock(?, hashtext(?))", (_WRITERS, self._schema))
            yield

    def purge(self, rewrite: bool = True) -> None:
        """Rewrite the tables without deleted rows. Else these are not overwritten: their space is used again for other
        rows, sooner or later.
        """
        for table in filter(self.has_table, _TABLES):
            self.execute(f"VACUUM (FULL) {table}" if rewrite else f"VACUUM {table}")

    def check(self) -> tuple[str, ...]:
        """Nothing: a server has its own checks of its files (data checksums, pg_amcheck)."""
        return ()

    def add_to_search(self, person: str, model: int, vector: NDArray[np.float32]) -> None:
        if self._has_pgvector:
            self.execute(
                "UPDATE voices SET embedding = ?::vector WHERE person = ? AND model = ?", (_text(vector), person, model)
            )

    def nearest(self, model: str, query: NDArray[np.float32], count: int, today: date) -> list[str] | None:
        if not self._has_pgvector:
            return None
        rows = self.execute(  # a scan, hence exact but for the server's rounding
            "SELECT v.person FROM voices v JOIN models m ON m.id = v.model JOIN people p ON p.id = v.person "
            "WHERE m.name = ? AND (p.expires IS NULL OR p.expires >= ?) "
            f"ORDER BY v.embedding <#> ?::vector({len(query)}) FETCH FIRST {int(count)} ROWS WITH TIES",
            (model, today.isoformat(), _text(query)),
        )
        return [row[0] for row in rows]

    def close(self) -> None:
        self._connection.close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._psycopg.Error as error:
            raise self._translate(error) from error

    def _translate(self, error: Any) -> LibraryError:
        """The error of the server as one of this package (PostgreSQL manual, appendix A, error codes)."""
        message = (error.diag.message_primary or str(error)).strip().splitlines()[0]
        match error.sqlstate or "":
            case "55P03" | "40001" | "40P01" | "57014":
                cure = "Wait for it to end, and run the command again."
                return LibraryLocked(self.place, "another process is using it", cure)
            case "25006" | "42501":
                return LibraryReadOnly(
                    self.place,
                    f"it cannot be written ({message})",
                    "Ask the administrator of the server for the right to write.",
                )
            case "53100" | "53200" | "53300":
                return LibraryFull(self.place, f"the server has no space ({message}); nothing was changed", "")
            case "XX001" | "XX002":
                return LibraryDamaged(self.place, f"the server found damage ({message})", RESTORE)
            case "" | "08000" | "08001" | "08003" | "08004" | "08006" | "3D000" | "28000" | "28P01" | "57P01" | "57P03":
                return LibraryUnreadable(self.place, f"the server cannot be reached ({message})", _CHECK)
            case _:
                return LibraryDamaged(self.place, f"the database reports: {message}", "Run: diarize speakers audit")


def _text(vector: NDArray[np.float32]) -> str:
    """A vector as pgvector reads it."""
    return "[" + ",".join(repr(float(x)) for x in vector) + "]"

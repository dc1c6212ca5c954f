"""The service's own tables: keys, people who opted out, answers for repeated requests, use by day, events.

They lie in `service.db` of the data folder, or, with libraries on a server, in the schema `diarize_service` there.
Nothing of people but their ids is in them: names and voices stay in the tenant's library.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from diarize.errors import LibraryError, MissingExtra
from diarize.library.database.address import ServerAddress
from diarize.library.database.engine import PATIENCE, translate

SCHEMA = "diarize_service"
TABLES = (
    "CREATE TABLE IF NOT EXISTS keys (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, "
    "digest TEXT NOT NULL, scopes TEXT NOT NULL, created TEXT NOT NULL, expires TEXT, revoked TEXT)",
    "CREATE TABLE IF NOT EXISTS opted_out (tenant TEXT NOT NULL, person TEXT NOT NULL, since TEXT NOT NULL, "
    "PRIMARY KEY (tenant, person))",
    "CREATE TABLE IF NOT EXISTS answers (tenant TEXT NOT NULL, caller TEXT NOT NULL, name TEXT NOT NULL, "
    "request TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL, created TEXT NOT NULL, "
    "PRIMARY KEY (tenant, caller, name))",
    "CREATE TABLE IF NOT EXISTS use_by_day (tenant TEXT NOT NULL, day TEXT NOT NULL, requests INTEGER NOT NULL, "
    "seconds {real} NOT NULL, PRIMARY KEY (tenant, day))",
    "CREATE TABLE IF NOT EXISTS events (number {serial}, time TEXT NOT NULL, tenant TEXT NOT NULL, "
    "caller TEXT NOT NULL, request TEXT NOT NULL, action TEXT NOT NULL, person TEXT NOT NULL, outcome TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS events_of_tenant ON events (tenant, number)",
)


class Ledger:
    """The tables, opened once for each thread that uses them. Raises every database error as a LibraryError."""

    def __init__(self, place: Path | ServerAddress) -> None:
        """`place`: the file, which is made with rights 0600, or a server."""
        self.place = str(place)
        self._address = place
        self._local = threading.local()
        self._all: list[Any] = []
        self._lock = threading.Lock()
        self._create()

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a statement with `?` for parameters."""
        with self._translated():
            if isinstance(self._address, ServerAddress):
                cursor = self._connection().execute(sql.replace("?", "%s"), parameters or None)
                return cursor.fetchall() if cursor.description else []
            return list(self._connection().execute(sql, parameters).fetchall())

    def _create(self) -> None:
        server = isinstance(self._address, ServerAddress)
        self.execute("BEGIN" if server else "BEGIN IMMEDIATE")
        try:
            if server:  # CREATE ... IF NOT EXISTS of two processes at once would fail
                self.execute("SELECT pg_advisory_xact_lock(hashtext(?))", (SCHEMA,))
                self.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            types = {"real": "REAL", "serial": "INTEGER PRIMARY KEY AUTOINCREMENT"}
            if server:
                types = {"real": "DOUBLE PRECISION", "serial": "BIGSERIAL PRIMARY KEY"}
            for statement in TABLES:
                self.execute(statement.format(**types))
            self.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(LibraryError):
                self.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for connection in self._all:
                connection.close()
            self._all.clear()
        self._local = threading.local()

    def _connection(self) -> Any:
        connection = getattr(self._local, "connection", None)
        if connection is None or getattr(connection, "closed", False):
            connection = self._local.connection = self._connect()
            with self._lock:
                self._all.append(connection)
        return connection

    def _connect(self) -> Any:
        if isinstance(self._address, ServerAddress):
            try:
                import psycopg
            except ImportError as error:
                raise MissingExtra("a library on a PostgreSQL server", "postgres") from error
            opened = psycopg.connect(self._address.secret, autocommit=True, connect_timeout=int(PATIENCE))
            opened.execute("SET client_min_messages = warning")
            opened.execute(f"SET lock_timeout = '{int(1000 * PATIENCE)}ms'")
            opened.execute(f"SET search_path = {SCHEMA}")
            return opened
        try:
            self._address.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self._address, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except OSError as error:
            raise LibraryError(self.place, f"it cannot be created ({error.strerror})", "Name another place.") from error
        file = sqlite3.connect(self._address, isolation_level=None, timeout=PATIENCE, check_same_thread=False)
        for statement in ("journal_mode = WAL", "synchronous = NORMAL", "secure_delete = ON"):
            file.execute(f"PRAGMA {statement}")
        return file

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise translate(error, self.place) from error
        except Exception as error:
            if type(error).__module__.partition(".")[0] != "psycopg":
                raise
            message = (str(error).strip().splitlines() or ["no answer"])[0]
            raise LibraryError(self.place, f"the server reports: {message}", "Check the server.") from error

"""What the guards keep in a library: fingerprints of accepted sound, challenges, and preferences of people.

The tables are made when something is first kept in them. A library without them has none of this, and older versions
of this package read it as before. Fingerprints, phrases and preferences are encrypted where the library is. Removing a
person removes their fingerprints and preferences.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from diarize.library.database.encryption import Seal
from diarize.library.database.engine import Engine

MOST_PREFERENCES = 65_536  # bytes of one person's preferences as JSON

TABLES = (
    "CREATE TABLE IF NOT EXISTS prints (id TEXT PRIMARY KEY, person TEXT NOT NULL REFERENCES people (id) "
    "ON DELETE CASCADE, added TEXT NOT NULL, origin {blob} NOT NULL, print {blob} NOT NULL)",
    "CREATE INDEX IF NOT EXISTS prints_by_person ON prints (person)",
    # Those of enrolled sound, which stay: of sound that was accepted later, the oldest are dropped.
    "CREATE TABLE IF NOT EXISTS enrolled_prints (print TEXT PRIMARY KEY REFERENCES prints (id) ON DELETE CASCADE)",
    "CREATE TABLE IF NOT EXISTS preferences (person TEXT PRIMARY KEY REFERENCES people (id) ON DELETE CASCADE, "
    "value {blob} NOT NULL)",
    "CREATE TABLE IF NOT EXISTS challenges (id TEXT PRIMARY KEY, expires TEXT NOT NULL, value {blob} NOT NULL)",
)


@dataclass(frozen=True, slots=True)
class StoredPrint:
    """The fingerprint of a recording that was accepted."""

    person: str  # id
    origin: str  # as a person reads it
    added: str  # UTC, ISO 8601
    print: bytes


class GuardRows:
    """These tables of an open library. Changes are made inside `Library.batch`."""

    def __init__(self, engine: Engine, seal: Seal) -> None:
        self._engine, self._seal = engine, seal

    def add_print(self, id: str, stored: StoredPrint, enrolled: bool = False) -> None:
        """Keep a fingerprint under a new `id`. `enrolled`: it is of enrolled sound, and `drop_prints` keeps it."""
        self._prepare()
        origin = self._seal.close(stored.origin.encode("utf-8", "surrogatepass"), f"prints/origin/{id}")
        value = self._seal.close(stored.print, f"prints/print/{stored.person}/{id}")
        self._engine.execute(
            "INSERT INTO prints (id, person, added, origin, print) VALUES (?, ?, ?, ?, ?)",
            (id, stored.person, stored.added, origin, value),
        )
        if enrolled:
            self._engine.execute("INSERT INTO enrolled_prints (print) VALUES (?)", (id,))

    def drop_prints(self, person: str, most: int) -> None:
        """Delete the oldest fingerprints of a person so that `most` are left of sound that was not enrolled."""
        accepted = "person = ? AND id NOT IN (SELECT print FROM enrolled_prints)"
        newest = f"SELECT id FROM prints WHERE {accepted} ORDER BY added DESC, id DESC LIMIT ?"
        sql = f"DELETE FROM prints WHERE {accepted} AND id NOT IN ({newest})"
        self._engine.execute(sql, (person, person, most))

    def prints(self, person: str | None = None) -> Iterator[StoredPrint]:
        """The fingerprints of one person, or of everybody."""
        if not self._engine.has_table("prints"):
            return
        where, values = ("", ()) if person is None else ("WHERE person = ? ", (person,))
        sql = f"SELECT id, person, added, origin, print FROM prints {where}ORDER BY added, id"
        for id, owner, added, origin, value in self._engine.execute(sql, values):
            text = self._seal.open(bytes(origin), f"prints/origin/{id}").decode("utf-8", "surrogatepass")
            yield StoredPrint(owner, text, added, self._seal.open(bytes(value), f"prints/print/{owner}/{id}"))

    def move_prints(self, gone: str, keep: str) -> None:
        """The fingerprints of `gone` become those of `keep`, as one person was enrolled as two."""
        if not self._engine.has_table("prints"):
            return
        for id, value in self._engine.execute("SELECT id, print FROM prints WHERE person = ?", (gone,)):
            opened = self._seal.open(bytes(value), f"prints/print/{gone}/{id}")
            sealed = self._seal.close(opened, f"prints/print/{keep}/{id}")
            self._engine.execute("UPDATE prints SET person = ?, print = ? WHERE id = ?", (keep, sealed, id))

    def preferences(self, person: str) -> dict[str, Any]:
        """The preferences of a person; empty where there are none."""
        if not self._engine.has_table("preferences"):
            return {}
        rows = self._engine.execute("SELECT value FROM preferences WHERE person = ?", (person,))
        if not rows:
            return {}
        value: dict[str, Any] = json.loads(self._seal.open(bytes(rows[0][0]), f"preferences/value/{person}"))
        return value

    def set_preferences(self, person: str, value: Mapping[str, Any]) -> None:
        """Replace the preferences of a person; empty ones are deleted.

        Raises ValueError for what JSON cannot say, and for more than `MOST_PREFERENCES` bytes.
        """
        text = json.dumps(dict(value), ensure_ascii=True, allow_nan=False, sort_keys=True).encode("ascii")
        if len(text) > MOST_PREFERENCES:
            raise ValueError(f"preferences are at most {MOST_PREFERENCES} bytes of JSON, these are {len(text)}")
        self._prepare()
        self._engine.execute("DELETE FROM preferences WHERE person = ?", (person,))
        if value:
            sealed = self._seal.close(text, f"preferences/value/{person}")
            self._engine.execute("INSERT INTO preferences (person, value) VALUES (?, ?)", (person, sealed))

    def add_challenge(self, id: str, expires: str, value: bytes, now: str) -> None:
        """Keep a challenge until it is taken; those that expired before `now` (UTC, ISO 8601) are deleted."""
        self._prepare()
        self._engine.execute("DELETE FROM challenges WHERE expires < ?", (now,))
        sealed = self._seal.close(value, f"challenges/value/{id}")
        self._engine.execute("INSERT INTO challenges (id, expires, value) VALUES (?, ?, ?)", (id, expires, sealed))

    def take_challenge(self, id: str) -> bytes | None:
        """The challenge of this id, which is deleted: it can be taken once. None: there is none."""
        if not self._engine.has_table("challenges"):
            return None
        rows = self._engine.execute("SELECT value FROM challenges WHERE id = ?", (id,))
        self._engine.execute("DELETE FROM challenges WHERE id = ?", (id,))
        return self._seal.open(bytes(rows[0][0]), f"challenges/value/{id}") if rows else None

    def _prepare(self) -> None:
        is_older = self._engine.has_table("prints") and not self._engine.has_table("enrolled_prints")
        for statement in TABLES:
            self._engine.execute(self._engine.typed(statement))
        if is_older:  # which of them were enrolled is not known: all stay
            self._engine.execute("INSERT INTO enrolled_prints (print) SELECT id FROM prints")

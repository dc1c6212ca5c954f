"""The audit log: every change of a library, each entry bound to the one before by its hash.

hash(i) = H(hash(i-1) || canonical JSON of entry i), where H is SHA-256, or HMAC-SHA-256 under the library's key where
it is encrypted (Schneier and Kelsey 1999, "Secure Audit Logs to Support Computer Forensics", section 4, without their
changing keys). The last hash and the count of entries stand in the library once more, so that a log cut short is
noticed too. Whoever may write an unencrypted library can also compute a new chain: keep the last hash elsewhere where
that matters.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from diarize.library.database.engine import Engine
from diarize.library.database.records import Entry

Chain = Callable[[bytes, bytes], bytes]
START = bytes(32)  # the hash before the first entry


def append(engine: Engine, chain: Chain, time: str, action: str, person: str, detail: Mapping[str, Any]) -> None:
    """Add one entry; inside the transaction of the change that it tells of."""
    rows = engine.execute("SELECT value FROM meta WHERE key = 'audit'")
    count, head = _head(rows[0][0] if rows else b"")
    entry = Entry(count + 1, time, action, person, dict(detail))
    hash = chain(head, canonical(entry))
    engine.execute(
        "INSERT INTO audit (seq, time, action, person, detail, hash) VALUES (?, ?, ?, ?, ?, ?)",
        (entry.seq, time, action, person, _json(entry.detail), hash),
    )
    engine.execute(
        "INSERT INTO meta (key, value) VALUES ('audit', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (entry.seq.to_bytes(8, "big") + hash,),
    )


def read(engine: Engine, chain: Chain) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """All entries, and what is wrong with them; of a broken chain only the first break is told, the rest follows."""
    entries: list[Entry] = []
    problems: list[str] = []
    before = START
    for seq, time, action, person, detail, hash in engine.stream(
        "SELECT seq, time, action, person, detail, hash FROM audit ORDER BY seq"
    ):
        try:
            entry = Entry(seq, time, action, person, json.loads(detail))
        except ValueError:
            entry = Entry(seq, time, action, person, {})
        entries.append(entry)
        if problems:
            continue
        if seq != len(entries):
            problems.append(f"audit entry {len(entries)} is missing: entry {seq} ({action}, {time}) follows")
        elif chain(before, canonical(entry)) != bytes(hash) or _json(entry.detail) != detail:
            problems.append(
                f"audit entry {seq} ({action}, {time}) breaks the chain: it, or what came before, was changed"
            )
        before = bytes(hash)
    rows = engine.execute("SELECT value FROM meta WHERE key = 'audit'")
    count, head = _head(rows[0][0] if rows else b"")
    if not problems and (count, head) != (len(entries), before):
        problems.append(f"the audit log ends after entry {len(entries)}, and should have {count}: its end was cut off")
    return tuple(entries), tuple(problems)


def canonical(entry: Entry) -> bytes:
    """The bytes that are hashed."""
    return _json([entry.seq, entry.time, entry.action, entry.person, entry.detail]).encode("ascii")


def _json(value: Mapping[str, Any] | Sequence[Any]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _head(value: bytes) -> tuple[int, bytes]:
    value = bytes(value)
    return (int.from_bytes(value[:8], "big"), value[8:]) if value else (0, START)

"""The audit log: every change of a library, each entry with the hash of the one before.

hash(i) = H(hash(i-1) || canonical JSON of entry i), where H is SHA-256, or HMAC-SHA-256 under the library's key where
it is encrypted (Schneier and Kelsey 1999, "Secure Audit Logs to Support Computer Forensics", section 4, without their
changing keys). The last hash and the number of entries are stored a second time, so that missing entries at the end are
noticed too. Whoever may write an unencrypted library can also compute a new chain: where that matters, note the last
hash in another place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from diarize.library.database.engine import Engine
from diarize.library.database.records import AuditEntry

Chain = Callable[[bytes, bytes], bytes]
START = bytes(32)  # the hash before the first entry


def append(engine: Engine, chain: Chain, time: str, action: str, person: str, detail: Mapping[str, Any]) -> None:
    """Add one entry, inside the transaction of the change."""
    rows = engine.execute("SELECT value FROM meta WHERE key = 'audit'")
    count, head = _head(rows[0][0] if rows else b"")
    entry = AuditEntry(count + 1, time, action, person, dict(detail))
    hash = chain(head, canonical(entry))
    engine.execute(
        "INSERT INTO audit (seq, time, action, person, detail, hash) VALUES (?, ?, ?, ?, ?, ?)",
        (entry.seq, time, action, person, _json(entry.detail), hash),
    )
    engine.execute(
        "INSERT INTO meta (key, value) VALUES ('audit', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (entry.seq.to_bytes(8, "big") + hash,),
    )


def read(engine: Engine, chain: Chain) -> tuple[tuple[AuditEntry, ...], tuple[str, ...]]:
    """All entries, and the problems; of a broken chain only the first, as all later hashes follow from it."""
    entries: list[AuditEntry] = []
    problems: list[str] = []
    before = START
    for seq, time, action, person, detail, hash in engine.stream(
        "SELECT seq, time, action, person, detail, hash FROM audit ORDER BY seq"
    ):
        try:
            entry = AuditEntry(seq, time, action, person, json.loads(detail))
        except ValueError:
            entry = AuditEntry(seq, time, action, person, {})
        entries.append(entry)
        if problems:
            continue
        if seq != len(entries):
            problems.append(f"audit entry {len(entries)} is missing: entry {seq} ({action}, {time}) follows")
        elif chain(before, canonical(entry)) != bytes(hash) or _json(entry.detail) != detail:
            problems.append(
                f"audit entry {seq} ({action}, {time}) breaks the chain: it, or an entry before it, was changed"
            )
        before = bytes(hash)
    rows = engine.execute("SELECT value FROM meta WHERE key = 'audit'")
    count, head = _head(rows[0][0] if rows else b"")
    if not problems and (count, head) != (len(entries), before):
        problems.append(f"the audit log has {len(entries)} entries instead of {count}: entries at its end were deleted")
    return tuple(entries), tuple(problems)


def canonical(entry: AuditEntry) -> bytes:
    """The bytes that are hashed."""
    return _json([entry.seq, entry.time, entry.action, entry.person, entry.detail]).encode("ascii")


def _json(value: Mapping[str, Any] | Sequence[Any]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _head(value: bytes) -> tuple[int, bytes]:
    value = bytes(value)
    return (int.from_bytes(value[:8], "big"), value[8:]) if value else (0, START)

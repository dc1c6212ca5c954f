"""The log of a case: a line for each act, each with the hash of the line before (docs/method/evidence.md).

hash(i) = SHA-256(canonical JSON of line i, which holds hash(i-1)), after Schneier and Kelsey 1999, "Secure Audit Logs
to Support Computer Forensics", section 4, without keys. The number of lines and the last hash are stored a second time,
so that lines missing at the end are noticed. Whoever may write the case can compute a new chain: a signed report, or a
last hash that was noted elsewhere, shows that too.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

from pipelines.results.integrity import Difference
from pipelines.versions import OWN, versions

LOG, HEAD = "log.jsonl", "log.head"
START = "0" * 64  # the hash before the first line


@dataclass(frozen=True, slots=True)
class Act:
    """One line of the log."""

    number: int  # from 1
    time: str  # UTC, ISO 8601 to the microsecond
    action: str
    operator: str  # the name that was given, or the account's
    account: str  # of the operating system
    host: str
    product: str  # version of this product, with the digest of its code
    detail: Mapping[str, Any]
    files: Mapping[str, str]  # path below the case -> sha256
    previous: str  # hash of the line before
    hash: str


def now() -> datetime:
    """The time of this computer, in UTC."""
    return datetime.now(UTC)


def account() -> str:
    """The account of the operating system that runs this process; its number where it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


def next_act(
    acts: Sequence[Act], action: str, operator: str, detail: Mapping[str, Any], files: Mapping[str, str]
) -> Act:
    """The line that follows `acts`."""
    line: dict[str, Any] = {
        "number": len(acts) + 1,
        "time": now().isoformat(timespec="microseconds"),
        "action": action,
        "operator": operator or account(),
        "account": account(),
        "host": platform.node(),
        "product": versions()[OWN],
        "detail": dict(detail),
        "files": dict(files),
        "previous": acts[-1].hash if acts else START,
    }
    return Act(**line, hash=hash_line(line))


def dumps(acts: Sequence[Act]) -> bytes:
    """The bytes of the log."""
    return b"".join(_canonical(asdict(act)) + b"\n" for act in acts)


def head(acts: Sequence[Act]) -> bytes:
    """The bytes of the second copy of the log's end."""
    return f"{len(acts)} {acts[-1].hash if acts else START}\n".encode()


def loads(data: bytes) -> tuple[tuple[Act, ...], list[Difference]]:
    """(acts up to the first line that is not valid, what is wrong with the log).

    Every byte counts: a line must be exactly what `dumps` writes. Times that go back are reported, as the clock was set
    back then, or lines were written later.
    """
    acts: list[Act] = []
    lines = data.split(b"\n")
    if lines.pop() != b"":
        return _loads(lines, acts, [Difference(LOG, "changed", "its last line is not complete")])
    return _loads(lines, acts, [])


def _loads(
    lines: Sequence[bytes], acts: list[Act], problems: list[Difference]
) -> tuple[tuple[Act, ...], list[Difference]]:
    names = {field.name for field in fields(Act)}
    for number, line in enumerate(lines, 1):
        where = f"{LOG}: line {number}"
        try:
            values = json.loads(line)
            if not isinstance(values, dict) or set(values) != names or _canonical(values) != line:
                raise ValueError("is not a line as this product writes it")
            act = Act(**values)
            if not isinstance(act.files, dict) or not isinstance(act.detail, dict):
                raise ValueError("is not a line as this product writes it")
        except (ValueError, RecursionError) as error:
            return tuple(acts), [*problems, Difference(where, "changed", f"cannot be read: {error}")]
        expected = acts[-1].hash if acts else START
        if act.number != number or act.previous != expected:
            what = f"act {act.number} ({act.action}, {act.time}) does not follow the line before: lines were removed, "
            return tuple(acts), [*problems, Difference(where, "changed", what + "added or put in another order")]
        if hash_line({key: value for key, value in values.items() if key != "hash"}) != act.hash:
            what = f"act {act.number} ({act.action}, {act.time}) was changed: its hash is another"
            return tuple(acts), [*problems, Difference(where, "changed", what)]
        if acts and act.time < acts[-1].time:
            problems.append(Difference(where, "changed", f"the clock went back: {act.time} follows {acts[-1].time}"))
        acts.append(act)
    return tuple(acts), problems


def hash_line(line: Mapping[str, Any]) -> str:
    """The hash of a line without its field `hash`."""
    return hashlib.sha256(_canonical(line)).hexdigest()


def _canonical(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")

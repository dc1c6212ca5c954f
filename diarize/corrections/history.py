"""A log of operations: one JSON object a line, each with the hash of the one before.

    {"number": 3, "time": "2026-05-04T10:00:00+00:00", "author": "anna", "base": SHA256, "operation": {...},
     "before": {...}, "after": {...}, "hash": SHA256}

`base` is the sha256 of the transcript.json on which the person saw what they corrected. `before` and `after` say for
readers what was changed; only `operation` is applied. hash = SHA-256(hash of the entry before || canonical JSON of the
entry without its hash), as in Schneier and Kelsey 1999, "Secure Audit Logs to Support Computer Forensics", section 4,
without keys: whoever may write the file can also compute a new chain, so note the last hash in another place where that
matters.

Operations `{"op": "undo", "number": N}` and `{"op": "redo", "number": N}` take back entry N, and bring it again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from diarize.corrections.operations import DoesNotFit, Draft, Operation, check
from diarize.corrections.state import State
from diarize.errors import FormatError

START = "0" * 64  # the hash before the first entry
KEYS = ("number", "time", "author", "base", "operation", "before", "after", "hash")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log."""

    number: int  # from 1
    time: str  # UTC, ISO 8601
    author: str
    base: str  # sha256 of the transcript.json
    operation: Operation
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    hash: str = ""

    def chained(self, previous: str) -> str:
        """The hash of this entry, after one with the hash `previous`."""
        values = [self.number, self.time, self.author, self.base, self.operation, self.before, self.after]
        return hashlib.sha256((previous + _json(values)).encode("ascii")).hexdigest()

    def as_line(self) -> str:
        return _json({key: getattr(self, key) for key in KEYS}) + "\n"


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of an entry: `problem` says why it no longer fits; "" if it is applied, or taken back."""

    entry: Entry
    problem: str = ""
    undone: bool = False


@dataclass(frozen=True, slots=True)
class History:
    """A state after all entries that fit, and what became of each."""

    state: State
    entries: tuple[Applied, ...]

    @property
    def conflicts(self) -> tuple[Applied, ...]:
        """Entries that do not fit, in order."""
        return tuple(entry for entry in self.entries if entry.problem and not entry.undone)


def read(text: str, where: str) -> tuple[tuple[Entry, ...], str]:
    """The entries of a log, and the problem of its chain; "" if it is whole.

    A last line without a line end was being written when its process died: nobody was told that it is saved, so it is
    left out. Raises FormatError for a line that is no entry.
    """
    entries: list[Entry] = []
    problem, previous = "", START
    lines = text.split("\n")
    for number, line in enumerate(lines[:-1], 1):
        try:
            values = json.loads(line)
            entry = Entry(**{key: values[key] for key in KEYS})
            if set(values) != set(KEYS) or not isinstance(entry.operation, dict) or type(entry.number) is not int:
                raise ValueError
            expected = entry.chained(previous)
        except (ValueError, TypeError, KeyError, RecursionError):
            raise FormatError(f"{where}:{number}", "not a correction") from None
        if not problem and (entry.number != number or entry.hash != expected):
            problem = f"entry {number} breaks the chain: it, or an entry before it, was changed or removed"
        previous = entry.hash
        entries.append(entry)
    return tuple(entries), problem


def undone_numbers(entries: Iterable[Entry]) -> frozenset[int]:
    """The numbers of entries that are taken back now."""
    undone: set[int] = set()
    for entry in entries:
        if entry.operation.get("op") == "undo":
            undone.add(entry.operation["number"])
        elif entry.operation.get("op") == "redo":
            undone.discard(entry.operation["number"])
    return frozenset(undone)


def replay(
    state: State, entries: Sequence[Entry], translate: Callable[[Entry], Operation] = lambda entry: entry.operation
) -> History:
    """Apply the entries to `state`, in order, without those that were taken back.

    `translate` gives an entry's operation for this state, or raises DoesNotFit (diarize/corrections/anchoring.py).
    """
    draft, applied = replay_draft(state, entries, translate)
    return History(draft.freeze(), tuple(applied))


def replay_draft(
    state: State, entries: Sequence[Entry], translate: Callable[[Entry], Operation]
) -> tuple[Draft, list[Applied]]:
    """As `replay`; the state as a draft, to which more can be applied."""
    undone = undone_numbers(entries)
    draft = Draft(state)
    applied = []
    for entry in entries:
        problem = ""
        if entry.operation.get("op") not in ("undo", "redo") and entry.number not in undone:
            try:
                draft.apply(translate(entry), entry.number)
            except DoesNotFit as error:
                problem = str(error)
        applied.append(Applied(entry, problem, entry.number in undone))
    return draft, applied


def check_entry(operation: object, entries: Sequence[Entry]) -> Operation:
    """The operation of a new entry after `entries`. Raises DoesNotFit for one that can never be applied."""
    if not isinstance(operation, Mapping) or operation.get("op") not in ("undo", "redo"):
        return check(operation)
    number = operation.get("number")
    if set(operation) != {"op", "number"} or type(number) is not int or not 1 <= number <= len(entries):
        raise DoesNotFit(f"there is no operation {number!r} to {operation['op']}")
    if entries[number - 1].operation.get("op") in ("undo", "redo"):
        raise DoesNotFit(f"operation {number} is itself an undo or redo")
    if (number in undone_numbers(entries)) == (operation["op"] == "undo"):
        raise DoesNotFit(f"operation {number} is {'taken back already' if operation['op'] == 'undo' else 'in effect'}")
    return operation


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))

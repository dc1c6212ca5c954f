"""Corrections of one recording: apply operations, write the exports again, list what was done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diarize import formats
from diarize.corrections.history import Applied, Entry
from diarize.corrections.operations import DoesNotFit, Operation
from diarize.corrections.state import State
from diarize.errors import ConfigError
from pipelines.inputs.shards import file_name
from pipelines.results import RUN, journal, outputs, tables
from pipelines.results.corrections import Corrections

Request = Callable[[State], Operation | list[Operation]]  # what is asked for, given the state at that moment


@dataclass
class Edit:
    """What an edit did."""

    corrections: Corrections
    entries: list[Entry] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)  # operations that change nothing, with the reason


def edit(folder: Path, requests: Sequence[Request], author: str) -> Edit:
    """Apply `requests` in order, and write the exports again where anything changed.

    What is as asked for already is skipped, so the same edit twice is the same as once. Raises ConfigError for a
    request that cannot be met; those before it are done, and in the exports.
    """
    corrections = Corrections(folder)
    result = Edit(corrections)
    try:
        for request in requests:
            try:
                answer = request(corrections.history.state)
            except DoesNotFit as error:
                result.skipped.append(str(error))
                continue
            for operation in answer if isinstance(answer, list) else [answer]:
                try:
                    result.entries.append(corrections.append(operation, author))
                except DoesNotFit as error:
                    result.skipped.append(str(error))
    finally:
        if result.entries:
            rewrite(folder)
    return result


def rewrite(folder: Path) -> None:
    """Write the exports of a recording, and the tables of its run, again. Raises FormatError and OutputError."""
    names = [name for name in formats.FORMATS if (folder / f"transcript{formats.suffix(name)}").exists()]
    outputs.rewrite(folder, outputs.read(folder), names)
    out = folder.resolve().parent
    report = out / file_name(RUN, None)
    if report.is_file():
        rows = journal.read_json(report).get("recordings", [])
        done = [str(row["id"]) for row in rows if row.get("status") == "done"]
        tables.write(out, (outputs.read_corrected(out / id) for id in done))


def undo(corrections: Corrections, number: int | None, redo: bool = False) -> Operation:
    """The operation that takes back correction `number`, or the last one that is in effect; `redo`: brings it again.

    Raises ConfigError where there is none.
    """
    kind = "redo" if redo else "undo"
    if number is None:
        done = [
            one.entry.number
            for one in corrections.history.entries
            if one.undone == redo and one.entry.operation["op"] not in ("undo", "redo")
        ]
        if not done:
            raise ConfigError(f"--{kind}", "", "there is no correction to " + kind)
        if not redo:
            return {"op": kind, "number": done[-1]}
        last = [e.operation["number"] for e in corrections.entries if e.operation["op"] == "undo"]
        return {"op": kind, "number": next(n for n in reversed(last) if n in done)}
    return {"op": kind, "number": number}


def describe(applied: Applied) -> str:
    """One line for a reader: number, time, author, what was done."""
    entry = applied.entry
    mark = " (undone)" if applied.undone else f" - DOES NOT FIT: {applied.problem}" if applied.problem else ""
    return f"{entry.number:>4}  {entry.time[:16].replace('T', ' ')}  {entry.author}  {in_words(entry)}{mark}"


def in_words(entry: Entry) -> str:
    """What an entry does, in a few words."""
    operation = entry.operation
    if operation["op"] == "group":
        return "; ".join(_part(part, entry) for part in operation["operations"][:3]) + (
            f"; and {len(operation['operations']) - 3} more" if len(operation["operations"]) > 3 else ""
        )
    return _part(operation, entry)


def _part(operation: Operation, entry: Entry) -> str:
    values: dict[str, Any] = {
        key: f"{value / 1000:.2f}" if key in ("start", "end") and value is not None else value
        for key, value in operation.items()
    }
    before = {item["id"]: item for item in entry.before.get("items", [])}
    was = before.get(operation.get("word", ""), {}).get("text", operation.get("word"))
    return {
        "name_speaker": "{speaker} is {name}",
        "add_speaker": "new speaker {speaker} {name}",
        "merge_speakers": "{from} is {into}",
        "assign": "{start}-{end} s: from {from} to {to}",
        "insert_turn": "{start}-{end} s: new turn of {speaker}",
        "set_turn": "turn {turn}: {start}-{end} s",
        "delete_turn": "turn {turn} deleted",
        "check_turn": "turn {turn} checked: {checked}",
        "edit_word": f"{was!r} -> " + "{text!r}",
        "time_word": f"{was!r}: " + "{start}-{end} s",
        "insert_word": "{start} s: new word {text!r}",
        "delete_word": f"{was!r} deleted",
        "note": "note: {text}",
        "undo": "undo {number}",
        "redo": "redo {number}",
    }[operation["op"]].format(**values)

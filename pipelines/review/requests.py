"""What a person asks for, as operations on a state.

`SPEAKER_01=Anna`, `SPEAKER_02,SPEAKER_04`, `83.2-87.9=SPEAKER_03`, `83.2=budget`, and files of operations or names.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from diarize import files
from diarize.corrections.operations import DoesNotFit, Operation, check
from diarize.corrections.state import EditedTurn, EditedWord, State
from diarize.errors import ConfigError, FormatError, suggest
from diarize.formats.timed_text import parse_time
from diarize.text import split_lines

NEAR = 300  # ms from a word that is meant by a time outside of all words
NEW = "new"  # as a speaker: one who is not in the transcript yet; `new:Maria`


def speaker_id(text: str, state: State, option: str) -> str:
    """The id of the speaker with this id or name. Raises ConfigError for none, and for a name that two have."""
    if any(speaker.id == text for speaker in state.speakers):
        return text
    named = [speaker.id for speaker in state.speakers if speaker.name == text]
    if len(named) == 1:
        return named[0]
    known = [value for speaker in state.speakers for value in (speaker.id, speaker.name) if value]
    problem = f"{len(named)} speakers have this name" if named else "no such speaker"
    cure = f"Use an id: {', '.join(named)}." if named else suggest(text, known)
    raise ConfigError(option, text, problem, cure)


def name(request: str, state: State) -> Operation:
    """`SPEAKER_01=Anna`; `SPEAKER_01=` takes the name away."""
    who, value = _two(request, "--name", "SPEAKER_01=Anna")
    return {"op": "name_speaker", "speaker": speaker_id(who, state, "--name"), "name": value.strip() or None}


def merge(request: str, state: State) -> Operation:
    """`SPEAKER_02,SPEAKER_04`: all are the first one."""
    ids = [speaker_id(part.strip(), state, "--merge") for part in request.split(",")]
    if len(ids) < 2:
        raise ConfigError("--merge", request, "names one speaker", "Name two or more: --merge SPEAKER_02,SPEAKER_04.")
    return group([{"op": "merge_speakers", "from": id, "into": ids[0]} for id in ids[1:]])


def turn(request: str, state: State) -> Operation:
    """`83.2-87.9=SPEAKER_03`: whoever speaks there, it was that speaker; `=new`, `=new:Maria`: somebody else; `=`:
    nobody."""
    span, who = _two(request, "--turn", "83.2-87.9=SPEAKER_03")
    times = [parse_time(part) for part in span.split("-")]
    if len(times) != 2 or times[0] is None or times[1] is None or not times[0] < times[1]:
        raise ConfigError("--turn", request, "has no start and end in seconds", "Write --turn 83.2-87.9=SPEAKER_03.")
    start, end = round(times[0] * 1000), min(round(times[1] * 1000), state.duration)
    operations: list[Operation] = []
    target: str | None
    if who == NEW or who.startswith(NEW + ":"):
        target = next_speaker(state)
        operations.append({"op": "add_speaker", "speaker": target, "name": who[len(NEW) + 1 :].strip() or None})
    else:
        target = speaker_id(who, state, "--turn") if who else None
    sources = _speakers_in(state, start, end)
    operations += [
        {"op": "assign", "start": start, "end": end, "from": source, "to": target}
        for source in sources
        if source != target
    ]
    if target is not None and not [source for source in sources if source is not None]:
        operations = [operation for operation in operations if operation["op"] != "assign"]
        operations.append({"op": "insert_turn", "start": start, "end": end, "speaker": target})
    if not operations:
        raise ConfigError("--turn", request, "changes nothing", "Only that speaker speaks there.")
    return group(operations)


def word(request: str, state: State) -> Operation:
    """`83.2=budget`: the word at that time; two words for one divide its time; `83.2=` removes it."""
    at, text = _two(request, "--word", "83.2=budget")
    time = parse_time(at)
    if time is None:
        raise ConfigError("--word", request, "has no time in seconds", "Write --word 83.2=budget.")
    old = word_at(state.words, round(time * 1000))
    if old is None:
        raise ConfigError(
            "--word", request, f"no word within {NEAR / 1000:g} s", "transcript.json has the times of words."
        )
    return rewrite([old], text.split())


def rewrite(old: Sequence[EditedWord], texts: Sequence[str]) -> Operation:
    """The words `old`, which follow each other, as `texts`: all their time, divided evenly where the counts differ."""
    operations: list[Operation] = []
    if len(old) == len(texts):
        pairs = zip(old, texts, strict=True)
        operations = [{"op": "edit_word", "word": w.id, "text": text} for w, text in pairs if w.text != text]
    else:
        start, end, n = old[0].start, max(w.end for w in old), len(texts)
        edges = [start + (end - start) * i // max(n, 1) for i in range(n + 1)]
        operations += [{"op": "delete_word", "word": w.id} for w in old]
        operations += [
            {"op": "insert_word", "start": edges[i], "end": edges[i + 1], "text": text, "speaker": old[0].speaker}
            for i, text in enumerate(texts)
        ]
    return group(operations)


def group(operations: Sequence[Operation]) -> Operation:
    """One operation for several, which is taken back as one. Raises DoesNotFit for none."""
    if not operations:
        raise DoesNotFit("nothing would change")
    return operations[0] if len(operations) == 1 else {"op": "group", "operations": list(operations)}


def word_at(words: Iterable[EditedWord], time: int) -> EditedWord | None:
    """The word at `time` (ms), else the nearest one within `NEAR`."""
    distances = [(max(word.start - time, time - word.end, 0), -word.start, word.id, word) for word in words]
    nearest = min(distances, default=None)
    return nearest[3] if nearest is not None and nearest[0] <= NEAR else None


def next_speaker(state: State) -> str:
    """An id for one more speaker: `SPEAKER_06` after `SPEAKER_05`."""
    numbers = [int(match[1]) for s in state.speakers if (match := re.fullmatch(r"SPEAKER_(\d{1,6})", s.id))]
    return f"SPEAKER_{max(numbers, default=0) + 1:02d}"


def from_file(path: Path, state: State) -> list[Operation]:
    """Operations, one JSON object a line; or a CSV of names, `speaker,name` a line (a heading is allowed).

    Raises FormatError with the line, ConfigError for a speaker who is not there.
    """
    text = files.read_text(path).lstrip("\ufeff")
    if text.lstrip().startswith("{"):
        return [_operation(line, f"{path}:{i}") for i, line in enumerate(split_lines(text), 1) if line.strip()]
    operations: list[Operation] = []
    try:
        for i, row in enumerate(csv.reader(split_lines(text, keep_ends=True), strict=True), 1):
            if not row or (i == 1 and [cell.strip().lower() for cell in row] == ["speaker", "name"]):
                continue
            if len(row) != 2:
                raise FormatError(f"{path}:{i}", f"{len(row)} columns", "Write speaker,name, or operations as JSON.")
            operations.append(name(f"{row[0].strip()}={row[1]}", state))
    except csv.Error as error:
        raise FormatError(str(path), f"not CSV: {error}") from None
    return operations


def _operation(line: str, where: str) -> Operation:
    try:
        value = json.loads(line)
        if isinstance(value, dict) and "operation" in value:  # a line of a corrections.jsonl
            value = value["operation"]
        if isinstance(value, dict) and value.get("op") in ("undo", "redo"):
            return value
        return check(value)
    except (ValueError, RecursionError):
        raise FormatError(where, "not JSON") from None
    except DoesNotFit as error:
        raise FormatError(where, str(error)) from None


def _two(request: str, option: str, example: str) -> tuple[str, str]:
    left, equals, right = request.partition("=")
    if not equals or not left.strip():
        raise ConfigError(option, request, "has no =", f"Write {option} {example}.")
    return left.strip(), right


def _speakers_in(state: State, start: int, end: int) -> list[str | None]:
    """Who speaks in start .. end, by turns and words; None where there are words of nobody."""
    spans: Sequence[EditedTurn | EditedWord] = (*state.turns, *state.words)
    there = {one.speaker for one in spans if one.start < end and start < one.end}
    return sorted(there, key=lambda speaker: (speaker is None, speaker or ""))

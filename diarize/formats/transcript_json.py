"""The transcript itself, as JSON, from which every other format can be written again.

Keys have a fixed order, each turn and word its own line, times are in whole milliseconds; `loads(dumps(t))` is `t` if
the times of `t` are rounded (`diarize.formats.times.round_transcript`). The JSON Schema is `transcript.schema.json`,
beside this module.

An unknown key is refused: ignored, it would be lost when the transcript is written again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from diarize import files
from diarize.errors import FormatError
from diarize.formats.jsontext import dump_json, parse_json
from diarize.formats.times import round_transcript
from diarize.types import SpoofScores, Transcript

SCHEMA = "diarize-transcript/1"

_KEYS = ("schema", "recording", "duration", "language", "speakers", "turns", "words", "lost", "spoofing", "provenance")
_PROVENANCE = ("product", "source", "stages", "models", "licences", "settings", "seeds", "versions", "notes")
_ADDED = frozenset({"licences", "human", "spoofing"})  # keys that transcripts of this schema may lack


def dumps(transcript: Transcript) -> str:
    """The transcript as JSON, with a newline at the end.

    Raises FormatError if the provenance's settings hold a value that JSON cannot (sequences are read back as lists).
    """
    transcript = round_transcript(transcript)
    where, provenance = transcript.recording, transcript.provenance

    def dump_list(items: Iterable[dict[str, Any]]) -> str:
        lines = ["    " + dump_json(item, where) for item in items]
        return "[\n" + ",\n".join(lines) + "\n  ]" if lines else "[]"

    speakers = (
        _values(speaker) | {"candidates": [_values(candidate) for candidate in speaker.candidates]}
        for speaker in transcript.speakers
    )
    source = None if provenance.source is None else _values(provenance.source)
    provenance_values = {name: getattr(provenance, name) for name in _PROVENANCE} | {"source": source}
    provenance_lines = [
        f"{dump_json(name, where)}: {dump_json(dict(value) if isinstance(value, Mapping) else value, where)}"
        for name, value in provenance_values.items()
    ]
    scores = transcript.spoofing
    values = {
        "schema": dump_json(SCHEMA, where),
        "recording": dump_json(transcript.recording, where),
        "duration": dump_json(transcript.duration, where),
        "language": dump_json(transcript.language, where),
        "speakers": dump_list(speakers),
        "turns": dump_list(map(_values, transcript.turns)),
        "words": dump_list(map(_values, transcript.words)),
        "lost": dump_list(map(_values, transcript.lost)),
        "spoofing": "" if scores is None else _dump_spoofing(scores, where),
        "provenance": "{\n    " + ",\n    ".join(provenance_lines) + "\n  }",
    }
    return "{\n" + ",\n".join(f'  "{key}": {values[key]}' for key in _KEYS if values[key]) + "\n}\n"


def _dump_spoofing(scores: SpoofScores, where: str) -> str:
    rows = ",\n      ".join(dump_json(_values(window), where) for window in scores.windows)
    values = {"model": scores.model, "error": scores.error, "threshold": scores.threshold}
    lines = [f"{dump_json(key, where)}: {dump_json(value, where)}" for key, value in values.items()]
    return (
        "{\n    "
        + ",\n    ".join([*lines, f'"windows": [\n      {rows}\n    ]' if rows else '"windows": []'])
        + "\n  }"
    )


def loads(text: str, where: str) -> Transcript:
    """The transcript of a JSON text, without guesses and conversions.

    Raises FormatError, with `where` and the key, for anything that is not a transcript of this schema.
    """
    value = parse_json(text.lstrip("\ufeff"), where)
    if not isinstance(value, dict) or not isinstance(value.get("schema"), str):
        raise FormatError(where, f'not a transcript: it lacks "schema": "{SCHEMA}"')
    if value["schema"] != SCHEMA:
        version = re.fullmatch(r"diarize-transcript/([0-9]{1,9})", value["schema"])
        if version and int(version[1]) > 1:
            raise FormatError(
                where, f"made by a newer version ({value['schema']}; this one reads {SCHEMA})", "Upgrade."
            )
        raise FormatError(where, f"unknown schema {value['schema']!r}; this version reads {SCHEMA}")
    del value["schema"]
    try:
        transcript: Transcript = _reader(Transcript)(value, where, "")
    except ValueError as error:  # an invariant of the types is broken
        raise FormatError(where, str(error)) from None
    return transcript


def read(path: Path) -> Transcript:
    """The transcript in a file. Raises FormatError, also if there is no such file."""
    return loads(files.read_text(path), str(path))


@cache
def _reader(kind: Any) -> Callable[[Any, str, str], Any]:
    """A function (JSON value, file, path of the value) -> value of type `kind`, the type of a field in `diarize.types`.

    It raises FormatError if the value has another type, and if an object lacks a field or has an unknown one.
    """
    if is_dataclass(kind):
        return _object_reader(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:  # X | None
        read_value = _reader(arguments[0])
        return lambda value, where, path: None if value is None else read_value(value, where, path)
    if origin is tuple:  # tuple[X, ...]
        read_item = _reader(arguments[0])
        return lambda value, where, path: tuple(
            read_item(item, where, f"{path}[{i}]") for i, item in enumerate(_check(value, list, where, path))
        )
    if origin is Mapping:  # Mapping[str, X]
        read_item = _reader(arguments[1])
        return lambda value, where, path: {
            key: read_item(item, where, f"{path}.{key}") for key, item in _check(value, dict, where, path).items()
        }
    if kind is float:
        return _read_float
    return lambda value, where, path: value if kind is Any else _check(value, kind, where, path)


def _object_reader(kind: Any) -> Callable[[Any, str, str], Any]:
    types = get_type_hints(kind)
    readers = {field.name: _reader(types[field.name]) for field in fields(kind)}

    def read_object(value: Any, where: str, path: str) -> Any:
        name = path or "the transcript"
        if not isinstance(value, dict):
            raise FormatError(where, f"{name} is {_describe(value)}, not an object")
        if missing := [key for key in readers if key not in value and key not in _ADDED]:
            raise FormatError(where, f"{name} lacks {', '.join(missing)}")
        if unknown := [key for key in value if key not in readers]:
            raise FormatError(where, f"{name} has keys that {SCHEMA} does not: {', '.join(unknown)}")
        prefix = f"{path}." if path else ""
        return kind(**{key: readers[key](value[key], where, prefix + key) for key in readers if key in value})

    return read_object


def _read_float(value: Any, where: str, path: str) -> float:
    try:
        return float(_check(value, (int, float), where, path))
    except OverflowError:
        raise FormatError(where, f"{path} is too large for a number") from None


def _check(value: Any, kind: type | tuple[type, ...], where: str, path: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise FormatError(where, f"{path} is {_describe(value)}")
    return value


def _describe(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")


def _values(noun: Any) -> dict[str, Any]:
    """The fields of a dataclass, in order; numbers as Python floats, so that 1 and 1.0 are written in the same way."""
    values = {
        field.name: float(value) if "float" in str(field.type) and value is not None else value
        for field in fields(noun)
        for value in (getattr(noun, field.name),)
    }
    if not values.get("human", True):  # only where a person decided something
        del values["human"]
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

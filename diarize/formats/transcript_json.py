"""The transcript itself, as JSON, from which every other format can be written again.

Keys have a fixed order, each turn and word its own line, times are in whole milliseconds; `loads(dumps(t))` is `t` if
the times of `t` are rounded (`diarize.formats.times.round_transcript`). The JSON Schema is `transcript.schema.json`,
beside this module.

An unknown key is refused: ignored, it would be lost when the transcript is written again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from diarize import files
from diarize.errors import FormatError
from diarize.formats.jsontext import dump_json, parse_json
from diarize.formats.times import round_transcript
from diarize.types import Candidate, Provenance, Segment, Source, Speaker, Transcript, Turn, Word

SCHEMA = "diarize-transcript/1"

_Noun = TypeVar("_Noun")
_KEYS = ("schema", "recording", "duration", "language", "speakers", "turns", "words", "lost", "provenance")
_PROVENANCE = ("product", "source", "stages", "models", "settings", "seeds", "versions", "notes")


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
    values = {
        "schema": dump_json(SCHEMA, where),
        "recording": dump_json(transcript.recording, where),
        "duration": dump_json(transcript.duration, where),
        "language": dump_json(transcript.language, where),
        "speakers": dump_list(speakers),
        "turns": dump_list(map(_values, transcript.turns)),
        "words": dump_list(map(_values, transcript.words)),
        "lost": dump_list(map(_values, transcript.lost)),
        "provenance": "{\n    " + ",\n    ".join(provenance_lines) + "\n  }",
    }
    return "{\n" + ",\n".join(f'  "{key}": {values[key]}' for key in _KEYS) + "\n}\n"


def loads(text: str, where: str) -> Transcript:
    """The transcript of a JSON text, without guesses and conversions.

    Raises FormatError, with `where` and the key, for anything that is not a transcript of this schema.
    """
    value = parse_json(text.lstrip("\ufeff"), where)
    if not isinstance(value, dict) or not isinstance(value.get("schema"), str):
        raise FormatError(where, f'no transcript: it lacks "schema": "{SCHEMA}"')
    if value["schema"] != SCHEMA:
        version = re.fullmatch(r"diarize-transcript/([0-9]{1,9})", value["schema"])
        if version and int(version[1]) > 1:
            raise FormatError(
                where, f"made by a newer version ({value['schema']}; this one reads {SCHEMA})", "Upgrade."
            )
        raise FormatError(where, f"unknown schema {value['schema']!r}; this version reads {SCHEMA}")
    top = _Record(value, where, "", _KEYS)
    try:
        return Transcript(
            recording=top.text("recording"),
            duration=top.number("duration"),
            language=top.optional("language", top.text),
            speakers=top.items("speakers", _speaker, tuple(f.name for f in fields(Speaker))),
            turns=top.items("turns", _turn, ("start", "end", "speaker", "confidence")),
            words=top.items("words", _word, ("start", "end", "text", "probability", "speaker")),
            lost=top.items("lost", lambda r: Segment(r.number("start"), r.number("end")), ("start", "end")),
            provenance=_provenance(top.record("provenance", _PROVENANCE)),
        )
    except ValueError as error:  # an invariant of the types is broken
        raise FormatError(where, str(error)) from None


def read(path: Path) -> Transcript:
    """The transcript in a file. Raises FormatError, also if there is no such file."""
    return loads(files.read_text(path), str(path))


class _Record:
    """A JSON object whose keys are exactly `keys`, read with their types checked."""

    def __init__(self, value: Any, where: str, path: str, keys: tuple[str, ...]) -> None:
        self.where, self.path = where, path
        if not isinstance(value, dict):
            raise FormatError(where, f"{path} is {_kind(value)}, not an object")
        if missing := [key for key in keys if key not in value]:
            raise FormatError(where, f"{path or 'the transcript'} lacks {', '.join(missing)}")
        if unknown := [key for key in value if key not in keys]:
            raise FormatError(
                where, f"{path or 'the transcript'} has keys that {SCHEMA} does not: {', '.join(unknown)}"
            )
        self.value = value

    def text(self, key: str) -> str:
        return str(self._checked(key, str))

    def number(self, key: str) -> float:
        try:
            return float(self._checked(key, (int, float)))
        except OverflowError:
            raise self._wrong(key, "is too large for a number") from None

    def whole(self, key: str) -> int:
        return int(self._checked(key, int))

    def optional(self, key: str, read: Callable[[str], _Noun]) -> _Noun | None:
        return None if self.value[key] is None else read(key)

    def record(self, key: str, keys: tuple[str, ...]) -> _Record:
        return _Record(self.value[key], self.where, self._path(key), keys)

    def mapping(self, key: str) -> Mapping[str, Any]:
        value: Mapping[str, Any] = self._checked(key, dict)
        return value

    def mapping_of(self, key: str, kind: type) -> Mapping[str, Any]:
        value = self.mapping(key)
        if not all(isinstance(item, kind) and not isinstance(item, bool) for item in value.values()):
            raise self._wrong(key, f"holds something else than {'strings' if kind is str else 'whole numbers'}")
        return value

    def items(self, key: str, read: Callable[[_Record], _Noun], keys: tuple[str, ...]) -> tuple[_Noun, ...]:
        items = self._checked(key, list)
        return tuple(read(_Record(item, self.where, f"{self._path(key)}[{i}]", keys)) for i, item in enumerate(items))

    def texts(self, key: str) -> tuple[str, ...]:
        items = self._checked(key, list)
        if not all(isinstance(item, str) for item in items):
            raise self._wrong(key, "holds something else than strings")
        return tuple(items)

    def _path(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def _wrong(self, key: str, problem: str) -> FormatError:
        return FormatError(self.where, f"{self._path(key)} {problem}")

    def _checked(self, key: str, kind: type | tuple[type, ...]) -> Any:
        value = self.value[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self._wrong(key, f"is {_kind(value)}")
        return value


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")


def _speaker(record: _Record) -> Speaker:
    return Speaker(
        record.text("id"),
        record.optional("name", record.text),
        record.items(
            "candidates",
            lambda r: Candidate(r.text("voice"), r.text("name"), r.number("score"), r.optional("llr", r.number)),
            tuple(f.name for f in fields(Candidate)),
        ),
        record.optional("voice", record.text),
        record.text("reason"),
        record.texts("merged"),
        record.optional("link", record.text),
    )


def _turn(record: _Record) -> Turn:
    confidence = record.optional("confidence", record.number)
    return Turn(record.number("start"), record.number("end"), record.text("speaker"), confidence)


def _word(record: _Record) -> Word:
    return Word(
        record.number("start"),
        record.number("end"),
        record.text("text"),
        record.number("probability"),
        record.optional("speaker", record.text),
    )


def _provenance(record: _Record) -> Provenance:
    source = record.optional("source", lambda key: record.record(key, tuple(f.name for f in fields(Source))))
    return Provenance(
        product=record.text("product"),
        source=None if source is None else _source(source),
        stages=record.mapping_of("stages", str),
        models=record.mapping_of("models", str),
        settings=record.mapping("settings"),
        seeds=record.mapping_of("seeds", int),
        versions=record.mapping_of("versions", str),
        notes=record.texts("notes"),
    )


def _source(record: _Record) -> Source:
    return Source(
        path=record.text("path"),
        digest=record.text("digest"),
        size=record.whole("size"),
        container=record.text("container"),
        codec=record.text("codec"),
        stream=record.whole("stream"),
        streams=record.whole("streams"),
        rate=record.whole("rate"),
        channels=record.whole("channels"),
        channel=record.text("channel"),
        declared=record.optional("declared", record.number),
        decoded=record.number("decoded"),
        notes=record.texts("notes"),
        pcm=record.texts("pcm"),
    )


def _values(noun: Any) -> dict[str, Any]:
    """The fields of a dataclass, in order; numbers as Python floats, so that 1 and 1.0 are written in the same way."""
    values = {
        field.name: float(value) if "float" in str(field.type) and value is not None else value
        for field in fields(noun)
        for value in (getattr(noun, field.name),)
    }
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

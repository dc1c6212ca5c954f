"""What the page of a recording shows, as plain data: `state.json` (docs/review.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from typing import Any

from diarize import formats
from diarize.corrections.doubts import certain_share, find_doubts
from diarize.corrections.history import Applied
from diarize.corrections.state import State
from diarize.types import Transcript
from diarize.units import to_milliseconds
from pipelines.results.corrections import Corrections


@dataclass(frozen=True, slots=True)
class Viewing:
    """Who looks, and how."""

    author: str
    blind: bool = False  # names and scores of the machine are hidden
    library: bool = False  # speakers can be enrolled
    readonly: bool = False  # a single file: operations are downloaded


def document(
    corrections: Corrections,
    viewing: Viewing,
    audio: Mapping[str, str] | None,
    peaks: Mapping[str, Any] | None,
    other: State | None = None,
) -> dict[str, Any]:
    """The state of a recording for its page. Times are whole milliseconds.

    `audio`: address and type of the sound, `peaks`: address or data, and bins a second; None where the recording is
    not there. `other`: the result of another system on the same recording.
    """
    transcript = corrections.transcript
    machine = corrections.machine
    if viewing.blind:
        machine = replace(machine, speakers=tuple(replace(speaker, name=None) for speaker in machine.speakers))
    state = corrections.history.state
    doubts = find_doubts(state, other)
    source = transcript.provenance.source
    return {
        "recording": {
            "id": transcript.recording,
            "file": source.path if source is not None else None,
            "sha256": source.digest if source is not None else "",
            "language": transcript.language,
            "duration": machine.duration,
            "version": corrections.base,
        },
        "machine": {
            "duration": machine.duration,
            "speakers": [{"id": speaker.id, "name": speaker.name} for speaker in machine.speakers],
            "turns": [[turn.id, turn.start, turn.end, turn.speaker, turn.confidence] for turn in machine.turns],
            "words": [
                [word.id, word.start, word.end, word.text, word.speaker, word.probability] for word in machine.words
            ],
        },
        "entries": [entry(corrections, one) for one in corrections.applied],
        "audio": None if audio is None else dict(audio),
        "peaks": None if peaks is None else dict(peaks),
        "lost": [[to_milliseconds(span.start), to_milliseconds(span.end)] for span in transcript.lost],
        "doubts": [asdict(doubt) for doubt in doubts],
        "certain": certain_share(state, doubts),
        "author": viewing.author,
        "blind": viewing.blind,
        "library": viewing.library,
        "readonly": viewing.readonly,
        "formats": [] if viewing.blind or viewing.readonly else exportable(transcript),
    }


def entry(corrections: Corrections, applied: Applied) -> dict[str, Any]:
    """An entry of the log, its operation as it applies to the machine's transcript of now."""
    one = applied.entry
    return {
        "number": one.number,
        "time": one.time,
        "author": one.author,
        "operation": corrections.operation(one),
        "problem": applied.problem,
        "undone": applied.undone,
    }


def exportable(transcript: Transcript) -> list[str]:
    """The formats in which a transcript can be written, with the packages that are installed."""
    return [name for name in formats.FORMATS if name not in formats.BINARY or find_spec("docx") is not None]


def as_json(value: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """Compact JSON in UTF-8. Lone surrogates, which UTF-8 does not have, stay escaped."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode("ascii")

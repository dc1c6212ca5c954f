"""Rows: turns with their text, and what was said in no turn. What the formats of one line a turn are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from diarize.errors import FormatError
from diarize.types import Segment, Transcript
from diarize.units import round_time


@dataclass(frozen=True, slots=True)
class Row(Segment):
    """A stretch of a recording with what one speaker says in it. `speaker=None`: nobody was heard there."""

    speaker: str | None
    text: str
    confidence: float | None = None


def rows(transcript: Transcript) -> Iterator[Row]:
    """Every turn with its text (also without any), and every utterance of a speaker who has no turn, by start.

    No word is left out: words of nobody, and words of speakers without a turn, are rows of their own.
    """
    placed = {turn.speaker for turn in transcript.turns}
    rest = replace(transcript, turns=(), words=tuple(w for w in transcript.words if w.speaker not in placed))
    found = [Row(t.start, t.end, t.speaker, text, t.confidence) for t, text in transcript.spoken()]
    found += [Row(u.start, round_time(u.end), u.speaker, u.text) for u in rest.utterances() if u.text]
    return iter(sorted(found, key=lambda row: (row.start, row.end)))


def number(field: str, where: str) -> float:
    """A field as a number of seconds. Raises FormatError, which names the line, where it is none."""
    try:
        return float(field)
    except ValueError:
        raise FormatError(where, f"{field!r} is no time in seconds") from None


def segment(start: float, end: float, where: str) -> tuple[float, float]:
    """`start` and `end` where they are a stretch of time (finite, 0 <= start < end). Raises FormatError otherwise."""
    try:
        checked = Segment(start, end)
    except ValueError as error:
        raise FormatError(where, str(error)) from None
    return checked.start, checked.end

"""Turns with their text, and text outside of all turns: the content of formats with one line for each turn."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from diarize.errors import FormatError
from diarize.formats.alternatives import Passage
from diarize.text import counted
from diarize.types import Segment, Transcript
from diarize.units import round_time


@dataclass(frozen=True, slots=True)
class TextSegment(Segment):
    """A stretch of a recording with the text of one speaker. `speaker=None`: text of nobody."""

    speaker: str | None
    text: str
    confidence: float | None = None
    passage: Passage | None = None  # the text with what it leaves open (`alternatives`); None: nothing
    human: bool = False  # a person decided the turn, or a word of it


def text_segments(transcript: Transcript) -> Iterator[TextSegment]:
    """Every turn with its text (which may be empty), and every utterance of a speaker without a turn, by start.

    No word is left out: words of nobody, and words of speakers without a turn, are segments of their own.
    """
    speakers = {turn.speaker for turn in transcript.turns}
    rest = replace(transcript, turns=(), words=tuple(w for w in transcript.words if w.speaker not in speakers))
    decided: dict[str | None, list[float]] = {}  # speaker -> middles of words that a person decided
    for word in sorted(transcript.words, key=lambda word: word.middle):
        if word.human:
            decided.setdefault(word.speaker, []).append(word.middle)
    segments = [
        TextSegment(
            t.start,
            t.end,
            t.speaker,
            text,
            t.confidence,
            human=t.human or _any_in(decided.get(t.speaker, ()), t),
        )
        for t, text in transcript.spoken()
    ]
    segments += [
        TextSegment(u.start, round_time(u.end), u.speaker, u.text, human=any(word.human for word in u.words))
        for u in rest.utterances()
        if u.text
    ]
    return iter(sorted(segments, key=lambda s: (s.start, s.end)))


def _any_in(times: Sequence[float], segment: Segment) -> bool:
    """Whether one of the sorted times lies in a segment."""
    return bisect_left(times, segment.start) < bisect_left(times, segment.end)


def parse_seconds(field: str, where: str) -> float:
    """A field as a number of seconds. Raises FormatError, with `where`, if it is not a number."""
    try:
        if "_" in field or not field.isascii():  # `float` takes 1_000, digits of other scripts and spaces around
            raise ValueError
        return float(field)
    except ValueError:
        raise FormatError(where, f"{field!r} is not a time in seconds") from None


def is_empty(start: float, end: float, where: str) -> bool:
    """True for a segment of length 0, which readers skip. Raises FormatError for a start that is no time."""
    if start != end or start == float("inf"):
        return False
    check_span(start, start + 1, where)
    return True


def note_empty(count: int, where: str, notes: list[str] | None) -> None:
    """Add a note on segments of length 0 that were skipped, if there are any."""
    if count and notes is not None:
        notes.append(f"{where}: {counted(count, 'segment')} of length 0 skipped")


def check_span(start: float, end: float, where: str) -> tuple[float, float]:
    """`start` and `end` if they are a span of time (finite, 0 <= start < end). Raises FormatError otherwise."""
    try:
        checked = Segment(start, end)
    except ValueError as error:
        raise FormatError(where, str(error)) from None
    return checked.start, checked.end

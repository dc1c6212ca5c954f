"""Times in formats. A transcript is rounded once, so that all its formats have the same times."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from diarize.types import Segment, Transcript, Turn
from diarize.units import RESOLUTION, round_time, to_milliseconds


def round_transcript(transcript: Transcript) -> Transcript:
    """The same transcript with times in whole milliseconds. Segments that would be empty last one millisecond.

    A word may be empty, and stays so. Rounding a rounded transcript does not change it.
    """
    return replace(
        transcript,
        duration=round_time(float(transcript.duration)),
        turns=tuple(_round_turn(turn) for turn in transcript.turns),
        words=tuple(
            replace(w, start=round_time(float(w.start)), end=round_time(float(w.end))) for w in transcript.words
        ),
        lost=round_segments(transcript.lost),
    )


def round_segments(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """The segments with times in whole milliseconds, each at least one millisecond long."""
    return tuple(replace(segment, start=_start(segment), end=_end(segment)) for segment in segments)


def _round_turn(turn: Turn) -> Turn:
    start, end = _start(turn), _end(turn)
    are_floats = type(turn.start) is type(turn.end) is float  # a float32 may be equal to its rounded value
    return turn if are_floats and (start, end) == (turn.start, turn.end) else replace(turn, start=start, end=end)


def _start(segment: Segment) -> float:
    return round_time(float(segment.start))


def _end(segment: Segment) -> float:
    return max(round_time(float(segment.end)), round_time(_start(segment) + RESOLUTION))


def format_clock(seconds: float, point: str = ".") -> str:
    """HH:MM:SS.mmm; more digits for the hours if necessary."""
    milliseconds = to_milliseconds(seconds)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}{point}{milliseconds % 1000:03d}"


def format_short_clock(seconds: float) -> str:
    """HH:MM:SS.t, to the tenth of a second, for readers."""
    minutes, tenths = divmod(round(seconds * 10), 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{tenths // 10:02d}.{tenths % 10}"

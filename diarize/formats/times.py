"""Times as formats write them. A transcript is rounded once, so that all formats of it agree."""

from __future__ import annotations

from dataclasses import replace

from diarize.types import Segment, Transcript, Turn
from diarize.units import RESOLUTION, round_time, to_milliseconds


def rounded(transcript: Transcript) -> Transcript:
    """The same transcript, its times to the millisecond. What would become empty lasts one millisecond.

    A word may be empty, and stays so. A transcript that is rounded comes back equal.
    """
    return replace(
        transcript,
        duration=round_time(float(transcript.duration)),
        turns=tuple(_rounded(turn) for turn in transcript.turns),
        words=tuple(
            replace(w, start=round_time(float(w.start)), end=round_time(float(w.end))) for w in transcript.words
        ),
        lost=tuple(replace(s, start=_start(s), end=_end(s)) for s in transcript.lost),
    )


def _rounded(turn: Turn) -> Turn:
    start, end = _start(turn), _end(turn)
    plain = type(turn.start) is type(turn.end) is float  # others may be equal too, as 4.1 is to its float32
    return turn if plain and (start, end) == (turn.start, turn.end) else replace(turn, start=start, end=end)


def _start(segment: Segment) -> float:
    return round_time(float(segment.start))


def _end(segment: Segment) -> float:
    return max(round_time(float(segment.end)), round_time(_start(segment) + RESOLUTION))


def clock(seconds: float, point: str = ".") -> str:
    """HH:MM:SS.mmm; the hours grow past two digits where they must."""
    milliseconds = to_milliseconds(seconds)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}{point}{milliseconds % 1000:03d}"


def short_clock(seconds: float) -> str:
    """HH:MM:SS.t, to the tenth of a second, as people read it."""
    minutes, tenths = divmod(round(seconds * 10), 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{tenths // 10:02d}.{tenths % 10}"

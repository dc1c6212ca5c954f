"""Seconds and samples, and how times are rounded.

A time in seconds belongs to the sample that starts at or just before it (floor, with a tolerance for floating point).
Results are rounded to the millisecond, the finest step of the text formats.
"""

from __future__ import annotations

from math import floor

RATE = 16_000  # Hz; every stage reads audio at this rate: the models of the field are trained at it
RESOLUTION = 0.001  # s; times of results are multiples of it

_NUDGE = 1e-6  # of a sample or frame: 0.3 s * 16000 is 4799.999... and means sample 4800


def to_samples(seconds: float, rate: int = RATE) -> int:
    """Index of the sample that a time falls into."""
    return floor(seconds * rate + _NUDGE)


def round_time(seconds: float) -> float:
    """A time to the millisecond, as in results (halves to even)."""
    return round(seconds, 3)


def to_milliseconds(seconds: float) -> int:
    """Whole milliseconds, for formats that use them."""
    return round(seconds * 1000)

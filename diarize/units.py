"""Seconds, samples and frames; rounding is decided here, once.

A time in seconds belongs to the sample that starts at or just before it (floor, with a tolerance for floating point);
results are kept to the millisecond, the finest step that any of the field's text formats carries.
"""

from __future__ import annotations

from math import floor

RATE = 16_000  # Hz; every stage reads audio at this rate: the models of the field are trained at it
RESOLUTION = 0.001  # s; times of results are multiples of it

_NUDGE = 1e-6  # of a sample or frame: 0.3 s * 16000 is 4799.999... and means sample 4800


def to_samples(seconds: float, rate: int = RATE) -> int:
    """Index of the sample that a time falls into."""
    return floor(seconds * rate + _NUDGE)


def to_seconds(samples: int, rate: int = RATE) -> float:
    """Start time of a sample."""
    return samples / rate


def round_time(seconds: float) -> float:
    """A time to the millisecond, as results carry it (halves to even)."""
    return round(seconds, 3)


def to_milliseconds(seconds: float) -> int:
    """Whole milliseconds, for formats that count in them."""
    return round(seconds * 1000)

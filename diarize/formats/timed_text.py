"""Text from files of other tools, with times that may be missing or impossible, and how their fields are parsed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite, isnan, nan

MOST = 1e7  # s, some 115 days: no recording is longer, and a later time is invalid

_CLOCK = re.compile(r"(?:(\d{1,6}):)?(\d{1,3}):(\d{1,2}(?:[.,]\d{1,9})?)")


@dataclass(frozen=True, slots=True)
class TimedText:
    """Text as in a file. `start` and `end` in seconds, None if they are missing or invalid.

    `words` are its words, if the file has their times; `word`: the text itself is one word.
    """

    text: str
    start: float | None
    end: float | None
    speaker: str | None = None
    probability: float | None = None  # None: the file says none
    word: bool = False
    words: tuple[TimedText, ...] = ()


def parse_time(value: object) -> float | None:
    """A time as written in files, in seconds: a number, `1.5`, `1,5`, `01:02.5` or `00:01:02,500`; else None.

    NaN, infinite values, overflows, and times beyond 115 days give None. Negative times are returned.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        text = value.strip()
        if clock := _CLOCK.fullmatch(text):
            hours, minutes, rest = clock.groups()
            return _within(int(hours or 0) * 3600 + int(minutes) * 60 + float(rest.replace(",", ".")))
        value = text.replace(",", ".", 1) if "." not in text else text
    try:
        return _within(float(value))
    except (ValueError, OverflowError):
        return None


def _within(time: float) -> float | None:
    return time if isfinite(time) and abs(time) <= MOST else None


def parse_probability(value: object) -> float | None:
    """A confidence in [0, 1]: None if it is missing or no number; values outside are moved to the nearer end."""
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else nan
    except (ValueError, OverflowError):
        return None
    return None if isnan(number) else min(1.0, max(0.0, number))

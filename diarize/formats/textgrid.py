"""Praat TextGrid, long text format (Praat manual, "TextGrid file formats"): times in seconds, to the millisecond.

For each speaker an interval tier with the turns and their text, and one with the words. The intervals of a tier follow
each other without gaps, empty ones where nobody speaks; a quotation mark is doubled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from diarize.errors import FormatError
from diarize.formats.naming import encodable
from diarize.formats.segments import parse_seconds
from diarize.formats.tiers import MOST_CHARACTERS, SPEAKER, Tier, TierFile, from_tiers, milliseconds, tiers_of
from diarize.types import Transcript
from diarize.units import to_milliseconds

# Praat reads texts in quotes, numbers and flags that stand alone, and skips everything else.
_TOKEN = re.compile(r'"((?:[^"]|"")*)"|(?<!\S)(<[a-z]{1,10}>|[-+]?[.\d][-+.\deE]{0,40})(?!\S)')
_MOST_TIERS = 10_000


def dumps(transcript: Transcript) -> str:
    """A tier for each speaker's turns and words; a single empty tier without any, as Praat needs one."""
    tiers = tiers_of(transcript) or [Tier("turns", "turns", ())]
    ends = [tier.labels[-1][1] for tier in tiers if tier.labels]
    end = max(to_milliseconds(transcript.duration), 1, *ends)
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {_seconds(end)}"]
    lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, tier in enumerate(tiers, 1):
        intervals = list(_without_gaps(tier, end))
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f"        name = {_quoted(tier.name)}"]
        lines += ["        xmin = 0", f"        xmax = {_seconds(end)}", f"        intervals: size = {len(intervals)}"]
        for i, (start, stop, text) in enumerate(intervals, 1):
            lines += [f"        intervals [{i}]:", f"            xmin = {_seconds(start)}"]
            lines += [f"            xmax = {_seconds(stop)}", f"            text = {_quoted(text)}"]
    return "\n".join(lines) + "\n"


def loads(text: str, where: str) -> TierFile:
    """The tiers of a TextGrid in long or short text format; point tiers are left out. Raises FormatError."""
    if len(text) > MOST_CHARACTERS:
        raise FormatError(where, f"has more than {MOST_CHARACTERS} characters")
    tokens = _Tokens(text.lstrip("\ufeff"), where)
    if tokens.text() != "ooTextFile" or tokens.text() != "TextGrid":
        raise FormatError(where, "not a TextGrid in text format", "Save it in Praat with Save as text file.")
    tokens.time(), tokens.time()
    tiers, notes = [], []
    for _ in range(tokens.count(_MOST_TIERS) if tokens.flag() == "<exists>" else 0):
        kind, name = tokens.text(), tokens.text()
        tokens.time(), tokens.time()
        if kind not in ("IntervalTier", "TextTier"):
            raise FormatError(where, f"a tier of the kind {kind[:40]!r}")
        labels = []
        for _ in range(tokens.count(len(text))):
            start = tokens.time()
            end = tokens.time() if kind == "IntervalTier" else start
            labels.append((start, end, " ".join(tokens.text().split())))
        if kind == "TextTier":
            notes.append(f"the point tier {name[:40]!r} is not read")
            continue
        for start, end, _ in labels:
            if start >= end:
                raise FormatError(where, f"an interval from {start} to {end} ms in the tier {name[:40]!r}")
        # An interval without text is a gap. Turns without any text have a label that is not empty, see dumps.
        spoken = tuple((start, end, "" if label == _NO_TEXT else label) for start, end, label in labels if label)
        tiers.append(Tier(name, name.removesuffix(SPEAKER), spoken))
    return from_tiers(tiers, notes)


_NO_TEXT = "-"  # the label of a turn without words


class _Tokens:
    """The values of a TextGrid, one by one. Every method raises FormatError where another kind of value stands."""

    def __init__(self, text: str, where: str) -> None:
        self._tokens: Iterator[re.Match[str]] = _TOKEN.finditer(text.replace("=", " "))
        self._where = where
        self._text = text

    def _next(self, group: int, what: str) -> str:
        token = next(self._tokens, None)
        value = None if token is None else token[group]
        if token is None or value is None:
            place = "at the end" if token is None else f"in line {self._text.count(chr(10), 0, token.start()) + 1}"
            raise FormatError(self._where, f"{what} is missing {place}")
        start, end = token.span(group)
        return self._text[start:end]

    def text(self) -> str:
        return self._next(1, "a text in quotes").replace('""', '"')

    def flag(self) -> str:
        return self._next(2, "<exists>")

    def time(self) -> int:
        return milliseconds(parse_seconds(self._next(2, "a time"), self._where), self._where)

    def count(self, most: int) -> int:
        value = self._next(2, "a number")
        if not value.isdecimal() or len(value) > 9 or int(value) > most:
            raise FormatError(self._where, f"{value!r} is not a number of tiers or intervals")
        return int(value)


def _without_gaps(tier: Tier, duration: int) -> Iterator[tuple[int, int, str]]:
    """The labels of a tier, with empty ones in between; a turn without text gets one that is not empty."""
    latest = 0
    for start, end, text in tier.labels:
        if latest < start:
            yield latest, start, ""
        yield start, end, text or _NO_TEXT
        latest = end
    if latest < duration:
        yield latest, duration, ""


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}"


def _quoted(text: str) -> str:
    return '"' + encodable(text).replace('"', '""') + '"'

"""Cues: what SRT and WebVTT show at a time, and the reading of both.

An utterance is cut into cues of at most two lines of 42 columns and 7 seconds (Netflix, "Timed Text Style Guide:
General Requirements" and "English"): what is longer covers the picture, and stays after it has been read. A wide
character of East Asia takes two columns. A cue ends early at the end of a sentence once its first line is full. Cues of
two speakers may overlap, as their words do; no cue is stretched beyond its words, so that times agree with the other
formats.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from unicodedata import east_asian_width

from diarize.errors import FormatError
from diarize.formats.entries import Entry, seconds
from diarize.formats.naming import visible
from diarize.formats.rows import Row, segment
from diarize.text import join, may_break
from diarize.types import Segment, Transcript, Word

COLUMNS = 42  # of a line; two lines
LONGEST = 7.0  # s
_SENTENCE = frozenset(".?!…。？！؟۔।॥")

_TIMING = re.compile(r"^\s*([0-9:.,+-]+)\s*-->\s*([0-9:.,+-]+)")
_PREFIX = re.compile(r"\[([^\[\]\n]+)\]:(?:\s+|$)")


@dataclass(frozen=True, slots=True)
class Cue(Segment):
    """What is shown of one speaker (None: nobody was heard) from `start` to `end`: at most two lines."""

    speaker: str | None
    lines: tuple[str, ...]


def cues(transcript: Transcript, prefix: Callable[[str | None], str]) -> list[Cue]:
    """The cues of a transcript (its times rounded), by start; every text begins with the prefix of its speaker.

    Without any words, one cue a turn, with the prefix alone.
    """
    if not transcript.words:
        return [Cue(t.start, t.end, t.speaker, (prefix(t.speaker).rstrip(),)) for t in transcript.turns]
    found = [
        cue
        for utterance in transcript.utterances()
        for cue in _cut(utterance.words, utterance.speaker, prefix(utterance.speaker))
    ]
    return sorted(found, key=lambda cue: (cue.start, cue.end))


def _cut(words: Sequence[Word], speaker: str | None, prefix: str) -> Iterator[Cue]:
    held: list[Word] = []
    text, end = "", 0.0
    for word in words:
        shown = visible(word.text)
        if not shown:
            continue
        longer = join((text, shown)) if text else shown
        full = held and text[-1] in _SENTENCE and width(text) >= COLUMNS
        if held and (full or max(end, word.end) - held[0].start > LONGEST or not fits(prefix + longer)):
            yield _cue(held[0].start, end, speaker, prefix + text)
            held, longer, end = [], shown, 0.0
        held.append(word)
        text, end = longer, max(end, word.end)
    if held:
        yield _cue(held[0].start, end, speaker, prefix + text)


def _cue(start: float, end: float, speaker: str | None, text: str) -> Cue:
    return Cue(start, max(end, round(start + 0.001, 3)), speaker, _lines(text))


def width(text: str) -> int:
    """Columns that a text takes on a screen of fixed width (Unicode Standard Annex 11)."""
    return len(text) if text.isascii() else sum(2 if east_asian_width(c) in "WF" else 1 for c in text)


def fits(text: str) -> bool:
    """True where two lines of 42 columns hold `text`."""
    columns = width(text)
    return columns <= COLUMNS or (columns <= 2 * COLUMNS + 1 and len(_lines(text)) == 2)


def _lines(text: str) -> tuple[str, ...]:
    """One line, or two of nearly the same length; one that is too long where no place to break it is found."""
    total = width(text)
    if total <= COLUMNS:
        return (text,)
    best: tuple[int, str, str] | None = None
    left = 0
    for i, character in enumerate(text):
        if left > COLUMNS:
            break
        if i and (character == " " or may_break(text[i - 1], character)):
            first, second = text[:i].rstrip(), text[i:].lstrip()
            right = width(second) if total - left <= COLUMNS + 1 else total
            if first and second and right <= COLUMNS and (best is None or abs(left - right) < best[0]):
                best = (abs(left - right), first, second)
        left += width(character)
    return (text,) if best is None else best[1:]


def timing(line: str) -> tuple[float | None, float | None] | None:
    """Start and end of a timing line (`00:00:01,000 --> 00:00:02,500`, hours optional); None where it is no such line.

    A time that is none (minutes over, digits missing) is None itself.
    """
    match = _TIMING.match(line)
    return None if match is None else (seconds(match[1]), seconds(match[2]))


def voiced(entry: Entry) -> Entry:
    """The entry with its `[Name]: ` prefix, if it has one, as its speaker; `?` is nobody."""
    match = _PREFIX.match(entry.text)
    if match is None or (entry.speaker is not None and entry.speaker != match[1]):
        return entry
    speaker = entry.speaker or (None if match[1] == "?" else match[1])
    return replace(entry, text=entry.text[match.end() :], speaker=speaker)


def checked(entries: Sequence[Entry], where: str) -> tuple[Row, ...]:
    """Entries as rows. Raises FormatError, with the number of the cue, where a time is missing or out of order."""
    rows = []
    for at, entry in enumerate(entries, 1):
        place = f"{where}: cue {at}"
        if entry.start is None or entry.end is None:
            raise FormatError(place, "its time is none")
        start, end = segment(entry.start, entry.end, place)
        rows.append(Row(start, end, entry.speaker, entry.text))
    return tuple(rows)

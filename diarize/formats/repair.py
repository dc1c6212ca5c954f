"""Times for words that have none, or impossible ones. Nothing is left out.

The rule, applied in the order of the file:

1. What is no time (missing, NaN, infinite, no number, beyond 115 days) is unknown. A negative time becomes 0. Of an end
   before its start the two are swapped.
2. Text that has times only as a whole (a segment, a cue) is split into words.
3. A segment's own start and end are the start of its first word and the end of its last, where those are unknown.
4. Unknown times lie between the nearest known ones before and after, in proportion to the characters of the words.
   Where the known ones are out of order, the words between them are empty, at the earlier place in the file.
5. Before the first and after the last known time, words last a fifteenth of a second a character (180 words a minute).
6. A word of which the file gives one time lasts no longer than that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from diarize.errors import FormatError
from diarize.formats.entries import Entry
from diarize.text import split
from diarize.types import Word
from diarize.units import round_time

PACE = 15.0  # characters a second: conversation at 180 words a minute, five letters a word


def repaired(entries: Iterable[Entry], where: str) -> tuple[Word, ...]:
    """The words of a file with times, in its order (rule: see above).

    Raises FormatError where there are words, but no time anywhere in the file.
    """
    flat = [word for entry in entries for word in _flat(entry)]
    if not flat:
        return ()
    times = [time for word in flat for time in (word.start, word.end)]
    if all(time is None for time in times):
        raise FormatError(where, "its words have no times", "Bring them with times, or let a recognizer find both.")
    filled = fill(times, [len(word.text) for word in flat])
    found = []
    for i, word in enumerate(flat):
        start, end = filled[2 * i], max(filled[2 * i], filled[2 * i + 1])
        if word.word and word.start is not None and word.end is None:
            end = min(end, start + len(word.text) / PACE)
        if word.word and word.start is None and word.end is not None:
            start = max(start, end - len(word.text) / PACE)
        found.append(Word(round_time(start), round_time(end), word.text, word.probability, word.speaker))
    return tuple(found)


def fill(times: Sequence[float | None], characters: Sequence[int]) -> list[float]:
    """Starts and ends, one after the other (start, end, start, ...), with the unknown ones found (rules 4 and 5).

    `characters` has one number a word; at least one time is known.
    """
    place = [0.0]  # characters before each start and end
    for count in characters:
        place += (place[-1] + count, place[-1] + count)
    place.pop()
    filled = [0.0 if time is None else time for time in times]
    known = [i for i, time in enumerate(times) if time is not None]
    for i in range(known[0]):
        filled[i] = max(0.0, filled[known[0]] - (place[known[0]] - place[i]) / PACE)
    for left, right in pairwise(known):
        room, letters = max(0.0, filled[right] - filled[left]), place[right] - place[left]
        for i in range(left + 1, right):
            filled[i] = filled[left] + (room * (place[i] - place[left]) / letters if letters else 0.0)
    for i in range(known[-1] + 1, len(filled)):
        filled[i] = filled[known[-1]] + (place[i] - place[known[-1]]) / PACE
    return filled


def between(entries: Sequence[Entry], start: float | None, end: float | None) -> list[Entry]:
    """Parts of one cue, their unknown times found between `start` and `end`, where both are known."""
    if not entries or start is None or end is None:
        return list(entries)
    times = [time for entry in entries for time in (entry.start, entry.end)]
    times[0] = start if times[0] is None else times[0]
    times[-1] = end if times[-1] is None else times[-1]
    filled = fill(times, [len(entry.text) for entry in entries])
    return [replace(entry, start=filled[2 * i], end=filled[2 * i + 1]) for i, entry in enumerate(entries)]


def _flat(entry: Entry) -> list[Entry]:
    """The words of an entry, each with the times that are known of it."""
    entry = _ordered(entry)
    if entry.words:
        inner = [
            replace(_ordered(word), text=text, word=True, speaker=word.speaker or entry.speaker)
            for word in entry.words
            if (text := word.text.strip())
        ]
    elif entry.word:
        inner = [replace(entry, text=text)] if (text := entry.text.strip()) else []
    else:
        inner = [replace(entry, text=text, start=None, end=None) for text in split(entry.text)]
    if inner and inner[0].start is None and entry.start is not None:
        inner[0] = replace(inner[0], start=entry.start, word=False)  # not its own time: rule 6 does not hold for it
    if inner and inner[-1].end is None and entry.end is not None:
        inner[-1] = replace(inner[-1], end=entry.end, word=False)
    return inner


def _ordered(entry: Entry) -> Entry:
    start = None if entry.start is None else max(0.0, entry.start)
    end = None if entry.end is None else max(0.0, entry.end)
    if start is not None and end is not None and end < start:
        start, end = end, start
    return replace(entry, start=start, end=end)

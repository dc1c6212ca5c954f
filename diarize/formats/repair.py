"""Times for words with missing or impossible times. No word is left out.

The rules, applied in the order of the file:

1. An invalid time (missing, NaN, infinite, no number, beyond 115 days) is unknown. A negative time becomes 0. If the
   end is before the start, they are swapped.
2. Text with times only as a whole (a segment, a cue) is split into words.
3. A segment's start and end are the start of its first word and the end of its last, if those are unknown.
4. Unknown times lie between the nearest known ones before and after, in proportion to the characters of the words.
   If the known ones are out of order, the words between them have zero length, at the time that is first in the file.
5. Before the first and after the last known time, words last a fifteenth of a second a character (180 words a minute).
6. A word with only one time in the file lasts no longer than that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from diarize.errors import FormatError
from diarize.formats.timed_text import TimedText
from diarize.text import split
from diarize.types import Word
from diarize.units import round_time

PACE = 15.0  # characters a second: conversation at 180 words a minute, five letters a word


def repair_times(texts: Iterable[TimedText], where: str) -> tuple[Word, ...]:
    """The words of a file with times, in its order, by the rules above.

    Raises FormatError if there are words, but no time in the file.
    """
    words = [word for text in texts for word in _split(text)]
    if not words:
        return ()
    times = [time for word in words for time in (word.start, word.end)]
    if all(time is None for time in times):
        raise FormatError(where, "its words have no times", "Use a file with times, or a recognizer of this project.")
    filled = fill_times(times, [len(word.text) for word in words])
    repaired = []
    for i, word in enumerate(words):
        start, end = filled[2 * i], max(filled[2 * i], filled[2 * i + 1])
        if word.word and word.start is not None and word.end is None:
            end = min(end, start + len(word.text) / PACE)
        if word.word and word.start is None and word.end is not None:
            start = max(start, end - len(word.text) / PACE)
        repaired.append(Word(round_time(start), round_time(end), word.text, word.probability, word.speaker))
    return tuple(repaired)


def fill_times(times: Sequence[float | None], characters: Sequence[int]) -> list[float]:
    """Starts and ends in turn (start, end, start, ...), with the unknown ones filled in (rules 4 and 5).

    `characters` has one number for each word; at least one time is known.
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


def fill_between(parts: Sequence[TimedText], start: float | None, end: float | None) -> list[TimedText]:
    """Parts of one cue, their unknown times filled in between `start` and `end`, if both are known."""
    if not parts or start is None or end is None:
        return list(parts)
    times = [time for part in parts for time in (part.start, part.end)]
    times[0] = start if times[0] is None else times[0]
    times[-1] = end if times[-1] is None else times[-1]
    filled = fill_times(times, [max(1, len(part.text)) for part in parts])
    return [replace(part, start=filled[2 * i], end=filled[2 * i + 1]) for i, part in enumerate(parts)]


def _split(whole: TimedText) -> list[TimedText]:
    """The words of a text, each with its known times."""
    whole = _ordered(whole)
    if whole.words:
        words = [
            replace(_ordered(word), text=text, word=True, speaker=word.speaker or whole.speaker)
            for word in whole.words
            if (text := word.text.strip())
        ]
    elif whole.word:
        words = [replace(whole, text=text)] if (text := whole.text.strip()) else []
    else:
        words = [replace(whole, text=text, start=None, end=None) for text in split(whole.text)]
    if words and words[0].start is None and whole.start is not None:
        words[0] = replace(words[0], start=whole.start, word=False)  # not its own time: rule 6 does not apply
    if words and words[-1].end is None and whole.end is not None:
        words[-1] = replace(words[-1], end=whole.end, word=False)
    return words


def _ordered(text: TimedText) -> TimedText:
    """The same text without negative times, the earlier one first (rule 1)."""
    start = None if text.start is None else max(0.0, text.start)
    end = None if text.end is None else max(0.0, text.end)
    if start is not None and end is not None and end < start:
        start, end = end, start
    return replace(text, start=start, end=end)

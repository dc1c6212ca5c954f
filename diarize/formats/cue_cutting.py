"""What one speaker says without a pause, divided into subtitles.

The division with the least cost, found by dynamic programming over the words (as lines of a paragraph: Knuth and Plass
1981, "Breaking Paragraphs into Lines"). A subtitle costs 1; more if it ends inside a sentence, behind a short word, or
before somebody else begins to speak in the middle of it, and if it is shown for too short a time to be read.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from diarize.formats.cue_timing import LONGEST, PACE, SHORTEST
from diarize.formats.line_breaks import (
    CLAUSE,
    COLUMNS,
    SENTENCE,
    break_lines,
    count_columns,
    ends_with_short_word,
    fits,
)
from diarize.formats.naming import visible
from diarize.text import join
from diarize.types import Segment, Utterance, Word

_PAUSE = 0.3  # s of silence behind a word at which a subtitle may end as behind a comma
_AT_CLAUSE, _INSIDE, _AFTER_SHORT = 0.4, 1.0, 0.5  # cost of an end that is not that of a sentence
_CROSSING = 1.5  # cost of going on where somebody else has begun to speak
_EDGE = 0.3  # s at both ends of a subtitle in which somebody else may begin
_TOO_FAST, _TOO_SHORT = 2.0, 3.0  # cost of twice the pace, of a second that is missing


@dataclass(frozen=True, slots=True)
class Piece(Segment):
    """A part of an utterance, in one or two lines."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Room:
    """Around an utterance: when somebody speaks next after its end (s), and when others begin (sorted, s)."""

    until: float
    starts: Sequence[float]


@dataclass(frozen=True, slots=True)
class _Texts:
    """The words of an utterance as one text: word i is `text[begin[i]:end[i]]`, in columns `left[i]` to `right[i]`."""

    text: str
    begin: list[int]
    end: list[int]
    left: list[int]
    right: list[int]


def rooms(utterances: Sequence[Utterance]) -> list[Room]:
    """The room of each of the utterances, which are sorted by start."""
    starts = [utterance.start for utterance in utterances]
    result = []
    for utterance in utterances:
        after = bisect_right(starts, utterance.end - 1e-9)
        result.append(Room(starts[after] if after < len(starts) else utterance.end + LONGEST, starts))
    return result


def cut(words: Sequence[Word], prefix: str, room: Room) -> Iterator[Piece]:
    """The subtitles of an utterance, whose words are sorted by start; the text of each begins with `prefix`."""
    words = [word for word in words if visible(word.text)]
    texts = _layout(words)
    best: list[float] = [0.0]
    origin = [0]  # of the first i words: the least cost, and where the last subtitle begins
    ends = [_end_cost(words, texts, i) for i in range(len(words))]
    lead = count_columns(prefix)
    for j in range(len(words)):
        last = 0.0
        until = words[j + 1].start if j + 1 < len(words) else room.until
        choices = []
        for i in range(j, -1, -1):
            last = max(last, words[i].end)
            columns = lead + texts.right[j] - texts.left[i]
            if i < j and (columns > 2 * COLUMNS + 1 or last - words[i].start > LONGEST):
                break
            if i == j or _fits(texts, i, j, columns, prefix):
                seconds = min(max(last, until), max(last, words[i].start + LONGEST)) - words[i].start
                crossing = _is_crossed(room.starts, words[i].start, last)
                choices.append((best[i] + _cost(columns - lead, seconds) + crossing, i))
        cost, start = min(choices)
        best.append(cost + ends[j])
        origin.append(start)
    bounds: list[tuple[int, int]] = []
    at = len(words)
    while at:
        bounds.append((origin[at], at))
        at = origin[at]
    for first, after in reversed(bounds):
        begin, end = words[first].start, max(word.end for word in words[first:after])
        text = prefix + texts.text[texts.begin[first] : texts.end[after - 1]]
        yield Piece(begin, max(end, round(begin + 0.001, 3)), break_lines(text, len(prefix)))


def _layout(words: Sequence[Word]) -> _Texts:
    texts = _Texts("", [], [], [], [])
    parts: list[str] = []
    at = column = 0
    before = ""
    for word in words:
        own = visible(word.text)
        space = len(join((before, own))) - len(before) - len(own) if before else 0
        parts.append(" " * space + own)
        texts.begin.append(at + space)
        texts.left.append(column + space)
        at += space + len(own)
        column += space + count_columns(own)
        texts.end.append(at)
        texts.right.append(column)
        before = own
    return _Texts("".join(parts), texts.begin, texts.end, texts.left, texts.right)


def _fits(texts: _Texts, i: int, j: int, columns: int, prefix: str) -> bool:
    """Whether words i to j, with the prefix, are at most two lines."""
    if columns <= COLUMNS:
        return True
    last = bisect_right(texts.right, COLUMNS - (columns - texts.right[j] + texts.left[i]) + texts.left[i]) - 1
    if i <= last < j and texts.right[j] - texts.left[last + 1] <= COLUMNS:
        return not texts.text.startswith("[", texts.begin[last + 1]) or len(_lines(texts, i, j, prefix)) == 2
    text = texts.text[texts.begin[i] : texts.end[j]]
    return (not text.isascii() or "[" in text or text.count(" ") > j - i) and fits(prefix + text)


def _lines(texts: _Texts, i: int, j: int, prefix: str) -> tuple[str, ...]:
    return break_lines(prefix + texts.text[texts.begin[i] : texts.end[j]], len(prefix))


def _cost(columns: int, seconds: float) -> float:
    """Of a subtitle that is shown for some seconds, whatever it ends with."""
    fast = max(0.0, columns / PACE / max(seconds, 0.01) - 1)
    return 1 + _TOO_FAST * min(fast, 2.0) + _TOO_SHORT * max(0.0, SHORTEST - seconds)


def _end_cost(words: Sequence[Word], texts: _Texts, i: int) -> float:
    """Of a subtitle that ends with word i."""
    text = texts.text[texts.begin[i] : texts.end[i]].rstrip("\"'”’»)]")
    if i + 1 == len(words) or text[-1:] in SENTENCE:
        return 0.0
    if text[-1:] in CLAUSE or words[i + 1].start - words[i].end >= _PAUSE:
        return _AT_CLAUSE
    return _INSIDE + (_AFTER_SHORT if ends_with_short_word(text) else 0.0)


def _is_crossed(starts: Sequence[float], start: float, end: float) -> float:
    after = bisect_right(starts, start + _EDGE)
    return _CROSSING if after < len(starts) and starts[after] < end - _EDGE else 0.0

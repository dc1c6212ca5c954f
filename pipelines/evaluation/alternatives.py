"""What a reference leaves open (`{ a / b }`, `(uh)`), decided by the hypothesis, as sclite does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from diarize.formats.alternatives import OpenChoice, Passage
from diarize.metrics.normalisation import normalised

_SUBSTITUTION, _GAP = 4, 3  # costs of sclite's alignment; an insertion costs as much as a deletion
_UNREACHED = 1 << 60
MOST_CELLS = 2_000_000  # of one alignment, some seconds; segments have some ten words

# The best alignment up to a word of the hypothesis: (cost, what of the passage it has read). What was read is a linked
# list, the latest first: (rest of the list, text, or the number of words that may be missing and are).
_Cell = tuple[int, Any]


@dataclass(frozen=True, slots=True)
class Resolved:
    """A text that leaves nothing open. `absent`: words that may be missing, and are."""

    text: str
    absent: int


def resolve(passage: Passage, hypothesis: Sequence[str], steps: Sequence[str]) -> Resolved:
    """The text of a passage with the fewest errors, from its alignment with the hypothesis's words.

    `hypothesis` are normalised words of the passage's time, `steps` the steps that normalise the passage. Of equally
    good options the first is used; where the alignment would be too long, the first of all.
    """
    if _count_words(passage) * (len(hypothesis) + 1) > MOST_CELLS:
        hypothesis = ()
        passage = _first_options(passage)
    row = _insert([(0, None)] + [(_UNREACHED, None)] * len(hypothesis))
    trail = _advance(row, passage, hypothesis, steps)[-1][1]
    texts: list[str] = []
    absent = 0
    while trail is not None:
        trail, what = trail
        if isinstance(what, int):
            absent += what
        else:
            texts.append(what)
    return Resolved(" ".join(texts[::-1]), absent)


def _advance(row: list[_Cell], passage: Passage, hypothesis: Sequence[str], steps: Sequence[str]) -> list[_Cell]:
    """The best alignments up to each word of the hypothesis after one more passage."""
    for item in _runs(passage):
        if isinstance(item, OpenChoice):
            ends = [_advance(row, option, hypothesis, steps) for option in item.options]
            if item.optional:
                absent = len(normalised(" ".join(_runs(item.options[0])), steps).split())  # type: ignore[arg-type]
                ends[1] = [(cost, (trail, absent)) for cost, trail in row]
            row = [min(cells, key=lambda cell: cell[0]) for cells in zip(*ends, strict=True)]
            continue
        for word in normalised(item, steps).split():
            after = [(row[0][0] + _GAP, row[0][1])]
            for at, other in enumerate(hypothesis, 1):
                matched = row[at - 1][0] + (0 if word == other else _SUBSTITUTION)
                deleted = row[at][0] + _GAP
                after.append((matched, row[at - 1][1]) if matched <= deleted else (deleted, row[at][1]))
            row = _insert(after)
        row = [(cost, (trail, item)) for cost, trail in row]
    return row


def _insert(row: list[_Cell]) -> list[_Cell]:
    """The row, where the last words of the hypothesis may be inserted ones."""
    for at in range(1, len(row)):
        if row[at - 1][0] + _GAP < row[at][0]:
            row[at] = (row[at - 1][0] + _GAP, row[at - 1][1])
    return row


def _runs(passage: Passage) -> Iterator[str | OpenChoice]:
    """Choices, and the texts between them: steps of normalisation may look at several words."""
    words: list[str] = []
    for item in passage:
        if isinstance(item, str):
            words.append(item)
            continue
        if words:
            yield " ".join(words)
            words = []
        yield item
    if words:
        yield " ".join(words)


def _count_words(passage: Passage) -> int:
    return sum(1 if isinstance(item, str) else sum(map(_count_words, item.options)) for item in passage)


def _first_options(passage: Passage) -> Passage:
    words: list[str | OpenChoice] = []
    for item in passage:
        words += (item,) if isinstance(item, str) else _first_options(item.options[0])
    return tuple(words)

"""Places of a transcript where a look is worth its time, the most worthwhile first.

The worth of a doubt is the time, in seconds, that is probably wrong there:

    worth = P(wrong) * seconds

    speaker   P = 1 - confidence of a turn (the share of the votes that are for another speaker), of the turn's time,
              where the confidence is under `SURE`
    overlap   P = OVERLAP, of the time in which turns of two or more speakers overlap
    word      P = 1 - probability of a word, of its time (at least `SHORTEST_WORD`); words under `SURE_WORD` that follow
              each other are one doubt
    systems   P = SYSTEMS, of the time in which another result of the same recording has other speakers; its speakers
              are matched by the time that they share (anchoring.py)

What a person decided or checked is not in doubt.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from diarize.corrections.anchoring import match_speakers
from diarize.corrections.state import EditedTurn, EditedWord, State

Kind = Literal["speaker", "overlap", "word", "systems"]
Span = tuple[int, int]  # ms

SURE = 0.9  # confidence of a turn from which it is not in doubt
SURE_WORD = 0.5  # probability of a word from which it is not in doubt
OVERLAP = 0.5  # P(wrong) where several speak at once
SYSTEMS = 0.5  # P(wrong) where two systems differ: one of them is wrong
SHORTEST_WORD = 250  # ms that a doubtful word counts at least
SHORTEST = 250  # ms; shorter overlaps and differences are within the accuracy of boundaries
PAUSE = 1000  # ms between doubtful words that are looked at together
TOGETHER = 10_000  # ms that they last together at most


@dataclass(frozen=True, slots=True)
class Doubt:
    """A place in doubt, why, and what a look at it is worth. `turn` and `word` are what it is about, if it is one."""

    start: int  # ms
    end: int  # ms
    kind: Kind
    worth: float  # s
    reason: str
    turn: str | None = None
    word: str | None = None


def find_doubts(state: State, other: State | None = None) -> tuple[Doubt, ...]:
    """All doubts, by worth, the largest first; equal ones by time. `other`: the result of another system."""
    doubts = [*_of_speakers(state.turns), *_of_overlaps(state.turns), *_of_words(state.words)]
    if other is not None:
        doubts += _of_systems(state, other)
    return tuple(sorted(doubts, key=lambda doubt: (-doubt.worth, doubt.start, doubt.end, doubt.kind)))


def certain_share(state: State, doubts: Iterable[Doubt]) -> float:
    """The share of the time with speech that is in no doubt, in [0, 1]; 1 where nobody speaks."""
    speech = _union((turn.start, turn.end) for turn in state.turns)
    seconds = sum(end - start for start, end in speech)
    if not seconds:
        return 1.0
    doubtful = _union((doubt.start, doubt.end) for doubt in doubts)
    return round(1 - sum(end - start for start, end in _common(speech, doubtful)) / seconds, 4)


def _of_speakers(turns: Sequence[EditedTurn]) -> Iterator[Doubt]:
    for turn in turns:
        if turn.human or turn.checked or turn.confidence is None or turn.confidence >= SURE:
            continue
        worth = _seconds(1 - turn.confidence, turn.end - turn.start)
        reason = f"{turn.confidence:.0%} of the votes are for this speaker"
        yield Doubt(turn.start, turn.end, "speaker", worth, reason, turn=turn.id)


def _of_overlaps(turns: Sequence[EditedTurn]) -> Iterator[Doubt]:
    for start, end, active in _pieces(turns):
        decided = all(turn.human or turn.checked for turn in active)
        if len({turn.speaker for turn in active}) > 1 and end - start >= SHORTEST and not decided:
            count = len({turn.speaker for turn in active})
            yield Doubt(start, end, "overlap", _seconds(OVERLAP, end - start), f"{count} speakers at once")


def _of_words(words: Sequence[EditedWord]) -> Iterator[Doubt]:
    run: list[EditedWord] = []
    for word in words:
        if word.human or word.probability is None or word.probability >= SURE_WORD:
            continue
        if run and (
            word.start - run[-1].end > PAUSE or word.speaker != run[0].speaker or word.end - run[0].start > TOGETHER
        ):
            yield _of_run(run)
            run = []
        run.append(word)
    if run:
        yield _of_run(run)


def _of_run(words: Sequence[EditedWord]) -> Doubt:
    worth = sum(_seconds(1 - (w.probability or 0.0), max(w.end - w.start, SHORTEST_WORD)) for w in words)
    least = min(words, key=lambda word: (word.probability, word.start))
    count = "a word" if len(words) == 1 else f"{len(words)} words"
    reason = f"{count} of low probability, the lowest {least.probability or 0.0:.2f}"
    end = max(max(word.end for word in words), words[0].start + 1)
    return Doubt(words[0].start, end, "word", round(worth, 3), reason, word=words[0].id)


def _of_systems(state: State, other: State) -> Iterator[Doubt]:
    """Where the speakers of two results differ; times of one difference without a pause are one doubt."""
    same = match_speakers(other.turns, state.turns)
    both = _pieces(
        [
            *(EditedTurn("", t.start, t.end, f"={t.speaker}", t.human or t.checked) for t in state.turns),
            *(EditedTurn("", t.start, t.end, f"+{same.get(t.speaker, '?')}") for t in other.turns),
        ]
    )
    open_span: tuple[int, int, frozenset[str], frozenset[str]] | None = None
    for start, end, active in (*both, (state.duration + 1, state.duration + 1, ())):
        ours = frozenset(turn.speaker[1:] for turn in active if turn.speaker[0] == "=")
        theirs = frozenset(turn.speaker[1:] for turn in active if turn.speaker[0] == "+")
        decided = any(turn.human for turn in active)
        if open_span is not None and (start, ours, theirs) == open_span[1:]:
            open_span = (open_span[0], end, ours, theirs)
            continue
        if open_span is not None and open_span[1] - open_span[0] >= SHORTEST:
            first, last, mine, others = open_span
            reason = f"here {_listed(mine)}, in the other result {_listed(others)}"
            yield Doubt(first, last, "systems", _seconds(SYSTEMS, last - first), reason)
        open_span = (start, end, ours, theirs) if ours != theirs and not decided else None


def _listed(speakers: frozenset[str]) -> str:
    names = sorted("another speaker" if speaker == "?" else speaker for speaker in speakers)
    return " and ".join(names) or "nobody"


def _pieces(turns: Sequence[EditedTurn]) -> Iterator[tuple[int, int, tuple[EditedTurn, ...]]]:
    """(start, end, turns that last through it) of each stretch between two boundaries, where there are any turns."""
    changes: dict[int, tuple[list[int], list[int]]] = {}
    for i, turn in enumerate(turns):
        changes.setdefault(turn.start, ([], []))[0].append(i)
        changes.setdefault(turn.end, ([], []))[1].append(i)
    active: dict[int, EditedTurn] = {}
    for start, end in pairwise(sorted(changes)):
        begun, ended = changes[start]
        for i in ended:
            active.pop(i, None)
        for i in begun:
            if turns[i].end > start:
                active[i] = turns[i]
        if active:
            yield start, end, tuple(active.values())


def _union(spans: Iterable[Span]) -> list[Span]:
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _common(left: Sequence[Span], right: Sequence[Span]) -> Iterator[Span]:
    starts = [end for _, end in right]
    for start, end in left:
        for i in range(bisect_left(starts, start), len(right)):
            if right[i][0] >= end:
                break
            if (first := max(start, right[i][0])) < (last := min(end, right[i][1])):
                yield first, last


def _seconds(probability: float, length: int) -> float:
    return round(probability * length / 1000, 3)

"""Corrections of an earlier transcript, for a new transcript of the same recording.

Times stay what they are, as the recording is the same. Speakers are matched by the time that they share: the matching
with the most of it (Kuhn 1955, "The Hungarian method for the assignment problem"), each pair at least half of the time
of one of them. A word is the one with the same text at the same place, a turn the one that covers most of
the same time.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diarize.corrections.operations import FIELDS, DoesNotFit, Operation
from diarize.corrections.state import EditedTurn, EditedWord, State

NEAR = 300  # ms between the starts of a word in both transcripts, at most
LEAST = 0.5  # share of the time of one of two speakers, or of two turns' time together, that they have in common
_SPEAKERS = ("speaker", "from", "into", "to")  # fields that hold a speaker


class Anchors:
    """Where the words, turns and speakers of one transcript are in another."""

    def __init__(self, before: State, after: State) -> None:
        self._words = {word.id: word for word in before.words}
        self._turns = {turn.id: turn for turn in before.turns}
        self._after = after
        self._starts = [word.start for word in after.words]
        self._same_words = {word.id: word for word in after.words}
        self._speakers = match_speakers(before.turns, after.turns)
        self._machine = {speaker.id for speaker in before.speakers}

    def translate(self, operation: Operation) -> Operation:
        """The operation for the other transcript. Raises DoesNotFit where what it corrects is not there any more."""
        if operation["op"] == "group":
            return {**operation, "operations": [self.translate(part) for part in operation["operations"]]}
        moved: dict[str, Any] = dict(operation)
        for key in FIELDS.get(operation["op"], {}):
            if key in _SPEAKERS and operation["op"] != "add_speaker":
                moved[key] = self._speaker(operation[key])
            elif key == "word":
                moved[key] = self._word(operation[key])
            elif key == "turn":
                moved[key] = self._turn(operation[key])
        return moved

    def _speaker(self, id: str | None) -> str | None:
        if id is None or id not in self._machine:  # nobody, or one whom a person added
            return id
        if id not in self._speakers:
            raise DoesNotFit(f"{id} is not among the speakers any more")
        return self._speakers[id]

    def _word(self, id: str) -> str:
        if id not in self._words:  # one that a person added
            return id
        word = self._words[id]
        same = self._same_words.get(id)
        if same is not None and same.text == word.text:
            return id
        first, last = bisect_left(self._starts, word.start - NEAR), bisect_right(self._starts, word.start + NEAR)
        near = [other for other in self._after.words[first:last] if other.text == word.text]
        if not near:
            raise DoesNotFit(f"the word {word.text!r} at {word.start / 1000:.2f} s is not there any more")
        return min(near, key=lambda other: abs(other.start - word.start)).id

    def _turn(self, id: str) -> str:
        if id not in self._turns:
            return id
        turn = self._turns[id]
        speaker = self._speaker(turn.speaker)
        own = [other for other in self._after.turns if other.speaker == speaker and _common(turn, other) > 0]
        best = max(own, key=lambda other: _common(turn, other), default=None)
        if best is None or _common(turn, best) < LEAST * (max(turn.end, best.end) - min(turn.start, best.start)):
            raise DoesNotFit(f"the turn from {turn.start / 1000:.2f} to {turn.end / 1000:.2f} s is not there any more")
        return best.id


def match_speakers(before: Sequence[EditedTurn], after: Sequence[EditedTurn]) -> Mapping[str, str]:
    """Speaker of `before` -> the same speaker in `after`; those who have none are missing."""
    rows, columns = sorted({turn.speaker for turn in before}), sorted({turn.speaker for turn in after})
    if not rows or not columns:
        return {}
    shared = np.zeros((len(rows), len(columns)))
    row_of, column_of = {id: i for i, id in enumerate(rows)}, {id: i for i, id in enumerate(columns)}
    later = sorted(after, key=lambda turn: turn.start)
    starts = [turn.start for turn in later]
    longest = max(turn.end - turn.start for turn in later)
    for turn in before:
        for other in later[bisect_left(starts, turn.start - longest) : bisect_left(starts, turn.end)]:
            shared[row_of[turn.speaker], column_of[other.speaker]] += _common(turn, other)
    times = [
        np.array([sum(t.end - t.start for t in turns if t.speaker == id) for id in ids])
        for turns, ids in ((before, rows), (after, columns))
    ]
    from scipy.optimize import linear_sum_assignment  # takes 0.4 s, which most commands need not wait

    pairs = zip(*linear_sum_assignment(-shared), strict=True)
    return {
        rows[i]: columns[j]
        for i, j in pairs
        if shared[i, j] > 0 and shared[i, j] >= LEAST * min(times[0][i], times[1][j])
    }


def _common(one: EditedTurn | EditedWord, other: EditedTurn | EditedWord) -> int:
    return max(0, min(one.end, other.end) - max(one.start, other.start))

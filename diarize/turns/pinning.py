"""Turns of people who are known to speak somewhere, among turns that were estimated (docs/method/constraints.md)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from diarize.timeline import intersect, union
from diarize.types import ClusterTurn, Segment

Piece = tuple[float, float, float | None]  # start, end, confidence


def pin(
    turns: Sequence[ClusterTurn], known: Sequence[ClusterTurn], speech: Sequence[Segment], gap: float
) -> tuple[ClusterTurn, ...]:
    """`turns`, sorted, in which everybody speaks where they are `known` to, if there is `speech` there.

    Beside them the most certain of the other speakers are kept, so that no fewer speak at a time than before. Pauses of
    up to `gap` s belong to a known turn.
    """
    if not known:
        return tuple(turns)
    pins = [
        ClusterTurn(part.start, part.end, turn.label)
        for turn in known
        for part in union(intersect(speech, (Segment(turn.start, turn.end),)), gap)
    ]
    pieces: dict[int, list[Piece]] = {}
    for start, end, estimated, pinned in _at_each_time(turns, pins):
        speaking: dict[int, float | None] = {turn.label: 1.0 for turn in pinned}
        others = estimated
        if pinned:  # a known speaker takes the place of the least certain one
            room = max(len(estimated) - len(speaking), 0)
            by_confidence = sorted(estimated, key=lambda turn: (-(turn.confidence or 0.0), turn.label))
            others = [turn for turn in by_confidence if turn.label not in speaking][:room]
        speaking |= {turn.label: turn.confidence for turn in others}
        for label, confidence in speaking.items():
            pieces.setdefault(label, []).append((start, end, confidence))
    return tuple(
        sorted(ClusterTurn(a, b, label, confidence) for label, own in pieces.items() for a, b, confidence in _join(own))
    )


def _at_each_time(
    turns: Sequence[ClusterTurn], pins: Sequence[ClusterTurn]
) -> Iterator[tuple[float, float, list[ClusterTurn], list[ClusterTurn]]]:
    """(start, end, turns there, pins there) between every two times at which one begins or ends."""
    edges = sorted({time for turn in (*turns, *pins) for time in (turn.start, turn.end)})
    waiting = [deque(sorted(side, key=lambda turn: turn.start)) for side in (turns, pins)]
    now: list[list[ClusterTurn]] = [[], []]
    for start, end in pairwise(edges):
        for side, active in zip(waiting, now, strict=True):
            active[:] = [turn for turn in active if turn.end > start]
            while side and side[0].start <= start:
                active.append(side.popleft())
        if now[0] or now[1]:
            yield start, end, list(now[0]), list(now[1])


def _join(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Pieces in order, those that touch as one; its confidence is the mean over its time."""
    parts: list[Piece] = []
    for piece in (*pieces, (np.inf, np.inf, None)):
        if parts and piece[0] > parts[-1][1]:
            known = [(end - start, confidence) for start, end, confidence in parts if confidence is not None]
            seconds = sum(length for length, _ in known)
            mean = round(sum(length * confidence for length, confidence in known) / seconds, 3) if known else None
            yield parts[0][0], parts[-1][1], mean
            parts = []
        parts.append(piece)

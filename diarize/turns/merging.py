"""Labelled windows to speaker turns: each instant of speech gets the speaker of its windows (docs/method/turns.md)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.config import SegmentationConfig, TurnsConfig
from diarize.turns import overlap
from diarize.turns.pinning import pin
from diarize.types import ClusterTurn, Labels, Segment, Turn
from diarize.units import round_time

STEP = 0.01  # s between two instants that are voted on
_BLOCK = 6000  # instants voted on at once: a minute, so that memory does not grow with the recording

# Start, end, label, and the share of the votes behind it.
Run = tuple[float, float, int, float]


def merge(
    windows: Sequence[Segment],
    labels: Labels,
    speech: Sequence[Segment],
    activity: LocalActivity = NO_ACTIVITY,
    known: Sequence[ClusterTurn] = (),
    config: TurnsConfig | None = None,
    segmentation: SegmentationConfig | None = None,
) -> tuple[Turn, ...]:
    """Turns, sorted by start, that cover `speech` and no more than its gaps of up to `config.gap` s.

    `windows` (n) with `labels` (n,) may overlap; `speech` is sorted and disjoint. At each instant a window's vote
    weighs most at its middle and falls linearly to its ends, so that two neighbours that disagree part at the middle
    of what they share. With the `activity` of a segmentation model, local speakers vote too, and two may talk at once
    (overlap.py; `windows` are then sorted by start); without it turns are disjoint. Whoever is `known` to speak
    somewhere does so (pinning.py). Speakers are SPEAKER_01.. in order of first appearance. A turn's confidence is the
    mean share of the votes that its speaker got. Raises ValueError where there is speech but no window, or where the
    counts of windows and labels differ.
    """
    config = config or TurnsConfig()
    if len(windows) != len(labels):
        raise ValueError(f"{len(windows)} windows have {len(labels)} labels")
    if speech and not windows:
        raise ValueError("speech without a single window has no speaker")
    if activity.windows and speech:
        turns = overlap.turns(windows, labels, speech, activity, segmentation or SegmentationConfig(), config.gap)
    else:
        turns = _disjoint(windows, labels, speech, config)
    return numbered(pin(turns, known, speech, config.gap))


def numbered(turns: Sequence[ClusterTurn]) -> tuple[Turn, ...]:
    """Turns, sorted, with clusters numbered as speakers in order of first appearance."""
    numbers: dict[int, int] = {}
    return tuple(
        Turn(turn.start, turn.end, f"SPEAKER_{numbers.setdefault(turn.label, len(numbers) + 1):02d}", turn.confidence)
        for turn in turns
    )


def _disjoint(
    windows: Sequence[Segment], labels: Labels, speech: Sequence[Segment], config: TurnsConfig
) -> tuple[ClusterTurn, ...]:
    """One speaker at a time: the cluster with most votes."""
    votes = _Votes(windows, labels)
    runs: list[Run] = []
    for segment in speech:
        runs += _smoothed(votes.runs(segment), config.min_turn)
    rounded = [(round_time(a), round_time(b), label, share) for a, b, label, share in _joined(runs, config.gap)]
    return tuple(ClusterTurn(a, b, label, min(1.0, round(share, 3))) for a, b, label, share in rounded if a < b)


class _Votes:
    """Windows, sorted by start, that vote on who speaks at an instant."""

    def __init__(self, windows: Sequence[Segment], labels: Labels) -> None:
        order = sorted(range(len(windows)), key=lambda i: (windows[i].start, windows[i].end))
        self._starts = np.array([windows[i].start for i in order])
        self._ends = np.array([windows[i].end for i in order])
        self._middles = (self._starts + self._ends) / 2
        self._names, self._labels = np.unique(np.asarray(labels)[order], return_inverse=True)
        self._longest = float((self._ends - self._starts).max(initial=0.0))

    def runs(self, segment: Segment) -> list[Run]:
        """`segment` cut where the winning label changes."""
        count = max(1, round(segment.duration / STEP))
        edges = np.linspace(segment.start, segment.end, count + 1)
        instants = (edges[:-1] + edges[1:]) / 2
        winners, shares = zip(*(self._count(instants[i : i + _BLOCK]) for i in range(0, count, _BLOCK)), strict=True)
        winner, share = np.concatenate(winners), np.concatenate(shares)
        cuts = [0, *(np.flatnonzero(np.diff(winner)) + 1).tolist(), count]
        return [
            (float(edges[a]), float(edges[b]), int(self._names[winner[a]]), float(share[a:b].mean()))
            for a, b in pairwise(cuts)
        ]

    def _count(self, instants: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The winner of each instant and its share of the votes. Where no window lies, the nearest one decides."""
        first = bisect_left(self._starts, instants[0] - self._longest)
        last = bisect_left(self._starts, instants[-1])
        present, of = np.unique(self._labels[first:last], return_inverse=True)
        votes = np.zeros((len(instants), max(1, len(present))))
        for i, column in zip(range(first, last), of, strict=True):
            a, b = np.searchsorted(instants, (self._starts[i], self._ends[i]))
            half = (self._ends[i] - self._starts[i]) / 2
            votes[a:b, column] += 1 - np.abs(instants[a:b] - self._middles[i]) / half + 1e-6
        total = votes.sum(1)
        heard = total > 0
        best = votes.argmax(1)
        winner = present[best] if len(present) else np.zeros(len(instants), dtype=np.int64)
        share = np.ones(len(instants))
        share[heard] = votes[heard, best[heard]] / total[heard]
        for j in np.flatnonzero(~heard):
            distance = np.maximum(np.maximum(self._starts - instants[j], instants[j] - self._ends), 0)
            winner[j] = self._labels[distance.argmin()]
        return winner, share


def _smoothed(runs: list[Run], shortest: float) -> list[Run]:
    """Runs shorter than `shortest` are given to the neighbour, or shared by the two, the shortest first."""
    runs = list(runs)
    while len(runs) > 1:
        i = min(range(len(runs)), key=lambda i: (runs[i][1] - runs[i][0], i))
        start, end, _, _ = runs[i]
        if end - start >= shortest:
            break
        before = runs[i - 1] if i > 0 else None
        after = runs[i + 1] if i + 1 < len(runs) else None
        cut = end if after is None else start if before is None else (start + end) / 2
        kept = []
        if before is not None:
            kept.append((before[0], cut, before[2], before[3]))
        if after is not None:
            kept.append((cut, after[1], after[2], after[3]))
        runs[max(0, i - 1) : i + 2] = _joined(kept, 0.0)
    return runs


def _joined(runs: Sequence[Run], gap: float) -> list[Run]:
    """Neighbours of one label at most `gap` seconds apart become one."""
    joined: list[Run] = []
    for run in runs:
        if joined and joined[-1][2] == run[2] and run[0] - joined[-1][1] <= gap:
            a = joined[-1]
            weight, other = a[1] - a[0], run[1] - run[0]
            joined[-1] = (a[0], run[1], run[2], (a[3] * weight + run[3] * other) / (weight + other))
        else:
            joined.append(run)
    return joined

"""Labelled windows to speaker turns: each instant of speech gets the speaker of its windows (docs/method/turns.md)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.config import SegmentationConfig, TurnsConfig
from diarize.turns import overlap
from diarize.turns.pinning import pin
from diarize.turns.votes import WindowVotes
from diarize.types import ClusterTurn, Labels, Segment, Turn
from diarize.units import round_time

_STEP = 0.01  # s between two instants that are voted on
_BLOCK = 6000  # instants voted on at once: a minute, so that memory does not grow with the recording
_LEAST_VOTE = 1e-6  # of a window at its ends


class _Run(NamedTuple):
    """A stretch of speech with one label."""

    start: float
    end: float
    label: int
    share: float  # of the votes, mean over its instants


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
    used, labels = np.unique(labels, return_inverse=True)
    votes = WindowVotes(windows, labels, _LEAST_VOTE)
    runs: list[_Run] = []
    for segment in speech:
        runs += _smooth(_runs(votes, segment), config.min_turn)
    turns = []
    for run in _join(runs, config.gap):
        start, end = round_time(run.start), round_time(run.end)
        if start < end:
            turns.append(ClusterTurn(start, end, int(used[run.label]), min(1.0, round(run.share, 3))))
    return tuple(turns)


def _runs(votes: WindowVotes, segment: Segment) -> list[_Run]:
    """`segment` cut where the label with most votes changes."""
    count = max(1, round(segment.duration / _STEP))
    edges = np.linspace(segment.start, segment.end, count + 1)
    instants = (edges[:-1] + edges[1:]) / 2
    label, share = np.zeros(count, np.int64), np.zeros(count)
    for block in (slice(i, min(i + _BLOCK, count)) for i in range(0, count, _BLOCK)):
        counted = votes.at(instants[block])
        label[block] = counted.argmax(1)
        share[block] = counted.max(1) / counted.sum(1)
    cuts = [0, *(np.flatnonzero(np.diff(label)) + 1).tolist(), count]
    return [_Run(float(edges[a]), float(edges[b]), int(label[a]), float(share[a:b].mean())) for a, b in pairwise(cuts)]


def _smooth(runs: list[_Run], shortest: float) -> list[_Run]:
    """Runs without those shorter than `shortest`: the neighbours take half of it each, of the shortest run first."""
    runs = list(runs)
    while len(runs) > 1:
        i = min(range(len(runs)), key=lambda i: (runs[i].end - runs[i].start, i))
        start, end, _, _ = runs[i]
        if end - start >= shortest:
            break
        before, after = runs[:i][-1:], runs[i + 1 :][:1]
        cut = (start + end) / 2 if before and after else end if before else start
        widened = [run._replace(end=cut) for run in before] + [run._replace(start=cut) for run in after]
        runs[max(0, i - 1) : i + 2] = _join(widened, 0.0)
    return runs


def _join(runs: Sequence[_Run], gap: float) -> list[_Run]:
    """Neighbours of one label at most `gap` seconds apart become one, with the mean share over their time."""
    joined: list[_Run] = []
    for run in runs:
        if joined and joined[-1].label == run.label and run.start - joined[-1].end <= gap:
            last = joined.pop()
            weight, other = last.end - last.start, run.end - run.start
            share = (last.share * weight + run.share * other) / (weight + other)
            run = _Run(last.start, run.end, run.label, share)
        joined.append(run)
    return joined

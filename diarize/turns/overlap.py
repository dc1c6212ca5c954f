"""Labelled windows and local speakers to turns, two at a time where two talk (docs/method/turns.md)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diarize.activity import LocalActivity
from diarize.config import SegmentationConfig
from diarize.timeline import intersect, union
from diarize.turns.votes import WindowVotes
from diarize.types import ClusterTurn, Labels, Segment
from diarize.units import round_time

Floats = NDArray[np.float32]

_ALONE = 0.5  # probability from which a frame tells who a local speaker is
_SHORTEST = 0.1  # s; a shorter run within speech is noise of the scores
_PRIOR = 1e-3  # of the score: where nothing tells who else talks, it is who talks most
_LEAST_VOTE = 1e-3  # of a window at its ends
_BRIEF = 10  # such frames under which all frames tell it


def turns(
    windows: Sequence[Segment],
    labels: Labels,
    speech: Sequence[Segment],
    activity: LocalActivity,
    config: SegmentationConfig,
    gap: float,
) -> tuple[ClusterTurn, ...]:
    """Turns sorted by start that cover `speech`, of two speakers at once where `activity` has two.

    `windows` (n), sorted by start, vote for their `labels` (n,): most at their middle, falling linearly to their ends.
    Each local speaker of `activity` stands for the clusters that get the votes where it talks alone, in their
    proportion. A frame's score is that of its local speakers plus `config.votes` times its own votes. The best cluster
    talks; so does the next one where two talk more probably than `config.overlap`. A turn's confidence is the mean
    share of the score that its speaker has beside those who do not talk. Pauses of up to `gap` s belong to a turn.
    """
    _, labels = np.unique(labels, return_inverse=True)
    votes = WindowVotes(windows, labels, _LEAST_VOTE, np.float32)
    frame_votes = _FrameVotes(votes, activity)
    prior = np.asarray(np.bincount(labels) / len(labels), dtype=np.float32)  # (k,)
    clusters: list[Floats] = []
    talks = np.zeros((2, activity.frames), np.int32)
    shares = np.zeros((2, activity.frames), np.float32)
    for first in range(0, activity.frames, activity.hop):
        last = min(first + activity.hop, activity.frames)
        clusters += (_clusters(activity, i, frame_votes) for i in range(len(clusters), activity.over(first, last).stop))
        score = _heard(activity, clusters, first, last) + np.float32(config.votes) * frame_votes.between(first, last)
        score += np.float32(_PRIOR) * prior
        order = np.argsort(-score, axis=1, kind="stable")[:, :2]
        values = np.take_along_axis(score, order, axis=1)
        total = np.maximum(score.sum(1), 1e-9)
        talks[: order.shape[1], first:last] = order.T
        shares[: order.shape[1], first:last] = values.T / total[:, None].T
    both = (activity.counts()[:, 2] > config.overlap) & (votes.clusters > 1)
    return _turns(talks, shares, both, speech, activity, gap)


class _FrameVotes:
    """Votes of the windows, frame by frame: each frame's votes sum to one."""

    def __init__(self, votes: WindowVotes, activity: LocalActivity) -> None:
        self._votes, self._activity = votes, activity
        self._blocks: dict[int, Floats] = {}  # of `hop` frames each: windows of the segmentation share most of them

    def between(self, start: int, end: int) -> Floats:
        """(end - start, k) of frames start .. end. Later calls may go back by the length of a window, no further."""
        hop = self._activity.hop
        first, last = start // hop, -(-end // hop)
        for past in [block for block in self._blocks if block * hop < start - self._activity.length]:
            del self._blocks[past]
        for block in range(first, last):
            if block not in self._blocks:
                counted = self._votes.at(self._activity.middles(block * hop, (block + 1) * hop))
                self._blocks[block] = np.asarray(counted / counted.sum(1, keepdims=True), dtype=np.float32)
        votes = np.concatenate([self._blocks[block] for block in range(first, last)])
        return votes[start - first * hop : end - first * hop]


def _clusters(activity: LocalActivity, i: int, votes: _FrameVotes) -> Floats:
    """(3, k): which clusters each local speaker of window `i` is, in shares."""
    counted = votes.between(i * activity.hop, i * activity.hop + activity.length)
    alone = activity.window(i)[:, 1:4]
    alone = np.where(alone > _ALONE, alone, 0)
    brief = alone.sum(0) < _BRIEF
    told = np.where(brief, activity.talking(i), alone).T @ counted
    return np.asarray(told / np.maximum(told.sum(1, keepdims=True), 1e-9), dtype=np.float32)


def _heard(activity: LocalActivity, clusters: Sequence[Floats], start: int, end: int) -> Floats:
    """(end - start, k): how much of each cluster the local speakers make heard; the windows of a frame average."""
    weights = activity.weights()[:, None]
    found = np.zeros((end - start, clusters[0].shape[1]), np.float32)
    total = np.zeros((end - start, 1), np.float32)
    for i in activity.over(start, end):
        offset = i * activity.hop
        a, b = max(start, offset), min(end, offset + activity.length)
        inside, outside = slice(a - offset, b - offset), slice(a - start, b - start)
        found[outside] += weights[inside] * (activity.talking(i)[inside] @ clusters[i])
        total[outside] += weights[inside]
    return np.asarray(found / total, dtype=np.float32)


def _turns(
    talks: NDArray[np.int32],
    shares: Floats,
    both: NDArray[np.bool_],
    speech: Sequence[Segment],
    activity: LocalActivity,
    gap: float,
) -> tuple[ClusterTurn, ...]:
    """Frames to turns within `speech`, cut where `speech` is."""
    beside = np.where(both, shares[::-1], 0)  # what the other one has who talks too
    own = shares / np.maximum(1 - beside, 1e-9)
    found: list[tuple[float, float, int, float]] = []
    whole = set(speech)
    for label in np.unique(talks):
        at = np.stack([talks[0] == label, both & (talks[1] == label)])
        runs = intersect(activity.segments(np.asarray(at.any(0))), speech)
        heard = union((run for run in runs if run.duration >= _SHORTEST or run in whole), gap)
        mean = np.concatenate([[0.0], np.cumsum(np.where(at, own, 0).max(0))])
        frames = np.concatenate([[0], np.cumsum(at.any(0))])
        for turn in heard:
            first, last = (round((t - activity.lag) / activity.step + 0.5) for t in (turn.start, turn.end))
            first = max(0, min(first, activity.frames - 1))
            last = max(first + 1, min(last, activity.frames))
            share = (mean[last] - mean[first]) / max(1, frames[last] - frames[first])
            found.append((turn.start, turn.end, int(label), min(1.0, round(float(share), 3))))
    return tuple(ClusterTurn(round_time(a), round_time(b), label, share) for a, b, label, share in sorted(found))

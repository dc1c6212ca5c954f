"""Labelled windows and local speakers to turns, two at a time where two speak (docs/method/turns.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from diarize.activity import LocalActivity
from diarize.config import SegmentationConfig
from diarize.timeline import intersect, union
from diarize.turns.votes import WindowVotes
from diarize.types import ClusterTurn, Labels, Segment
from diarize.units import round_time

Floats = NDArray[np.float32]

_LEAST_VOTE = 1e-3  # of a window at its ends
_ALONE = 0.5  # probability above which a frame tells which cluster a local speaker is
_FEW_FRAMES = 10  # such frames below which all frames tell it
_PRIOR = 1e-3  # weight of a cluster's size: it decides where nothing tells who the second speaker is
_SHORTEST = 0.1  # s; a shorter run within speech is noise of the scores


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
    Each local speaker of `activity` stands for the clusters that get the votes where it speaks alone, in their
    proportion. A frame's score is that of its local speakers plus `config.votes` times its own votes. The best cluster
    speaks; so does the second where two speak more probably than `config.overlap`. A turn's confidence is the mean
    share of the score that its speaker has beside those who do not speak. Pauses of up to `gap` s belong to a turn.
    """
    used, labels = np.unique(labels, return_inverse=True)
    votes = _FrameVotes(WindowVotes(windows, labels, _LEAST_VOTE, np.float32), activity)
    prior = np.float32(_PRIOR) * np.asarray(np.bincount(labels) / len(labels), dtype=np.float32)

    # Of each frame the two best clusters and their shares of the score; `hop` frames at a time, as memory for all
    # scores would grow with the recording and with the number of clusters.
    clusters: list[Floats] = []
    best = np.zeros((2, activity.frames), np.int32)
    shares = np.zeros((2, activity.frames), np.float32)
    for first in range(0, activity.frames, activity.hop):
        last = min(first + activity.hop, activity.frames)
        clusters += (_clusters(activity, i, votes) for i in range(len(clusters), activity.over(first, last).stop))
        score = _local_scores(activity, clusters, first, last)
        score += np.float32(config.votes) * votes.between(first, last)
        score += prior
        order = np.argsort(-score, axis=1, kind="stable")[:, :2]
        total = np.maximum(score.sum(1, keepdims=True), 1e-9)
        best[: order.shape[1], first:last] = order.T
        shares[: order.shape[1], first:last] = (np.take_along_axis(score, order, axis=1) / total).T
    two = (activity.counts()[:, 2] > config.overlap) & (len(used) > 1)

    # The share of a speaker is of the score without that of the other who speaks: both of two can be certain.
    confidence = shares / np.maximum(1 - np.where(two, shares[::-1], 0), 1e-9)
    result: list[ClusterTurn] = []
    for label in np.unique(best):
        speaks = np.stack([best[0] == label, two & (best[1] == label)])
        own = np.where(speaks, confidence, 0).max(0)
        result += _turns_of(int(used[label]), np.asarray(speaks.any(0)), own, speech, activity, gap)
    return tuple(replace(turn, start=round_time(turn.start), end=round_time(turn.end)) for turn in sorted(result))


def _turns_of(
    label: int,
    speaks: NDArray[np.bool_],
    confidence: Floats,
    speech: Sequence[Segment],
    activity: LocalActivity,
    gap: float,
) -> list[ClusterTurn]:
    """Turns of one cluster within `speech`, from the frames in which it speaks and its confidence in each."""
    runs = intersect(activity.segments(speaks), speech)
    # Short runs are noise, except for those that are all of a short stretch of speech.
    whole = set(speech)
    joined = union((run for run in runs if run.duration >= _SHORTEST or run in whole), gap)

    # Sums up to each frame: the difference of two is the sum between them.
    summed = np.concatenate([[0.0], np.cumsum(confidence)])
    frames = np.concatenate([[0], np.cumsum(speaks)])
    result = []
    for turn in joined:
        first, last = (round((time - activity.lag) / activity.step + 0.5) for time in (turn.start, turn.end))
        first = max(0, min(first, activity.frames - 1))
        last = max(first + 1, min(last, activity.frames))
        mean = float((summed[last] - summed[first]) / max(1, frames[last] - frames[first]))
        result.append(ClusterTurn(turn.start, turn.end, label, min(1.0, round(mean, 3))))
    return result


class _FrameVotes:
    """Votes of the windows, frame by frame: each frame's votes sum to one."""

    def __init__(self, votes: WindowVotes, activity: LocalActivity) -> None:
        self._votes, self._activity = votes, activity
        self._blocks: dict[int, Floats] = {}  # of `hop` frames each: segmentation windows share most of them

    def between(self, start: int, end: int) -> Floats:
        """(end - start, k) of frames start .. end. Later calls may go back by the length of a window, no further."""
        hop = self._activity.hop
        first, last = start // hop, -(-end // hop)
        for past in [block for block in self._blocks if block * hop < start - self._activity.length]:
            del self._blocks[past]
        for block in range(first, last):
            if block not in self._blocks:
                votes = self._votes.at(self._activity.middles(block * hop, (block + 1) * hop))
                self._blocks[block] = np.asarray(votes / votes.sum(1, keepdims=True), dtype=np.float32)
        blocks = np.concatenate([self._blocks[block] for block in range(first, last)])
        return blocks[start - first * hop : end - first * hop]


def _clusters(activity: LocalActivity, i: int, votes: _FrameVotes) -> Floats:
    """(3, k): the shares of the clusters in each local speaker of segmentation window `i`."""
    alone = activity.alone(i)
    alone = np.where(alone > _ALONE, alone, 0)
    weights = np.where(alone.sum(0) < _FEW_FRAMES, activity.speaking(i), alone)
    clusters = weights.T @ votes.between(i * activity.hop, i * activity.hop + activity.length)
    return np.asarray(clusters / np.maximum(clusters.sum(1, keepdims=True), 1e-9), dtype=np.float32)


def _local_scores(activity: LocalActivity, clusters: Sequence[Floats], start: int, end: int) -> Floats:
    """(end - start, k): how probably each cluster speaks by the local speakers, averaged over segmentation windows."""
    weights = activity.weights()[:, None]
    sums = np.zeros((end - start, clusters[0].shape[1]), np.float32)
    total = np.zeros((end - start, 1), np.float32)
    for i in activity.over(start, end):
        offset = i * activity.hop
        a, b = max(start, offset), min(end, offset + activity.length)
        inside, outside = slice(a - offset, b - offset), slice(a - start, b - start)
        sums[outside] += weights[inside] * (activity.speaking(i)[inside] @ clusters[i])
        total[outside] += weights[inside]
    return np.asarray(sums / total, dtype=np.float32)

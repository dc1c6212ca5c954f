"""How sure a log-likelihood ratio is: over the speech of either side, and over the speakers of a calibration.

Both intervals are of 95 %. Neither says anything about conditions that the recordings or the trials do not contain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diarize.library.scoring.calibration import Trials, regression
from diarize.types import Vectors

Floats = NDArray[np.float64]
BLOCKS = 8  # parts of the speech of a side that are left out in turn
FEWEST = 4  # such parts that a side needs
LEVEL = 0.95
RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class LeaveOneOut:
    """An interval around an LLR (natural), and the lowest and highest LLR with one part of the speech left out."""

    low: float
    high: float
    least: float
    most: float
    parts: tuple[int, int]  # of either side


def leave_one_out(
    a: Vectors,
    b: Vectors,
    seconds: tuple[float, float],
    ratio: Callable[[Vectors, Vectors, Floats, Floats], Floats],
    value: float,
) -> LeaveOneOut | None:
    """Delete-a-group jackknife of an LLR `value` over the windows (n, d) and (m, d) of two sides, in order of time.

    Up to `BLOCKS` parts of equal length a side are left out in turn, and `ratio` (rows, rows, seconds, seconds -> LLRs)
    compares the mean of the other windows with the whole other side (Kott 2001, "The delete-a-group jackknife"). The
    deviations are laid around `value`, which may come from another way of pooling. None where a side has too few
    windows.
    """
    sides = [_means_without_a_part(rows) for rows in (a, b)]
    if sides[0] is None or sides[1] is None:
        return None
    (whole_a, left), (whole_b, right) = sides[0], sides[1]
    share_a, share_b = (seconds[i] * (1 - 1 / len(rows)) for i, rows in enumerate((left, right)))
    full = float(ratio(whole_a[None], whole_b[None], np.array([seconds[0]]), np.array([seconds[1]]))[0])
    values_a = ratio(
        left, np.tile(whole_b, (len(left), 1)), np.full(len(left), share_a), np.full(len(left), seconds[1])
    )
    values_b = ratio(
        np.tile(whole_a, (len(right), 1)), right, np.full(len(right), seconds[0]), np.full(len(right), share_b)
    )
    variance = sum((len(v) - 1) / len(v) * float(np.square(v - v.mean()).sum()) for v in (values_a, values_b))
    from scipy.special import stdtrit

    reach = float(stdtrit(len(left) + len(right) - 2, (1 + LEVEL) / 2)) * variance**0.5
    changes = np.concatenate([values_a, values_b]) - full
    parts = len(left), len(right)
    return LeaveOneOut(value - reach, value + reach, value + float(changes.min()), value + float(changes.max()), parts)


def over_speakers(
    trials: Trials, score: float, seconds: tuple[float, float], resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float] | None:
    """Interval of the LLR (natural) of a score over calibrations fitted to resampled speakers of the trials.

    Speakers are drawn with replacement, as in `metrics.bootstrap.speaker_intervals`; each calibration has the form of
    `scoring.calibration`. None where the draws leave too few trials of a kind.
    """
    everyone = sorted({name for pair in trials.speakers for name in pair})
    place = {name: i for i, name in enumerate(everyone)}
    pairs = np.array([[place[a], place[b]] for a, b in trials.speakers])
    q = np.array([1 / a.seconds + 1 / b.seconds for a, b in trials.sides])
    features = np.stack([np.ones(len(q)), trials.scores, q], axis=1)
    target = np.array([1.0, score, 1 / seconds[0] + 1 / seconds[1]])
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(resamples):
        times = np.bincount(rng.integers(0, len(everyone), len(everyone)), minlength=len(everyone))
        weight = np.where(trials.same, times[pairs[:, 0]], times[pairs[:, 0]] * times[pairs[:, 1]])
        rows = np.repeat(np.arange(len(q)), weight)
        truth = trials.same[rows]
        if truth.sum() < 3 or (~truth).sum() < 3:
            continue
        values.append(float(target @ regression(features[rows], truth)))
    if len(values) < resamples / 2:
        return None
    low, high = np.percentile(values, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)


def _means_without_a_part(rows: Vectors) -> tuple[Vectors, Vectors] | None:
    """(unit mean (d,) of all rows (n, d), unit means (k, d) without each of k parts in turn)."""
    count = min(BLOCKS, len(rows) // 2)
    if count < FEWEST:
        return None
    parts = np.array_split(rows.astype(np.float64), count)
    sums = np.stack([part.sum(axis=0) for part in parts])
    without = sums.sum(axis=0) - sums
    means = np.concatenate([sums.sum(axis=0, keepdims=True), without])
    means = (means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return means[0], means[1:]

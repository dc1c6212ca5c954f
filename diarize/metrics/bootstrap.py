"""Confidence intervals by bootstrap, over what is independent: recordings for error rates, speakers for trials."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diarize.metrics.verification import Floats, check_scores

Statistics = Callable[[Floats, Floats], Mapping[str, float]]  # (same, different) -> name -> value


@dataclass(frozen=True, slots=True)
class ConfidenceInterval:
    """A value with its bootstrap interval."""

    value: float
    low: float
    high: float


def ratio_interval(
    parts: Sequence[float], wholes: Sequence[float], resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float] | None:
    """Percentile interval of sum(parts) / sum(wholes) over recordings drawn with replacement; None for fewer than two.

    Whole recordings are drawn, as they are independent (Bisani and Ney 2004, "Bootstrap estimates for confidence
    intervals in ASR performance evaluation"). Draws whose denominator is 0 are left out.
    """
    if len(parts) < 2:
        return None
    drawn = np.array(list(islice(_draws(len(parts), seed), resamples)))
    above, below = np.asarray(parts, float)[drawn].sum(1), np.asarray(wholes, float)[drawn].sum(1)
    if not (below > 0).any():
        return None
    return _percentiles(above[below > 0] / below[below > 0], level)


@dataclass(frozen=True, slots=True)
class RateDifference(ConfidenceInterval):
    """A difference of two rates with its interval. `p`: how probable one at least as far from 0 is by chance."""

    p: float


def ratio_difference(
    one: Sequence[tuple[float, float]],
    two: Sequence[tuple[float, float]],
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> RateDifference | None:
    """The rate of `one` minus that of `two`, by paired bootstrap over recordings; None for fewer than two recordings.

    Both are the (part, whole) of the same recordings, in the same order; a rate is sum(parts) / sum(wholes). In each
    draw both rates are of the same recordings (Bisani and Ney 2004, section 4; their probability of improvement is the
    share of draws below 0). The interval is that of percentiles; `p` is two-sided, twice the smaller share of draws on
    either side of 0, with one more draw counted on it (Davison and Hinkley 1997, equation 4.11). Draws in which a
    denominator is 0 are left out.
    """
    if len(one) < 2:
        return None
    drawn = np.array(list(islice(_draws(len(one), seed), resamples)))
    sums = np.array([one, two], float)[:, drawn].sum(axis=2)  # (systems, draws, part and whole)
    whole = (sums[:, :, 1] > 0).all(axis=0)
    totals = np.array([one, two], float).sum(axis=1)
    if not whole.any() or not (totals[:, 1] > 0).all():
        return None
    first, second = sums[:, whole, 0] / sums[:, whole, 1]
    differences = first - second
    sides = (differences <= 0).sum(), (differences >= 0).sum()
    p = min(1.0, 2 * (1 + int(min(sides))) / (1 + len(differences)))
    value = totals[0, 0] / totals[0, 1] - totals[1, 0] / totals[1, 1]
    return RateDifference(float(value), *_percentiles(differences, level), p)


def speaker_intervals(
    same: ArrayLike,
    different: ArrayLike,
    speakers: tuple[Sequence[str], Sequence[tuple[str, str]]],
    statistics: Statistics,
    resamples: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, ConfidenceInterval]:
    """Each statistic of trials with a percentile interval over speakers: trials that share a speaker are dependent.

    `same` (n,) and `different` (m,) are scores; `speakers` are the speaker of each `same` trial and the two of each
    `different` one. Speakers are drawn with replacement; a trial counts as often as its speaker was drawn, one of two
    speakers as often as both together (product). After Bolle, Ratha and Pankanti 2004, "Error analysis of pattern
    recognition systems - the subsets bootstrap", with both sides of a trial drawn. Draws without a trial of either kind
    are repeated; where all are such, both ends of the interval are NaN. Raises ValueError as `check_scores`.
    """
    same, different = check_scores(same, different)
    everyone = sorted({*speakers[0], *(name for pair in speakers[1] for name in pair)})
    place = {name: i for i, name in enumerate(everyone)}
    one = np.array([place[name] for name in speakers[0]])
    two = np.array([[place[a], place[b]] for a, b in speakers[1]])
    rows: list[Mapping[str, float]] = []
    for drawn in islice(_draws(len(everyone), seed), 100 * resamples):  # so many only where most draws are empty
        if len(rows) == resamples:
            break
        times = np.bincount(drawn, minlength=len(everyone))
        n, m = times[one], times[two[:, 0]] * times[two[:, 1]]
        if n.any() and m.any():
            rows.append(statistics(np.repeat(same, n), np.repeat(different, m)))
    return {
        name: ConfidenceInterval(value, *_percentiles([row[name] for row in rows] or [float("nan")], level))
        for name, value in statistics(same, different).items()
    }


def _draws(units: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Endless samples (units,) of the numbers below `units`, drawn with replacement."""
    rng = np.random.default_rng(seed)
    while True:
        yield rng.integers(0, units, units)


def _percentiles(values: Floats | Sequence[float], level: float) -> tuple[float, float]:
    """The interval in the middle that holds the share `level` of the values."""
    tail = 50 * (1 - level)  # per cent
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)

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

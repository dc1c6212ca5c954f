"""Intervals: as wide as the independent units make them, and the same each time."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest

from diarize.metrics.bootstrap import ratio_difference, ratio_interval, speaker_intervals
from diarize.metrics.verification import Floats


def noisy() -> tuple[Floats, Floats]:
    rng = np.random.default_rng(3)
    return rng.normal(2, 1, 20).round(2), rng.normal(0, 1, 40).round(2)  # rounded: ties


def test_an_interval_holds_the_rate_and_is_the_same_each_time() -> None:
    parts, wholes = [1.0, 2.0, 3.0, 10.0], [20.0, 20.0, 30.0, 40.0]
    ends = ratio_interval(parts, wholes)
    assert ends is not None and ends == ratio_interval(parts, wholes)
    assert ratio_interval(parts, wholes, resamples=3) != ratio_interval(parts, wholes, resamples=3, seed=1)
    assert ends[0] < sum(parts) / sum(wholes) < ends[1]
    assert min(p / w for p, w in zip(parts, wholes, strict=True)) <= ends[0]
    narrow = ratio_interval(parts, wholes, level=0.5)
    assert narrow is not None and ends[0] < narrow[0] < narrow[1] < ends[1]


def test_equal_recordings_leave_no_doubt() -> None:
    assert ratio_interval([1.0] * 5, [4.0] * 5) == (0.25, 0.25)


def test_there_is_no_interval_for_one_recording_or_for_nothing() -> None:
    assert ratio_interval([1.0], [2.0]) is None
    assert ratio_interval([0.0, 0.0], [0.0, 0.0]) is None


def means(same: Floats, different: Floats) -> dict[str, float]:
    return {"same": float(same.mean()), "different": float(different.mean())}


def test_the_bootstrap_draws_speakers_not_trials() -> None:
    """All trials of one speaker say the same: intervals are as wide as for one trial each, however many there are."""
    rng = np.random.default_rng(0)
    centre = rng.normal(0, 1, 30)
    who = [f"s{i}" for i in range(30)]
    pairs = [(f"s{i}", f"s{j}") for i in range(30) for j in range(i)]
    different = [0.0] * len(pairs)
    once = speaker_intervals(centre, different, (who, pairs), means, 300)
    often = speaker_intervals(np.repeat(centre, 50), different, (np.repeat(who, 50).tolist(), pairs), means, 300)
    assert astuple(once["same"]) == pytest.approx(astuple(often["same"]))
    width = often["same"].high - often["same"].low
    assert width == pytest.approx(2 * 1.96 * centre.std() / np.sqrt(30), rel=0.2)
    assert often["same"].low < often["same"].value < often["same"].high


def test_the_bootstrap_gives_the_same_interval_every_time() -> None:
    same, different = noisy()
    speakers = [f"s{i % 5}" for i in range(20)], [(f"s{i % 5}", f"s{(i + 1) % 5}") for i in range(40)]
    first = speaker_intervals(same, different, speakers, means, 50)
    assert first == speaker_intervals(same, different, speakers, means, 50)
    assert first != speaker_intervals(same, different, speakers, means, 50, seed=1)


def test_one_speaker_has_no_interval() -> None:
    found = speaker_intervals([1.0], [0.0], (["a"], [("a", "a")]), means, 5)
    assert (found["same"].low, found["same"].high) == (1, 1)


def counts_of_two(recordings: int, better: float, seed: int = 1) -> tuple[list[tuple[float, float]], ...]:
    """Errors and words of two systems on the same recordings; the second one has fewer errors by a share `better`."""
    rng = np.random.default_rng(seed)
    words = rng.integers(50, 500, recordings)
    errors = rng.binomial(words, rng.uniform(0.05, 0.5, recordings))
    fewer = rng.binomial(errors, 1 - better)
    return tuple([(float(e), float(w)) for e, w in zip(side, words, strict=True)] for side in (errors, fewer))


def test_a_difference_is_that_of_scipys_paired_bootstrap() -> None:
    from scipy.stats import bootstrap

    one, two = counts_of_two(40, 0.1)
    difference = ratio_difference(one, two, resamples=4000)
    assert difference is not None

    def rates(a: Floats, b: Floats, n: Floats, axis: int = -1) -> Floats:
        return np.asarray((a.sum(axis) - b.sum(axis)) / n.sum(axis), np.float64)

    columns = [np.array([pair[0] for pair in one]), np.array([pair[0] for pair in two]), np.array([p[1] for p in one])]
    theirs = bootstrap(columns, rates, paired=True, vectorized=True, method="percentile", n_resamples=4000, rng=3)
    assert difference.value == pytest.approx(float(rates(columns[0], columns[1], columns[2])))
    spread = difference.high - difference.low
    assert difference.low == pytest.approx(theirs.confidence_interval.low, abs=0.05 * spread)
    assert difference.high == pytest.approx(theirs.confidence_interval.high, abs=0.05 * spread)
    assert difference.p == 2 / 4001  # better in every draw


def test_systems_that_differ_by_chance_have_a_uniform_p() -> None:
    """Errors of both are drawn from the same rates: p is below 0.1 in about a tenth of the trials."""
    ps = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        rates = rng.uniform(0.1, 0.4, 30)
        sides = [[(float(e), 200.0) for e in rng.binomial(200, rates)] for _ in range(2)]
        difference = ratio_difference(sides[0], sides[1], resamples=400)
        assert difference is not None
        ps.append(difference.p)
    assert 0.04 < np.mean(np.array(ps) < 0.1) < 0.2 and 0.35 < np.mean(np.array(ps) < 0.5) < 0.65


def test_equal_systems_and_too_few_recordings() -> None:
    one, _ = counts_of_two(5, 0.0)
    difference = ratio_difference(one, one)
    assert difference is not None and (difference.value, difference.low, difference.high, difference.p) == (0, 0, 0, 1)
    assert ratio_difference(one[:1], one[:1]) is None and ratio_difference([(1, 0)] * 3, [(1, 0)] * 3) is None

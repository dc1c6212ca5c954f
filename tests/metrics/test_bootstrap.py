"""Intervals: as wide as the independent units make them, and the same each time."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest

from diarize.metrics.bootstrap import ratio_interval, speaker_intervals
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

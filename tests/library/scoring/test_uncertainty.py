"""Intervals of a log-likelihood ratio."""

from __future__ import annotations

import numpy as np

from diarize.library.scoring import uncertainty
from diarize.library.scoring.calibration import Side, Trials


def rows(n: int, spread: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = np.eye(1, 16)[0] + spread * rng.standard_normal((n, 16))
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


def ratio(a: np.ndarray, b: np.ndarray, s: np.ndarray, t: np.ndarray) -> np.ndarray:
    return np.asarray(10 * np.einsum("nd,nd->n", a.astype(np.float64), b.astype(np.float64)) - 5 + 0 * (s + t))


def test_more_alike_windows_give_a_narrower_interval() -> None:
    widths = []
    for spread in (0.05, 0.3):
        result = uncertainty.leave_one_out(rows(24, spread, 0), rows(24, spread, 1), (20.0, 20.0), ratio, 3.0)
        assert result is not None and result.low < 3.0 < result.high and result.parts == (8, 8)
        widths.append(result.high - result.low)
    assert widths[0] < widths[1]
    assert uncertainty.leave_one_out(rows(3, 0.1, 0), rows(24, 0.1, 1), (2.0, 20.0), ratio, 3.0) is None


def test_the_interval_over_speakers_holds_the_fitted_value() -> None:
    rng = np.random.default_rng(0)
    names = [f"s{i}" for i in range(20)]
    pairs = [(a, a) for a in names for _ in range(3)] + [(a, b) for a in names for b in names if a < b]
    same = np.array([a == b for a, b in pairs])
    scores = np.where(same, 0.7, 0.2) + 0.2 * rng.standard_normal(len(pairs))
    side = Side(10.0, 8000.0)
    trials = Trials(scores, same, tuple(pairs), ((side, side),) * len(pairs))
    interval = uncertainty.over_speakers(trials, 0.7, (10.0, 10.0), resamples=50)
    assert interval is not None and 0 < interval[0] < interval[1]
    assert interval == uncertainty.over_speakers(trials, 0.7, (10.0, 10.0), resamples=50)  # by a fixed seed
    few = Trials(scores[:4], same[:4], tuple(pairs[:4]), ((side, side),) * 4)
    assert uncertainty.over_speakers(few, 0.7, (10.0, 10.0), resamples=20) is None

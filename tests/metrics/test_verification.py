"""Metrics on scores: against cases worked by hand, against scikit-learn and pyannote.metrics."""

from __future__ import annotations

from math import inf, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarize.metrics import verification

SAME = [1.0, 2.0, 3.0, 4.0]
DIFFERENT = [-1.0, 0.0, 1.5, 0.5]

scores = st.lists(st.floats(-20, 20).map(lambda x: round(x, 1)), min_size=1, max_size=30)


def noisy(seed: int = 0, n: int = 300, m: int = 2000) -> tuple[verification.Floats, verification.Floats]:
    rng = np.random.default_rng(seed)
    return rng.normal(2, 1, n).round(2), rng.normal(0, 1, m).round(2)  # rounded: ties


def test_rates_are_counted_at_every_score() -> None:
    found = verification.error_curve(SAME, DIFFERENT)
    assert found.thresholds.tolist() == [-1, 0, 0.5, 1, 1.5, 2, 3, 4, inf]
    assert found.miss.tolist() == [0, 0, 0, 0, 0.25, 0.25, 0.5, 0.75, 1]
    assert found.false_alarm.tolist() == [1, 0.75, 0.5, 0.25, 0.25, 0, 0, 0, 0]
    assert verification.errors_at(SAME, DIFFERENT, 1.5) == (0.25, 0.25)
    assert verification.errors_at(SAME, DIFFERENT, 1.6) == (0.25, 0.0)


def test_the_equal_error_rate_lies_between_points_of_the_curve() -> None:
    assert verification.equal_error(SAME, DIFFERENT) == (0.25, 1.5)
    # from (miss 0, false alarm 1/2) straight to (2/3, 0), as two and one are tied at 1: equal at 2/7
    assert verification.equal_error([1, 1, 3], [0, 1])[0] == pytest.approx(2 / 7)
    assert verification.equal_error([5, 6], [1, 2])[0] == 0
    assert verification.equal_error([1, 2], [5, 6])[0] == 1
    assert verification.equal_error([1, 1], [1, 1])[0] == 0.5  # nothing but ties: chance


def test_the_equal_error_rate_is_that_of_scikit_learn() -> None:
    from scipy.optimize import brentq
    from sklearn.metrics import roc_curve

    same, different = noisy()
    truth = np.repeat([1, 0], [len(same), len(different)])
    false_alarm, hit, _ = roc_curve(truth, np.concatenate([same, different]), drop_intermediate=False)
    expected = brentq(lambda x: 1 - x - np.interp(x, false_alarm, hit), 0, 1)
    assert verification.equal_error(same, different)[0] == pytest.approx(expected, abs=1e-9)


def test_rates_are_those_of_scikit_learn_and_of_pyannote() -> None:
    from sklearn.metrics import det_curve

    same, different = noisy(1)
    truth, values = np.repeat([1, 0], [len(same), len(different)]), np.concatenate([same, different])
    false_alarm, miss, thresholds = det_curve(truth, values)
    for f, m, threshold in list(zip(false_alarm, miss, thresholds, strict=True))[::37]:
        assert list(verification.errors_at(same, different, threshold)) == pytest.approx([m, f])
    binary = pytest.importorskip("pyannote.metrics.binary_classification")
    assert verification.equal_error(same, different)[0] == pytest.approx(binary.det_curve(truth, values)[3], abs=2e-3)


def test_the_detection_cost_is_one_for_who_does_not_listen() -> None:
    assert verification.detection_cost([1.0, 0.0], [0.0, 1.0], 0.01).tolist() == pytest.approx([1, 99])
    assert float(verification.detection_cost(0.1, 0.002, 0.01)) == pytest.approx(0.1 + 0.002 * 99)
    assert verification.min_dcf(SAME, DIFFERENT, 0.5) == (0.25, 1.0)
    assert verification.min_dcf(SAME, DIFFERENT, 0.01) == (0.25, 2.0)  # false alarms cost 99 times as much
    assert verification.effective_prior(0.01, 10, 1) == pytest.approx(0.1 / (0.1 + 0.99))
    with pytest.raises(ValueError, match="a prior lies between 0 and 1"):
        verification.min_dcf(SAME, DIFFERENT, 1.0)


def test_the_actual_cost_is_taken_at_the_threshold_of_theory() -> None:
    assert verification.bayes_threshold(0.5) == 0
    assert verification.bayes_threshold(0.01) == pytest.approx(log(99))
    assert verification.actual_dcf(SAME, DIFFERENT, 0.5) == pytest.approx(0 + 0.75)  # at 0: three of four accepted
    assert verification.actual_dcf([5.0, 4.0], [0.0, 1.0], 0.01) == pytest.approx(0.5)  # log(99) is 4.6: one missed


def test_cllr_of_hand_made_ratios() -> None:
    assert verification.cllr([0.0], [0.0]) == pytest.approx(1)  # says nothing
    assert verification.cllr([log(3)], [-log(3)]) == pytest.approx(np.log2(4 / 3))
    assert verification.cllr([inf], [-inf]) == 0
    assert verification.cllr([log(3)], [log(3)]) == pytest.approx((np.log2(4 / 3) + 2) / 2)
    assert verification.cllr([-inf], [-inf]) == inf  # sure and wrong


def test_pooling_adjacent_violators_by_hand() -> None:
    # in order of score: D D (S D) S S: the pair is pooled, 1 of 2; the rest is certain
    same, different = verification.pav([2.0, 4.0, 5.0], [0.0, 1.0, 3.0])
    assert same.tolist() == [0, inf, inf]
    assert different.tolist() == [-inf, -inf, 0]
    assert verification.cllr_min([2.0, 4.0, 5.0], [0.0, 1.0, 3.0]) == pytest.approx(1 / 3)
    assert verification.cllr_min([1.0, 1.0], [1.0]) == pytest.approx(1)


@given(scores, scores)
def test_no_rising_function_of_the_scores_costs_less_than_cllr_min(same: list[float], different: list[float]) -> None:
    least = verification.cllr_min(same, different)
    assert least <= 1 + 1e-9
    for a, b in [(1.0, 0.0), (0.3, -1.0), (3.0, 1.0)]:
        assert least <= verification.cllr(a * np.array(same) + b, a * np.array(different) + b) + 1e-9
    assert least == pytest.approx(verification.cllr_min(np.array(same) ** 3, np.array(different) ** 3))


@given(scores, scores)
def test_no_threshold_costs_less_than_the_lowest_cost(same: list[float], different: list[float]) -> None:
    for prior in (0.01, 0.5):
        least, threshold = verification.min_dcf(same, different, prior)
        assert least <= min(1, verification.actual_dcf(same, different, prior)) + 1e-12
        assert least == pytest.approx(
            float(verification.detection_cost(*verification.errors_at(same, different, threshold), prior))
        )


def test_a_det_curve_of_normal_scores_is_a_straight_line() -> None:
    from scipy.special import ndtri

    centres = (np.arange(5000) + 0.5) / 5000
    false_alarm, miss = verification.det(ndtri(centres) + 2, ndtri(centres))
    inner = (np.abs(miss) < 1.5) & (np.abs(false_alarm) < 2)
    assert np.abs(false_alarm + miss + 2)[inner].max() < 0.01
    assert [len(x) for x in verification.det([5, 6], [1, 2])] == [0, 0]  # nothing between 0 and 1


def test_a_tippett_plot_falls_from_all_to_few() -> None:
    values, same, different = verification.tippett(SAME, DIFFERENT)
    assert values.tolist() == [-1, 0, 0.5, 1, 1.5, 2, 3, 4]
    assert same.tolist() == [1, 1, 1, 1, 0.75, 0.75, 0.5, 0.25]
    assert different.tolist() == [1, 0.75, 0.5, 0.25, 0.25, 0, 0, 0]


@pytest.mark.parametrize(
    ("same", "different", "problem"),
    [
        ([], [1.0], "at least one same-speaker trial"),
        ([1.0], [], "at least one different-speaker trial"),
        ([np.nan], [1.0], "same-speaker scores that are not finite"),
        ([1.0], [inf], "different-speaker scores that are not finite"),
        ([[1.0]], [1.0], "shape"),
    ],
)
def test_scores_must_be_there_and_finite(same: list[float], different: list[float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        verification.error_curve(same, different)

"""Measures of evidence against values that can be computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from diarize.metrics import evidence, verification


def test_misleading_evidence_is_counted_on_both_sides() -> None:
    wrong = evidence.misleading([1.0, -0.5, 2.0, 3.0], [-1.0, 2.5])
    assert (wrong.same, wrong.different) == (0.25, 0.5)
    assert (wrong.strongest_same, wrong.strongest_different) == (-0.5, 2.5)
    assert evidence.misleading([1.0], [-1.0]).strongest_different == 0.0


def test_cross_entropy_at_even_odds_is_cllr() -> None:
    same, different = [2.0, 0.3, -0.2], [-3.0, 0.1]
    [value] = evidence.empirical_cross_entropy(same, different, [0.0])
    assert value == pytest.approx(verification.cllr(same, different))
    assert evidence.cllr_cal(same, different) == pytest.approx(value - verification.cllr_min(same, different))


def test_without_evidence_cross_entropy_is_the_entropy_of_the_prior() -> None:
    curves = evidence.ece_curves([5.0, 4.0], [-5.0, -4.0], [-1.0, 0.0, 1.0])
    p = 1 / 11
    entropy = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    assert curves[2].tolist() == pytest.approx([entropy, 1.0, entropy])
    assert (curves[1] <= curves[0] + 1e-12).all() and curves[1].max() == pytest.approx(0)


def test_the_rule_of_three() -> None:
    assert evidence.rule_of_three(300) == 0.01 and evidence.rule_of_three(0) == 1.0

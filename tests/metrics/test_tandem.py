"""The t-DCF on scores whose errors are known."""

from __future__ import annotations

import pytest

from diarize.metrics.tandem import TandemErrors, min_tandem_cost

PERFECT = TandemErrors(0.0, 0.0, 0.0)


def test_a_perfect_countermeasure_costs_nothing_and_a_useless_one_as_much_as_none() -> None:
    assert min_tandem_cost([1, 2, 3], [-1, -2], PERFECT) == 0
    assert min_tandem_cost([0.0] * 4, [0.0] * 4, PERFECT) == pytest.approx(1.0)
    assert min_tandem_cost([-1, -2], [1, 2], PERFECT) == pytest.approx(1.0)  # accept all


def test_the_costs_of_asvspoof_2019() -> None:
    # One of four people is missed, no spoof accepted: C1 / 4 over C2, as C2 = 0.5 is the smaller.
    verifier = TandemErrors(0.1, 0.2, 0.3)
    c1 = 0.9405 * (1 - 0.1) - 0.0095 * 10 * 0.2
    c2 = 10 * 0.05 * (1 - 0.3)
    assert min_tandem_cost([-5, 1, 1, 1], [0, 0], verifier) == pytest.approx(c1 / 4 / min(c1, c2))
    # One of four spoofs is accepted, or half of the people rejected.
    assert min_tandem_cost([1, 3], [0, 0, 0, 2], PERFECT) == pytest.approx(min(0.5 / 4, 0.9405 / 2) / 0.5)


def test_a_verifier_that_lets_nobody_in_has_no_cost() -> None:
    with pytest.raises(ValueError, match="no meaning"):
        min_tandem_cost([1], [0], TandemErrors(1.0, 0.5, 0.0))

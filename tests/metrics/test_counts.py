"""Counts that add, and what is told from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarize.metrics.counts import Jaccard, Share, WordErrors, jaccard, word_diarization_errors


@pytest.mark.parametrize("kind", [Share, Jaccard, WordErrors])
def test_counts_add_and_rates_do_not(kind: type[Share]) -> None:
    one = kind(1, 2)
    assert one + one == kind(2, 4)
    assert sum([one, one, one]) == kind(3, 6)
    with pytest.raises(TypeError):
        sum([one.rate, one])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        one + 0.5  # type: ignore[operator]


def test_counts_of_two_kinds_do_not_add() -> None:
    with pytest.raises(TypeError, match="Share can only be added to Share, not to Jaccard"):
        Share(1, 2) + Jaccard(1, 2)  # type: ignore[operator]


def test_a_pooled_rate_is_that_of_the_sums() -> None:
    assert (Share(1, 10) + Share(9, 10)).rate == 0.5
    assert (Share(1, 1) + Share(0, 99)).rate == 0.01  # a mean of rates would be 0.5


def test_rates_without_anything_below_the_line() -> None:
    assert Share().rate is None
    assert WordErrors().rate is None
    assert WordErrors(insertions=3).rate == float("inf")
    assert WordErrors(1, 1, 2, 8).rate == 0.5


def test_jaccard_by_hand() -> None:
    # reference A 10 s, B 4 s; hypothesis 1 has 8 s of A and 2 s of nobody, 2 has 1 s of B
    shared = np.array([[8.0, 0.0], [0.0, 1.0]])
    found = jaccard(shared, np.array([10.0, 4.0]), np.array([10.0, 1.0]))
    assert found.errors == pytest.approx((1 - 8 / 12) + (1 - 1 / 4)) and found.speakers == 2


def test_jaccard_pairs_by_the_smallest_error_not_by_the_longest_shared_time() -> None:
    # Longest shared time pairs A with 1 and B with 2 (10 + 0.1 s); Jaccard errors are smaller the other way round.
    shared = np.array([[10.0, 9.95], [9.95, 10.0]])
    reference, hypothesis = np.array([10.0, 100.0]), np.array([100.0, 10.0])
    errors = 1 - shared / (reference[:, None] + hypothesis[None, :] - shared)
    assert jaccard(shared, reference, hypothesis).errors == pytest.approx(errors[0, 1] + errors[1, 0])
    assert errors[0, 1] + errors[1, 0] < errors[0, 0] + errors[1, 1]


def test_jaccard_where_one_side_is_silent() -> None:
    none = np.zeros(0)
    assert jaccard(np.zeros((2, 0)), np.array([1.0, 2.0]), none).rate == 1.0
    assert jaccard(np.zeros((0, 2)), none, np.array([1.0, 2.0])).rate == 1.0
    assert jaccard(np.zeros((0, 0)), none, none).rate == 0.0
    # a recording without reference speech does not count when others have some
    assert (Jaccard(0.0, 0, 2) + Jaccard(0.5, 2, 0)).rate == 0.25


def test_wder_by_hand() -> None:
    pairs = [("A", "1")] * 5 + [("A", "2")] * 2 + [("B", "2")] * 3 + [("B", None)]
    assert word_diarization_errors(pairs) == Share(3, 11)


def test_wder_pairs_one_to_one() -> None:
    assert word_diarization_errors([("A", "1"), ("B", "1"), ("B", "1")]) == Share(1, 3)
    assert word_diarization_errors([("A", "1"), ("A", "2"), ("A", "2")]) == Share(1, 3)


def test_wder_of_nothing_and_of_nobody() -> None:
    assert word_diarization_errors([]) == Share(0, 0)
    assert word_diarization_errors([("A", None), ("B", None)]) == Share(2, 2)


@given(st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from(["1", "2", None])), max_size=30))
def test_wder_is_the_best_of_all_pairings(pairs: list[tuple[str, str | None]]) -> None:
    wrong = min(
        sum(heard is None or names[heard] != told for told, heard in pairs)
        for names in ({"1": "A", "2": "B"}, {"1": "B", "2": "A"})
    )
    assert word_diarization_errors(pairs) == Share(wrong, len(pairs))

"""Ways of scoring two voices."""

from __future__ import annotations

import numpy as np
import pytest

from diarize.library.scoring import scores
from diarize.types import Vectors


def unit(rows: np.ndarray) -> Vectors:
    found: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return found


RNG = np.random.default_rng(0)
COHORT = unit(RNG.random((30, 16)))
A, B = unit(RNG.random((5, 16))), unit(RNG.random((5, 16)))


def test_the_cosine_of_unit_vectors() -> None:
    rows = unit(np.array([[1.0, 0], [1, 1], [1, 0]]))
    assert scores.Cosine()(rows, unit(np.array([[1.0, 0], [1, 0], [0, 1]]))) == pytest.approx([1, 0.5**0.5, 0])


def test_half_of_the_mean_is_taken_off() -> None:
    scorer = scores.centred(COHORT)
    half = COHORT.astype(np.float64).mean(axis=0) / 2
    a, b = A[0] - half, B[0] - half
    assert scorer(A, B)[0] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-5)


def test_another_share_of_the_mean_is_taken_off() -> None:
    scorer = scores.centred(COHORT, share=1.0)
    mean = COHORT.astype(np.float64).mean(axis=0)
    a, b = A[0] - mean, B[0] - mean
    assert scorer(A, B)[0] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-5)


def test_a_channel_that_was_learned_no_longer_moves_a_score() -> None:
    direction = RNG.normal(size=16)
    direction /= np.linalg.norm(direction)
    moved = COHORT.astype(np.float64) + np.outer(RNG.uniform(0.2, 0.6, 30), direction)
    scorer = scores.centred(COHORT, [(COHORT, moved.astype(np.float32))], directions=1)
    through = (A + 0.5 * direction).astype(np.float32)
    assert scorer(through, A) == pytest.approx(np.ones(5), abs=1e-4)
    assert scores.centred(COHORT)(through, A).max() < 0.99
    assert np.abs(scorer.channels @ direction) == pytest.approx([1], abs=1e-4)


def test_moved_rows_are_what_a_search_can_use() -> None:
    scorer = scores.centred(COHORT, [(COHORT, COHORT[::-1])])
    rows = scorer.transform(A)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(5))
    assert (rows * scorer.transform(B)).sum(axis=1) == pytest.approx(scorer(A, B))


def test_s_norm_by_hand() -> None:
    cohort = unit(np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]))
    a, b = unit(np.array([[3.0, 2, 1]])), unit(np.array([[1.0, 1, 0]]))
    raw = float((a * b).sum())
    found = []
    for side in (a[0], b[0]):
        best = np.sort(side)[-2:]  # scores with the cohort are the coordinates
        found.append((raw - best.mean()) / max(best.std(), 1e-6))
    assert scores.SNorm(cohort, top=2)(a, b) == pytest.approx([sum(found) / 2], rel=1e-4)


def test_s_norm_takes_a_common_shift_off() -> None:
    plain = scores.SNorm(COHORT)(A, B)
    assert np.std(plain) > 0
    assert scores.SNorm(COHORT[::-1])(A, B) == pytest.approx(plain)


def test_each_way_has_an_identity_of_its_own() -> None:
    ways: list[scores.Scorer] = [
        scores.Cosine(),
        scores.centred(COHORT),
        scores.centred(COHORT[1:]),
        scores.centred(COHORT, [(COHORT, COHORT[::-1])]),
        scores.centred(COHORT, share=1.0),
        scores.SNorm(COHORT),
        scores.SNorm(COHORT, top=5),
        scores.SNorm(COHORT[1:]),
    ]
    assert len({way.kind for way in ways}) == len(ways)
    assert scores.centred(COHORT).kind == scores.centred(COHORT.copy()).kind


def test_one_voice_is_no_cohort() -> None:
    for make in (scores.centred, scores.SNorm):
        with pytest.raises(ValueError, match="at least two voices"):
            make(COHORT[:1])
    with pytest.raises(ValueError, match="needs channels"):
        scores.Centred(np.zeros(4), np.zeros((1, 3)))


def test_many_vectors_are_scored_without_being_moved() -> None:
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((200, 24)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    way = scores.centred(rows[:80], [(rows[80:120], rows[120:160])])
    whole = scores.centred(rows[:80], [(rows[80:120], rows[120:160])], share=1.0)
    for scorer in (way, whole, scores.centred(rows[:80]), scores.Cosine()):
        moved = scorer.transform(rows[:3])
        assert scorer.score_many(moved, rows) == pytest.approx(moved @ scorer.transform(rows).T, abs=1e-5)

"""Adaptation learns what it should from vectors that were made so, and chooses nothing by chance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from diarize.library.scoring import adaptation


def domain(speakers: int = 24, each: int = 6, shift: float = 0.0, stretch: float = 1.0) -> tuple[np.ndarray, list[str]]:
    """Unit vectors of speakers, all moved by `shift` in one direction, one other direction stretched by channels."""
    rng = np.random.default_rng(0)
    voices = rng.standard_normal((speakers, 16))
    rows = np.repeat(voices, each, axis=0) + 0.7 * rng.standard_normal((speakers * each, 16))
    rows[:, 0] += shift
    rows[:, 1] += stretch * rng.standard_normal(len(rows))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), [
        f"s{i:02}" for i in range(speakers) for _ in range(each)
    ]


def test_the_best_method_is_chosen() -> None:
    rates = {"cosine": 0.1, "centred 0.5": 0.08, "centred 1.0": 0.07, "plda": 0.01}
    assert adaptation.choose(rates, ("cosine", "centred 0.5", "centred 1.0")) == "centred 1.0"
    assert set(adaptation.measure(*domain(shift=3.0))) == set(adaptation.METHODS)


def test_what_channels_change_counts_less_with_names() -> None:
    rates = adaptation.measure(*domain(shift=0.0, stretch=5.0))
    assert rates["plda"] < 0.8 * rates["cosine"]


def test_nothing_is_chosen_for_a_gain_by_chance() -> None:
    rates = adaptation.measure(*domain(stretch=0.0))
    assert (
        adaptation.choose(rates, ("cosine", "centred 0.5")) == "cosine" or rates["centred 0.5"] < 0.95 * rates["cosine"]
    )
    assert adaptation.choose({"cosine": 0.1, "centred 0.5": 0.097}, ("cosine", "centred 0.5")) == "cosine"


def test_whitened_vectors_have_equal_deviations() -> None:
    vectors, _ = domain(speakers=200, stretch=3.0)
    whitened = adaptation.whiten(vectors.astype(np.float64))
    moved = (vectors - whitened.mean) @ whitened.matrix
    assert np.abs(np.cov(moved.T) - np.eye(16)).max() < 0.15


def test_two_covariances_are_the_ratio_of_two_gaussians() -> None:
    vectors, speakers = domain()
    model = adaptation.two_covariances(vectors.astype(np.float64), speakers)
    # b = between, w = within, from q and p: total^-1 - inner and total^-1 b inner.
    a, b = vectors[:5], vectors[7:12]
    names = sorted(set(speakers))
    means = np.stack([vectors[[s == name for s in speakers]].mean(axis=0) for name in names]).astype(np.float64)
    scores = model(a, b)
    assert np.allclose(scores, model(b, a))
    assert np.argmax(model(np.repeat(vectors[:1], 24, 0), means.astype(np.float32))) == 0
    between = 0.04 * np.eye(2)
    within = np.array([[0.02, 0.005], [0.005, 0.01]])
    total = np.linalg.inv(between + within)
    inner = np.linalg.inv(between + within - between @ total @ between)
    exact = adaptation.TwoCovariances(np.zeros(2), total - inner, total @ between @ inner)
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2, 9, 2)) * 0.3
    own = np.block([[between + within, between], [between, between + within]])
    other = np.block([[between + within, np.zeros((2, 2))], [np.zeros((2, 2)), between + within]])
    joint = np.concatenate([x, y], axis=1)
    ratio = multivariate_normal.logpdf(joint, cov=own) - multivariate_normal.logpdf(joint, cov=other)
    assert np.ptp(ratio - exact(x, y) / 2) < 1e-8  # equal but for a constant and a factor


def test_aligned_vectors_have_the_covariance_of_the_other_domain() -> None:
    a, b = (domain(speakers=200, stretch=stretch)[0].astype(np.float64) for stretch in (3.0, 0.0))
    moved = (a - a.mean(axis=0)) @ adaptation.alignment(a, b)
    assert np.abs(np.cov(moved.T) - np.cov(b.T)).max() < 0.1 * np.cov(b.T).max()


def test_a_covariance_is_enlarged_and_never_made_smaller() -> None:
    rng = np.random.default_rng(2)
    one, other = (x @ x.T / 8 + 0.1 * np.eye(6) for x in rng.standard_normal((2, 6, 8)))
    larger = adaptation.enlarge(one, other)
    assert np.linalg.eigvalsh(larger - one).min() > -1e-9
    assert np.allclose(adaptation.enlarge(one, one), one) and np.allclose(adaptation.enlarge(one, 0.5 * one), one)
    assert np.allclose(adaptation.enlarge(one, 3 * one), 3 * one)


def test_a_source_with_names_helps_a_domain_without() -> None:
    """Both domains have a direction that channels change; the domain's deviations are turned and longer."""
    vectors, speakers = domain(stretch=5.0)
    turn = np.linalg.qr(np.random.default_rng(5).standard_normal((16, 16)))[0]
    turn[:, :4] *= 3
    other = vectors @ turn.astype(np.float32) + np.float32(0.5)
    rates = adaptation.measure(other, speakers, adaptation.SourceDomain(vectors, speakers))
    assert set(rates) == {*adaptation.METHODS, *adaptation.WITH_SOURCE}
    assert rates["coral plda"] < 0.9 * rates["source plda"]


@pytest.mark.parametrize("method", ["plda", "nothing", *adaptation.WITH_SOURCE])
def test_what_cannot_be_learned_is_refused(method: str) -> None:
    with pytest.raises(ValueError, match=r"plda needs|no method|needs a source"):
        adaptation.fit(method, np.eye(4, dtype=np.float32))

"""A speaker model in another domain, without training: what recordings of that domain tell about its vectors.

    cosine      as it is
    centred     minus the mean of the domain, half of it or all (`scores.Centred`)
    whitened    deviations from the mean, made equal in all directions: CORAL (Sun, Feng and Saenko 2016,
                arXiv:1511.05547, algorithm 1) towards a set whose covariance is the identity
    s-norm      deviations from the scores with the domain's recordings (`scores.SNorm`)
    plda        two covariances, of one speaker's recordings and of speakers (Garcia-Romero and Espy-Wilson 2011,
                "Analysis of i-vector length normalization", equations 3 and 4); needs names of speakers

Nothing is used because it exists: `measure` tells what each gains on speakers that it was not learned from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diarize.library.scoring import scores
from diarize.metrics.verification import equal_error
from diarize.types import Vectors

Floats = NDArray[np.float64]
Score = Callable[[Vectors, Vectors], Floats]  # (n, d), (n, d) -> (n,)

FOLDS = 4
UNSUPERVISED = ("cosine", "centred 0.5", "centred 1.0", "whitened", "s-norm")
METHODS = (*UNSUPERVISED, "plda")
LEAST_GAIN = 0.05  # share of the EER by which a method must be better than cosine to be chosen


@dataclass(frozen=True, slots=True, eq=False)
class Whitened:
    """The cosine of (x - mean) matrix."""

    mean: Floats
    matrix: Floats

    def __call__(self, a: Vectors, b: Vectors) -> Floats:
        rows = [_unit((np.asarray(x, np.float64) - self.mean) @ self.matrix) for x in (a, b)]
        return np.asarray(np.einsum("nd,nd->n", *rows), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class TwoCovariances:
    """Log-likelihood ratios of vectors x = mean + speaker + rest, both Gaussian: s = a'Qa + b'Qb + 2 a'Pb."""

    mean: Floats
    q: Floats
    p: Floats

    def __call__(self, a: Vectors, b: Vectors) -> Floats:
        x, y = (np.asarray(rows, np.float64) - self.mean for rows in (a, b))
        own = np.einsum("nd,de,ne->n", x, self.q, x) + np.einsum("nd,de,ne->n", y, self.q, y)
        return np.asarray(own + 2 * np.einsum("nd,de,ne->n", x, self.p, y), np.float64)


def fit(method: str, vectors: Vectors, speakers: Sequence[str] | None = None) -> Score:
    """The scores of a method of METHODS, learned from a domain's unit vectors (n, d).

    Raises ValueError for a method that is none, fewer than two vectors, or plda without speakers of several recordings.
    """
    rows = np.asarray(vectors, np.float64)
    if len(rows) < 2:
        raise ValueError(f"{len(rows)} recordings; at least two are needed")
    if method == "cosine":
        return scores.Cosine()
    if method.startswith("centred "):
        return scores.Centred(rows.mean(axis=0), np.zeros((0, rows.shape[1])), float(method.split()[1]))
    if method == "whitened":
        return whiten(rows)
    if method == "s-norm":
        return scores.SNorm(np.asarray(vectors, np.float32))
    if method == "plda":
        if speakers is None:
            raise ValueError("plda needs the names of the speakers")
        return two_covariances(rows, speakers)
    raise ValueError(f"no method is called {method!r}; known: {', '.join(METHODS)}")


def whiten(rows: Floats) -> Whitened:
    """The inverse root of the covariance, drawn towards a multiple of the identity as few recordings demand (Ledoit and
    Wolf 2004)."""
    values, directions = np.linalg.eigh(_covariance(rows))
    matrix = directions / np.sqrt(np.maximum(values, 1e-10))
    return Whitened(rows.mean(axis=0), matrix @ directions.T)


def two_covariances(rows: Floats, speakers: Sequence[str]) -> TwoCovariances:
    """Raises ValueError unless two speakers have two recordings or more."""
    names, index = np.unique(np.array(speakers), return_inverse=True)
    counts = np.bincount(index)
    if (counts >= 2).sum() < 2:
        raise ValueError("plda needs at least two speakers with two recordings or more")
    means = np.stack([rows[index == i].mean(axis=0) for i in range(len(names))])
    mean = means.mean(axis=0)
    rest = (rows - means[index])[counts[index] >= 2]
    within = _covariance(rest) * len(rest) / max(1, len(rest) - int((counts >= 2).sum()))
    # Means of speakers vary by what one speaker's recordings vary, too.
    values, directions = np.linalg.eigh(_covariance(means - mean) - within * (1 / counts).mean())
    between = (directions * np.maximum(values, 1e-6)) @ directions.T
    total = np.linalg.inv(between + within)
    inner = np.linalg.inv(between + within - between @ total @ between)
    return TwoCovariances(mean, total - inner, total @ between @ inner)


def measure(vectors: Vectors, speakers: Sequence[str]) -> dict[str, float]:
    """EER of each method on pairs of speakers that it was not learned from (FOLDS parts of the speakers).

    Raises ValueError where there are fewer than two speakers of several recordings in a part.
    """
    names = sorted(set(speakers))
    part = {name: i % FOLDS for i, name in enumerate(names)}
    folds = np.array([part[name] for name in speakers])
    truth = np.array(speakers)
    rates = {}
    for method in METHODS:
        same: list[Floats] = []
        different: list[Floats] = []
        for fold in range(FOLDS):
            test, learn = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
            score = fit(method, vectors[learn], truth[learn].tolist())
            left, right = np.triu_indices(len(test), 1)
            values = score(vectors[test[left]], vectors[test[right]])
            own = truth[test[left]] == truth[test[right]]
            same.append(values[own])
            different.append(values[~own])
        if not sum(map(len, same)) or not sum(map(len, different)):
            raise ValueError("too few speakers with several recordings to measure anything")
        rates[method] = equal_error(np.concatenate(same), np.concatenate(different))[0]
    return rates


def measure_on(
    score: Score, utterances: Mapping[str, Vectors], trials: Sequence[tuple[bool, str, str]]
) -> float:  # fmt: skip
    """EER of trials (same, utterance, utterance) over vectors (d,) by name."""
    values = score(np.stack([utterances[a] for _, a, _ in trials]), np.stack([utterances[b] for *_, b in trials]))
    same = np.array([trial[0] for trial in trials])
    return equal_error(values[same], values[~same])[0]


def choose(rates: Mapping[str, float], allowed: Sequence[str]) -> str:
    """The best of `allowed`; cosine unless it is clearly worse: nothing is changed for a gain by chance."""
    best = min(allowed, key=lambda method: rates[method])
    return best if rates[best] < (1 - LEAST_GAIN) * rates["cosine"] else "cosine"


def _covariance(rows: Floats) -> Floats:
    from sklearn.covariance import ledoit_wolf

    return np.asarray(ledoit_wolf(rows)[0], np.float64)


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float64)

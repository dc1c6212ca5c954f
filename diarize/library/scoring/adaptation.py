"""A speaker model in another domain, without training: what recordings of that domain tell about its vectors.

    cosine      as it is
    centred     minus the mean of the domain, half of it or all (`scores.Centred`)
    whitened    deviations from the mean, made equal in all directions: CORAL (Sun, Feng and Saenko 2016,
                arXiv:1511.05547, algorithm 1) towards a set whose covariance is the identity
    s-norm      deviations from the scores with the domain's recordings (`scores.SNorm`)
    plda        two covariances, of one speaker's recordings and of speakers (Garcia-Romero and Espy-Wilson 2011,
                "Analysis of i-vector length normalization", equations 3 and 4); needs names of speakers

With a source, recordings of another domain with names of speakers, where those of the domain may have none:

    aligned        the cosine of vectors of the domain, moved to mean and covariance of the source
    source plda    two covariances, learned from the source as it is
    coral plda     the same, learned from vectors of the source that are moved to mean and covariance of the domain
                   (Sun et al., algorithm 1)
    coral+ plda    covariances of the source, larger in directions in which those of coral plda are (Lee, Wang and
                   Koshinaka 2019, arXiv:1812.10260)

Nothing is used because it exists: `measure` tells what each gains on speakers that it was not learned from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

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
WITH_SOURCE = ("aligned", "source plda", "coral plda", "coral+ plda")
LEAST_GAIN = 0.05  # share of the EER by which a method must be better than cosine to be chosen


@dataclass(frozen=True, slots=True, eq=False)
class Whitened:
    """The cosine of (x - mean) matrix + shift."""

    mean: Floats
    matrix: Floats
    shift: Floats | float = 0.0

    def __call__(self, a: Vectors, b: Vectors) -> Floats:
        rows = [_unit((np.asarray(x, np.float64) - self.mean) @ self.matrix + self.shift) for x in (a, b)]
        return np.asarray(np.einsum("nd,nd->n", *rows), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class TwoCovariances:
    """Log-likelihood ratios of vectors x = mean + speaker + rest, both Gaussian: s = a'Qa + b'Qb + 2 a'Pb."""

    mean: Floats
    q: Floats
    p: Floats

    @classmethod
    def of(cls, mean: Floats, between: Floats, within: Floats) -> Self:
        """The model with these covariances of speakers, and of one speaker's recordings."""
        total = np.linalg.inv(between + within)
        inner = np.linalg.inv(between + within - between @ total @ between)
        return cls(mean, total - inner, total @ between @ inner)

    def __call__(self, a: Vectors, b: Vectors) -> Floats:
        x, y = (np.asarray(rows, np.float64) - self.mean for rows in (a, b))
        own = (x @ self.q * x + y @ self.q * y).sum(axis=1)
        return np.asarray(own + 2 * (x @ self.p * y).sum(axis=1), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class SourceDomain:
    """Unit vectors (n, d) of recordings of another domain, and their speakers."""

    vectors: Vectors
    speakers: Sequence[str]


def fit(
    method: str, vectors: Vectors, speakers: Sequence[str] | None = None, source: SourceDomain | None = None
) -> Score:
    """The scores of a method of METHODS or WITH_SOURCE, learned from a domain's unit vectors (n, d).

    Raises ValueError for a method that is none, fewer than two vectors, plda without speakers of several recordings,
    or a method of WITH_SOURCE without a source.
    """
    if method in WITH_SOURCE:
        if source is None:
            raise ValueError(f"{method} needs a source")
        return _fit_with_source(method, np.asarray(vectors, np.float64), source)
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
    raise ValueError(f"no method is called {method!r}; known: {', '.join((*METHODS, *WITH_SOURCE))}")


def _fit_with_source(method: str, rows: Floats, source: SourceDomain) -> Score:
    other = np.asarray(source.vectors, np.float64)
    if method == "aligned":
        return Whitened(rows.mean(axis=0), alignment(rows, other), other.mean(axis=0))
    if method == "source plda":
        return two_covariances(other, source.speakers)
    between, within = covariances(other, source.speakers)
    matrix = alignment(other, rows)
    moved = matrix.T @ between @ matrix, matrix.T @ within @ matrix
    if method == "coral+ plda":
        moved = enlarge(between, moved[0]), enlarge(within, moved[1])
    return TwoCovariances.of(rows.mean(axis=0), *moved)


def alignment(rows: Floats, target: Floats) -> Floats:
    """The matrix (d, d) that gives deviations of `rows` from their mean the covariance of `target` (CORAL)."""
    return np.asarray(_power(_covariance(rows), -0.5) @ _power(_covariance(target), 0.5), np.float64)


def enlarge(covariance: Floats, other: Floats) -> Floats:
    """`covariance`, in the directions in which `other` is larger brought to it, and never made smaller.

    That is CORAL+ with all of the difference added (its weights beta and gamma equal to 1).
    """
    root, inverse = _power(covariance, 0.5), _power(covariance, -0.5)
    values, directions = np.linalg.eigh(inverse @ other @ inverse)
    added = (directions * np.maximum(values - 1, 0)) @ directions.T
    return np.asarray(covariance + root @ added @ root, np.float64)


def _power(covariance: Floats, exponent: float) -> Floats:
    values, directions = np.linalg.eigh(covariance)
    return np.asarray((directions * np.maximum(values, 1e-10) ** exponent) @ directions.T, np.float64)


def whiten(rows: Floats) -> Whitened:
    """The inverse root of the covariance, drawn towards a multiple of the identity as few recordings demand (Ledoit and
    Wolf 2004)."""
    return Whitened(rows.mean(axis=0), _power(_covariance(rows), -0.5))


def two_covariances(rows: Floats, speakers: Sequence[str]) -> TwoCovariances:
    """Raises ValueError unless two speakers have two recordings or more."""
    between, within = covariances(rows, speakers)
    return TwoCovariances.of(_means(rows, speakers)[0].mean(axis=0), between, within)


def covariances(rows: Floats, speakers: Sequence[str]) -> tuple[Floats, Floats]:
    """Covariances (d, d) of speakers, and of one speaker's recordings.

    Raises ValueError unless two speakers have two recordings or more.
    """
    means, index = _means(rows, speakers)
    counts = np.bincount(index)
    if (counts >= 2).sum() < 2:
        raise ValueError("plda needs at least two speakers with two recordings or more")
    rest = (rows - means[index])[counts[index] >= 2]
    within = _covariance(rest) * len(rest) / max(1, len(rest) - int((counts >= 2).sum()))
    # Means of speakers vary by what one speaker's recordings vary, too.
    values, directions = np.linalg.eigh(_covariance(means - means.mean(axis=0)) - within * (1 / counts).mean())
    return (directions * np.maximum(values, 1e-6)) @ directions.T, within


def _means(rows: Floats, speakers: Sequence[str]) -> tuple[Floats, NDArray[np.intp]]:
    """The mean (speakers, d) of each speaker, and which one each row is of."""
    names, index = np.unique(np.array(speakers), return_inverse=True)
    return np.stack([rows[index == i].mean(axis=0) for i in range(len(names))]), index


def measure(vectors: Vectors, speakers: Sequence[str], source: SourceDomain | None = None) -> dict[str, float]:
    """EER of each method on pairs of speakers that it was not learned from (FOLDS parts of the speakers).

    With a source, also those of WITH_SOURCE; they learn nothing from the names of the domain's speakers.

    Raises ValueError where there are fewer than two speakers of several recordings in a part.
    """
    names = sorted(set(speakers))
    part = {name: i % FOLDS for i, name in enumerate(names)}
    folds = np.array([part[name] for name in speakers])
    truth = np.array(speakers)
    rates = {}
    for method in (*METHODS, *(WITH_SOURCE if source is not None else ())):
        same: list[Floats] = []
        different: list[Floats] = []
        for fold in range(FOLDS):
            test, learn = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
            score = fit(method, vectors[learn], truth[learn].tolist(), source)
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

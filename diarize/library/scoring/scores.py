"""Two voices -> one score, in four ways (docs/method/scores.md). Rows are unit vectors of one embedder.

    cosine    a.b
    euclidean the distance |a - b|, with a minus: for models whose authors compare vectors so
    centred   the cosine of a' and b', where v' = v - c m - P(v - m): m is the mean of a cohort's voices, c the share of
              it that is taken off, P projects on the directions in which a telephone or a room moved those voices
    s-norm    the cosine, in deviations from what either side scores with a cohort's voices

`kind` is a way's identity, digest of the cohort included: a calibration belongs to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from diarize.types import Vectors

Floats = NDArray[np.float64]

COSINE, EUCLIDEAN = "cosine", "euclidean"
SHARE = 0.5  # of a cohort's mean that is taken off, by measurement with GE2E (docs/method/scores.md)
DIRECTIONS = 3  # of channels, by measurement: more costs accuracy where no channel is in the way
TOP = 100  # cohort voices nearest to a side that s-norm looks at
_DIGITS = 6  # decimals, so that it is the same after it was written


class Scorer(Protocol):
    """(n, d) and (n, d) -> scores (n,) of rows with rows; higher speaks for one speaker."""

    @property
    def kind(self) -> str: ...

    def __call__(self, a: Vectors, b: Vectors) -> Floats: ...


@dataclass(frozen=True, slots=True)
class Cosine:
    kind: str = COSINE

    def __call__(self, a: Vectors, b: Vectors) -> Floats:
        return np.asarray(np.einsum("nd,nd->n", self.transform(a), self.transform(b)), np.float64)

    def transform(self, vectors: Vectors) -> Floats:
        """The rows v' whose inner products are the scores: the vectors as they are."""
        return vectors.astype(np.float64)

    def queries(self, rows: Floats) -> Floats:
        """For transformed rows (k, d) the vectors whose inner products with voices order these as the scores do."""
        return rows

    def score_many(self, rows: Floats, vectors: Vectors) -> Floats:
        """Scores (k, n) of transformed rows (k, d) with many vectors (n, d), in single precision."""
        return np.asarray(rows.astype(np.float32) @ vectors.T, np.float64)


@dataclass(frozen=True, slots=True)
class Euclidean:
    """Minus the distance, so that higher speaks for one speaker; `shown` takes the sign off."""

    kind: str = EUCLIDEAN

    def __call__(self, a: Vectors, b: Vectors) -> Floats:
        return np.asarray(-np.linalg.norm(a.astype(np.float64) - b.astype(np.float64), axis=1), np.float64)


def shown(kind: str, score: float) -> float:
    """A score as people read it: the distance, for scores of the kind euclidean."""
    return -score if kind == EUCLIDEAN else score


@dataclass(frozen=True, slots=True, eq=False)
class Centred:
    """What all voices have in common says nothing about who speaks, and much about the recording: a share of it is
    taken off before voices are compared, and so is what a channel does to voices (nuisance attribute projection,
    Solomonoff, Campbell and Boardman 2005, "Advances in channel compensation for SVM speaker recognition").

    `mean` (d,) is that of many people and nobody's voiceprint; `channels` (r, d) are orthonormal, r may be 0.
    """

    mean: Floats = field(repr=False)
    channels: Floats = field(repr=False)
    share: float = SHARE  # of the mean

    def __post_init__(self) -> None:
        if self.mean.ndim != 1 or self.channels.ndim != 2 or self.channels.shape[1] != len(self.mean):
            raise ValueError(f"a mean (d,) needs channels (r, d), got {self.mean.shape} and {self.channels.shape}")

    @property
    def kind(self) -> str:
        share = [] if self.share == SHARE else [self.share]
        numbers = np.concatenate([self.mean, self.channels.ravel(), share]).astype("<f8")
        return f"centred({sha256(numbers.tobytes()).hexdigest()[:16]})"

    def __call__(self, a: Vectors, b: Vectors) -> Floats:
        return np.asarray(np.einsum("nd,nd->n", self.transform(a), self.transform(b)), np.float64)

    def transform(self, vectors: Vectors) -> Floats:
        """The rows v', of unit length: their inner products are the scores."""
        rows = vectors.astype(np.float64)
        rows = rows - self.share * self.mean - self._project(rows - self.mean)
        return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float64)

    def queries(self, rows: Floats) -> Floats:
        """For transformed rows (k, d) the vectors A a' (see `score_many`) whose inner products with voices order these
        nearly as the scores do: the length of v' is left out.
        """
        return rows - self._project(rows)

    def score_many(self, rows: Floats, vectors: Vectors) -> Floats:
        """Scores (k, n) of transformed rows (k, d) with many vectors (n, d), in single precision; the latter are not
        transformed.

        v' is A v + b over its length, with A = I - P and b = P m - c m, so that
        a'.v' = (A a'.v + a'.b) / sqrt(v.v - |C v|^2 + 2 A b.v + b.b), C being the rows of `channels`.
        """
        k, shift = len(rows), self._project(self.mean[None])[0] - self.share * self.mean
        factors = np.concatenate([self.queries(rows), self.channels, self.queries(shift[None])])
        products = (factors.astype(np.float32) @ vectors.T).astype(np.float64)
        squares = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float32).astype(np.float64)
        lengths = squares - np.square(products[k:-1]).sum(axis=0) + 2 * products[-1] + shift @ shift
        return np.asarray((products[:k] + (rows @ shift)[:, None]) / np.sqrt(np.maximum(lengths, 1e-12)), np.float64)

    def _project(self, rows: Floats) -> Floats:
        """P of each row."""
        return np.asarray(rows @ self.channels.T @ self.channels, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class SNorm:
    """Adaptive symmetric normalisation (Matějka et al. 2017, "Analysis of score normalization in multilingual speaker
    recognition"): each side's scores with the `top` voices of the cohort nearest to it have a mean and a deviation; the
    result is the mean of the score's two distances from them."""

    cohort: Vectors = field(repr=False)  # (c, d)
    top: int = TOP

    def __post_init__(self) -> None:
        if len(self.cohort) < 2:
            raise ValueError(f"a cohort has at least two voices, got {len(self.cohort)}")

    @property
    def kind(self) -> str:
        digest = sha256(np.asarray(self.cohort, "<f4").tobytes()).hexdigest()[:16]
        return f"s-norm({digest},top={min(self.top, len(self.cohort))})"

    def __call__(self, a: Vectors, b: Vectors) -> Floats:
        raw = Cosine()(a, b)
        (mean_a, deviation_a), (mean_b, deviation_b) = self._statistics(a), self._statistics(b)
        return ((raw - mean_a) / deviation_a + (raw - mean_b) / deviation_b) / 2

    def _statistics(self, vectors: Vectors) -> tuple[Floats, Floats]:
        scores = vectors.astype(np.float64) @ self.cohort.astype(np.float64).T
        nearest = np.sort(scores, axis=1)[:, -self.top :]
        return nearest.mean(axis=1), np.maximum(nearest.std(axis=1), 1e-6)


def centred(
    cohort: Vectors,
    channels: Sequence[tuple[Vectors, Vectors]] = (),
    directions: int = DIRECTIONS,
    share: float = SHARE,
) -> Centred:
    """The way of scoring that a cohort's voices (c, d) teach; `share` of their mean is taken off.

    `channels` are pairs (before, after) of the same voices (c, d) through two channels: the `directions` in which they
    differ most, in the mean square, are taken off. Raises ValueError for fewer than two voices.
    """
    if len(cohort) < 2:
        raise ValueError(f"a cohort has at least two voices, got {len(cohort)}")
    mean = np.round(cohort.astype(np.float64).mean(axis=0), _DIGITS)
    if not channels:
        return Centred(mean, np.zeros((0, len(mean))), share)
    differences = np.concatenate([after.astype(np.float64) - before for before, after in channels])
    rows = np.linalg.svd(differences, full_matrices=False)[2][:directions]
    rows *= np.sign(rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)])[:, None]  # signs mean nothing
    return Centred(mean, np.round(rows, _DIGITS), share)

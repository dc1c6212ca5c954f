"""Two voices -> one score, in three ways (docs/scores.md). Rows are unit vectors of one embedder.

    cosine    a.b
    centred   the cosine of a - c and b - c, c being half of the mean of a cohort's voices
    s-norm    the cosine, in deviations from what either side scores with a cohort's voices

`kind` is a way's identity, digest of the cohort included: a calibration belongs to one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from diarize.types import Vectors

Floats = NDArray[np.float64]

COSINE = "cosine"
SHARE = 0.5  # of the cohort's mean that is taken off, by measurement (docs/scores.md)
TOP = 100  # cohort voices nearest to a side that s-norm looks at
_DIGITS = 6  # decimals of a centre, so that it is the same after it was written


class Scorer(Protocol):
    """(n, d) and (n, d) -> scores (n,) of rows with rows; higher speaks for one speaker."""

    @property
    def kind(self) -> str: ...

    def __call__(self, a: Vectors, b: Vectors) -> Floats: ...


@dataclass(frozen=True, slots=True)
class Cosine:
    kind: str = COSINE

    def __call__(self, a: Vectors, b: Vectors) -> Floats:
        return np.asarray(np.einsum("nd,nd->n", a.astype(np.float64), b.astype(np.float64)), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Centred:
    """What all voices have in common says nothing about who speaks, and much about the recording: part of it is taken
    off before voices are compared. The `centre` (d,) is a mean of many people and nobody's voiceprint."""

    centre: Floats = field(repr=False)

    @property
    def kind(self) -> str:
        return f"centred({sha256(np.asarray(self.centre, '<f8').tobytes()).hexdigest()[:16]})"

    def __call__(self, a: Vectors, b: Vectors) -> Floats:
        return np.asarray(np.einsum("nd,nd->n", self.moved(a), self.moved(b)), np.float64)

    def moved(self, vectors: Vectors) -> Floats:
        """Rows less the centre, of unit length: their inner products are the scores."""
        rows = vectors.astype(np.float64) - self.centre
        return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float64)


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


def centred(cohort: Vectors) -> Centred:
    """The way of scoring that a cohort's voices (c, d) give. Raises ValueError for fewer than two."""
    if len(cohort) < 2:
        raise ValueError(f"a cohort has at least two voices, got {len(cohort)}")
    return Centred(np.round(SHARE * cohort.astype(np.float64).mean(axis=0), _DIGITS))

"""Spectral clustering of speaker vectors, the speakers counted by the eigengap (docs/clustering.md).

NME-SC: T. J. Park, K. J. Han, M. Kumar, S. Narayanan, "Auto-tuning spectral clustering for speaker diarization using
normalized maximum eigengap", IEEE Signal Processing Letters 27, 2020, arXiv:2003.02405. Equation numbers are its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diarize.config import ClusterConfig
from diarize.types import Labels, Vectors

Floats = NDArray[np.float64]

_SEED = 0  # of k-means; any would do, but always the same
_TRIES = 10  # starts of k-means, of which the tightest is kept


class Spectral:
    """Unit vectors (n, d) -> labels (n,) 0..k-1, numbered by first appearance."""

    def __init__(self, config: ClusterConfig | None = None) -> None:
        self._config = ClusterConfig() if config is None else config

    @property
    def name(self) -> str:
        """What it is, and every setting that changes its result."""
        settings = ",".join(f"{key}={value}" for key, value in sorted(self._config.model_dump().items()))
        return f"spectral({settings})"

    def __call__(self, vectors: Vectors) -> Labels:
        """Raises ValueError where `vectors` is no finite matrix."""
        if vectors.ndim != 2 or not np.isfinite(vectors).all():
            raise ValueError(f"clustering needs a finite matrix (n, d), got {vectors.shape}")
        fewest, most = bounds(self._config, len(vectors))
        if most <= 1:
            return np.zeros(len(vectors), dtype=np.int64)
        affinity = np.clip(vectors.astype(np.float64) @ vectors.T.astype(np.float64), -1, 1)
        neighbours = _neighbours(affinity, most)
        values, embedding = _spectrum(_binary(affinity, neighbours))
        count = fewest if fewest == most else _gap(values, fewest, most)
        return canonical(_k_means(embedding[:, :count], count))


def bounds(config: ClusterConfig, n: int) -> tuple[int, int]:
    """Fewest and most speakers that `n` windows allow under `config`: no more speakers than windows."""
    fewest, most = config.min_speakers, config.max_speakers
    if config.num_speakers is not None:
        fewest = most = config.num_speakers
    return min(fewest, n), min(most, n)


def canonical(labels: Labels) -> Labels:
    """The same partition, numbered 0.. by first appearance."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def _binary(affinity: Floats, p: int) -> Floats:
    """The p largest of each row set to one, the rest to zero, and symmetrised. (4), (5)"""
    n = len(affinity)
    nearest = np.argpartition(-affinity, p - 1, axis=1)[:, :p]
    kept = np.zeros((n, n))
    np.put_along_axis(kept, nearest, 1.0, axis=1)
    return (kept + kept.T) / 2


def _neighbours(affinity: Floats, most: int) -> int:
    """p that minimises p / normalised maximum eigengap. (9), (10)"""
    n = len(affinity)
    best, chosen = np.inf, 1
    for p in sorted({int(p) for p in np.linspace(2, max(2, n // 4), 20)}):
        values, _ = _spectrum(_binary(affinity, min(p, n)))
        gap = np.diff(values[: most + 1]).max() / (values[-1] + 1e-10)
        if (ratio := p / (gap + 1e-10)) < best:
            best, chosen = ratio, min(p, n)
    return chosen


def _spectrum(weights: Floats) -> tuple[Floats, Floats]:
    """Eigenvalues, rising, and eigenvectors of the Laplacian; each vector's largest entry is positive. (6), (7)"""
    laplacian = np.diag(weights.sum(1)) - weights
    values, vectors = np.linalg.eigh(laplacian)
    signs = np.sign(vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])])
    return values, vectors * signs


def _gap(values: Floats, fewest: int, most: int) -> int:
    """The count in fewest..most behind which the eigenvalues rise most. (8)"""
    gaps = np.diff(values[: most + 1])
    return fewest + int(gaps[fewest - 1 :].argmax())


def _k_means(points: Floats, count: int) -> Labels:
    from sklearn.cluster import KMeans

    fitted = KMeans(count, n_init=_TRIES, random_state=_SEED).fit(points)
    return np.asarray(fitted.labels_, dtype=np.int64)

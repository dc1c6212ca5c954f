"""Spectral clustering of speaker vectors, with the number of speakers (docs/method/clustering.md).

NME-SC: T. J. Park, K. J. Han, M. Kumar, S. Narayanan, "Auto-tuning spectral clustering for speaker diarization using
normalized maximum eigengap", IEEE Signal Processing Letters 27, 2020, arXiv:2003.02405. Equation numbers are its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.clustering import similarity
from diarize.config import ClusterConfig
from diarize.types import Labels, Vectors

Floats = NDArray[np.float64]
Arrays = tuple[NDArray[Any], ...]
# (name of the result, the array it depends on, a number it depends on too, how to compute it) -> the result
Memo = Callable[[str, Floats, int, Callable[[], Arrays]], Arrays]

SEED = 0  # of k-means; its value does not matter, but it is always the same
_NEIGHBOUR_COUNTS = 8  # numbers of neighbours p that are tried
_MOST_ITEMS = 800  # vectors above which centroids of groups are clustered in their place
_GROUP_SAMPLE = 10_000  # vectors that the groups are computed from
_SPECTRUM = 20  # clusters that eigenvectors are computed for at least, so that they serve for other numbers too


def uncached(name: str, depends_on: Floats, count: int, compute: Callable[[], Arrays]) -> Arrays:
    """The `Memo` without a memory."""
    return compute()


def cluster(vectors: Vectors, config: ClusterConfig | None = None, memo: Memo = uncached) -> Labels:
    """Labels (n,) 0..k-1 of unit vectors (n, d) in order of time, of any embedder.

    Numbered by first appearance. `memo` computes, or remembers, what does not depend on the number of speakers. Raises
    ValueError where `vectors` is no finite matrix.
    """
    config = config or ClusterConfig()
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise ValueError(f"clustering needs a finite matrix (n, d), got {vectors.shape}")
    fewest, most = bounds(config, len(vectors))
    if most <= 1:
        return np.zeros(len(vectors), dtype=np.int64)
    centred = similarity.centre(vectors)
    groups, items = _groups(centred, most, memo)
    count, parts = _partition(items, config, fewest, min(most, len(items)), memo)
    labels = parts[groups]
    if fewest < most:
        labels = _refine(centred, labels, groups, config, fewest, most)
    elif count == most:
        labels = similarity.reassign(centred, similarity.canonical(labels))
    return similarity.canonical(labels)


def bounds(config: ClusterConfig, n: int) -> tuple[int, int]:
    """Fewest and most speakers that `n` windows allow under `config`: no more speakers than windows."""
    fewest, most = config.min_speakers, config.max_speakers
    if config.num_speakers is not None:
        fewest = most = config.num_speakers
    return min(fewest, n), min(most, n)


def _refine(vectors: Floats, labels: Labels, groups: Labels, config: ClusterConfig, fewest: int, most: int) -> Labels:
    """Speakers hidden in another's cluster get their own, and clusters of one speaker are merged."""
    labels = similarity.split(vectors, labels, groups, config.split, config.min_windows, most)
    labels = similarity.reassign(vectors, similarity.canonical(labels), neighbours=0.5)
    labels = similarity.canonical(labels)
    labels = similarity.merge(vectors, labels, config.merge, config.single, config.separation, fewest)
    return similarity.reassign(vectors, similarity.canonical(labels))


def _groups(vectors: Floats, most: int, memo: Memo) -> tuple[Labels, Floats]:
    """Each vector's group (n,), and one unit vector a group; few vectors are groups of their own."""
    count = max(_MOST_ITEMS, most)
    if len(vectors) <= count:
        return np.arange(len(vectors)), vectors
    groups, items = memo("groups", vectors, count, lambda: _k_means_groups(vectors, count))
    return groups, items


def _k_means_groups(vectors: Floats, count: int) -> Arrays:
    from sklearn.cluster import KMeans

    n = len(vectors)
    sample = vectors[np.unique(np.linspace(0, n - 1, _GROUP_SAMPLE).astype(np.int64))]
    fitted = KMeans(count, init="random", n_init=1, max_iter=10, random_state=SEED).fit(sample.astype(np.float32))
    centres = similarity.unit(fitted.cluster_centers_.astype(np.float64))
    groups = np.concatenate([(vectors[rows] @ centres.T).argmax(1) for rows in similarity.blocks(n)])
    used, groups = np.unique(groups, return_inverse=True)
    return groups, centres[used]


def _partition(items: Floats, config: ClusterConfig, fewest: int, most: int, memo: Memo) -> tuple[int, Labels]:
    """NME-SC: the number of clusters by the largest eigengap, and spectral clusters (n,) of that number."""
    n = len(items)
    if most >= n or n < 4:
        return (n, np.arange(n)) if fewest >= n else (fewest, _k_means(items, fewest))
    affinity = items @ items.T
    nearest = np.argsort(-affinity, axis=1, kind="stable")
    least = min(config.neighbours, n - 1)
    best, count, best_p, width = np.inf, fewest, 0, max(most, _SPECTRUM)
    for p in sorted({round(p) for p in np.geomspace(least, max(least, n // 4), _NEIGHBOUR_COUNTS)}):
        graph = _laplacian(nearest[:, :p])
        values, largest = memo("eigenvalues", graph, width, partial(_eigenvalues, graph, width))
        gaps = np.round(np.diff(values[: most + 1]) / (float(largest) + 1e-10), 9)  # (9)
        if (ratio := p / (gaps.max() + 1e-10)) < best:  # (10)
            best, best_p = ratio, p
            # Of equal gaps the last: in a graph of several pieces, the first ones are between zeros.
            count = most - int(gaps[fewest - 1 :][::-1].argmax())  # (8)
    if count <= 1:
        return count, np.zeros(n, dtype=np.int64)
    graph = _laplacian(nearest[:, :best_p])
    (vectors,) = memo("eigenvectors", graph, width, partial(_eigenvectors, graph, width))
    return count, _k_means(vectors[:, :count], count)


def _laplacian(nearest: Labels) -> Floats:
    """L = D - A (n, n) of the graph that joins each item to those `nearest` (n, p) to it, made symmetric. (4) to (7)"""
    n = len(nearest)
    neighbours = np.zeros((n, n))
    np.put_along_axis(neighbours, nearest, 1.0, axis=1)
    weights = (neighbours + neighbours.T) / 2
    return np.diag(weights.sum(1)) - weights


def _eigenvalues(laplacian: Floats, most: int) -> Arrays:
    """The `most` + 1 smallest, and the largest. (Solvers for a few of them fail on equal ones.)"""
    values = np.linalg.eigvalsh(laplacian)
    return values[: most + 1], np.array(values[-1])


def _eigenvectors(laplacian: Floats, most: int) -> Arrays:
    """Those of the `most` + 1 smallest eigenvalues: (n, most + 1).

    Each vector's largest entry is positive, so that the same graph gives the same vectors.
    """
    vectors = np.linalg.eigh(laplacian)[1][:, : most + 1]
    signs = np.sign(vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])])
    return (vectors * signs,)


def _k_means(points: Floats, count: int) -> Labels:
    from sklearn.cluster import KMeans

    if count <= 1:
        return np.zeros(len(points), dtype=np.int64)
    return np.asarray(KMeans(count, n_init=10, random_state=SEED).fit_predict(points), dtype=np.int64)

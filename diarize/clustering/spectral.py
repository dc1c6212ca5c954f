"""Clustering of windows: spectral, or a mixture for embedders whose covariances are known (docs/method/clustering.md).

NME-SC: T. J. Park, K. J. Han, M. Kumar, S. Narayanan, "Auto-tuning spectral clustering for speaker diarization using
normalized maximum eigengap", IEEE Signal Processing Letters 27, 2020, arXiv:2003.02405. Equation numbers are its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.clustering import mixture, similarity, splitting
from diarize.clustering.splitting import FewestSpeakers
from diarize.config import ClusterConfig, SegmentationConfig
from diarize.types import Embeddings, Labels, Vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix  # importing it takes a tenth of a second, and few callers need it

Floats = NDArray[np.float64]
Arrays = tuple[NDArray[Any], ...]
# (name of the result, the array it depends on, a number it depends on too, how to compute it) -> the result
Memo = Callable[[str, Floats, int, Callable[[], Arrays]], Arrays]

_SEED = 0  # of k-means; its value does not matter, but it is always the same
_NEIGHBOUR_COUNTS = 8  # numbers of neighbours p that are tried
_MOST_ITEMS = 800  # vectors above which centroids of groups are clustered in their place
_GROUP_SAMPLE = 10_000  # vectors that the groups are computed from
_SPECTRUM = 20  # clusters that eigenvectors are computed for at least, so that they serve for other numbers too
_MIXTURE_LEAST = 50  # windows below which the mixture alone misses more speakers than it saves
_MIXTURE_MOST = 4000  # windows of the mixture: an hour; with a quarter of it, the result depends on the sample
_SAMPLE_RUN = 20  # consecutive windows of a sample: the mixture averages over neighbours
_START_COUNTS = (16, 20, 24, 30, 40)  # clusters that the mixture starts from; with fewer, speakers are missed


def uncached(name: str, depends_on: Floats, count: int, compute: Callable[[], Arrays]) -> Arrays:
    """The `Memo` without a memory."""
    return compute()


class Spectral:
    """The `Clusterer`; the number of speakers is determined within the bounds of `config`."""

    def __init__(
        self,
        config: ClusterConfig | None = None,
        memo: Memo = uncached,
        segmentation: SegmentationConfig | None = None,
    ) -> None:
        """`memo` computes, or remembers, what does not depend on the number of speakers."""
        self._config = ClusterConfig() if config is None else config
        self._memo = memo
        self._segmentation = segmentation

    @property
    def name(self) -> str:
        """What it is, and every setting that changes its result."""
        settings = ",".join(f"{key}={value}" for key, value in sorted(self._config.model_dump().items()))
        return f"spectral({settings})"

    @property
    def seed(self) -> int:
        """The seed of its random numbers, for the provenance."""
        return _SEED

    def __call__(self, voices: Embeddings, activity: LocalActivity = NO_ACTIVITY) -> Labels:
        """Labels (n,) of windows (n), sorted by start. Raises ValueError where the vectors are no finite matrix.

        With `activity`, local speakers of one segmentation window are two people, whatever their vectors say.
        """
        if not activity.windows:
            return self.of_embedder(voices.vectors, voices.model)
        occupancy = splitting.occupancy(voices.segments, activity)
        fewest = partial(splitting.fewest_speakers, activity)
        labels = self.of_embedder(voices.vectors, voices.model, occupancy, fewest)
        most = bounds(self._config, len(labels))[1]
        return splitting.split(voices, labels, activity, self._segmentation, most)

    def of_vectors(self, vectors: Vectors) -> Labels:
        """Labels (n,) 0..k-1 of unit vectors (n, d) in order of time, of any embedder, by spectral clustering.

        Numbered by first appearance. Raises ValueError where `vectors` is no finite matrix.
        """
        if vectors.ndim != 2 or not np.isfinite(vectors).all():
            raise ValueError(f"clustering needs a finite matrix (n, d), got {vectors.shape}")
        fewest, most = bounds(self._config, len(vectors))
        if most <= 1:
            return np.zeros(len(vectors), dtype=np.int64)
        centred = similarity.centre(vectors)
        groups, items = _groups(centred, most, self._memo)
        count, parts = _partition(items, self._config, fewest, min(most, len(items)), self._memo)
        labels = parts[groups]
        if fewest < most:
            labels = self._refine(centred, labels, groups, fewest, most)
        elif count == most:
            labels = similarity.reassign(centred, similarity.canonical(labels))
        return similarity.canonical(labels)

    def of_embedder(
        self,
        vectors: Vectors,
        embedder: str,
        occupancy: csr_matrix | None = None,
        fewest_speakers: Callable[[], FewestSpeakers] | None = None,
    ) -> Labels:
        """Labels (n,) by the mixture if the covariances of the `embedder` are known; else as `of_vectors`.

        `occupancy` (t, n): the share of each window that each local speaker of a segmentation fills
        (`splitting.occupancy`). `fewest_speakers` returns how many speakers the segmentation has at least
        (`splitting.fewest_speakers`); it is called for fewer than 50 windows only. Of so few, both ways miss speakers:
        the one with more speakers is taken, with at least `alone` of them; where even `speaking` are not reached,
        exactly so many are looked for. Without `occupancy`, of so few `of_vectors` is always taken.
        """
        plda, n = mixture.plda_of(embedder), len(vectors)
        fewest, most = bounds(self._config, n)
        if plda is None or most <= 1 or vectors.ndim != 2 or not np.isfinite(vectors).all():
            return self.of_vectors(vectors)
        if n >= _MIXTURE_LEAST:
            labels = self._of_mixture(similarity.centre(vectors), plda, occupancy, fewest, most)
            return self.of_vectors(vectors) if labels is None else labels
        alone, speaking = FewestSpeakers() if fewest_speakers is None else fewest_speakers()
        labels = self._with_bounds(min(max(fewest, alone), most), most)._of_few(vectors, plda, occupancy)
        if labels.max() + 1 < (count := min(speaking, most)):
            labels = self._with_bounds(count, count)._of_few(vectors, plda, occupancy)
        return labels

    def _with_bounds(self, fewest: int, most: int) -> Spectral:
        """The same with other bounds on the number of speakers."""
        bounds = {"num_speakers": None, "min_speakers": fewest, "max_speakers": most}
        return Spectral(self._config.model_copy(update=bounds), self._memo)

    def _of_few(self, vectors: Vectors, plda: mixture.Plda, occupancy: csr_matrix | None) -> Labels:
        """Labels of the mixture, or of spectral clustering if those are more."""
        fewest, most = bounds(self._config, len(vectors))
        spectral = self.of_vectors(vectors)
        if occupancy is None:
            return spectral
        mixed = self._of_mixture(similarity.centre(vectors), plda, occupancy, fewest, most)
        return spectral if mixed is None or spectral.max(initial=0) > mixed.max(initial=0) else mixed

    def _of_mixture(
        self, vectors: Floats, plda: mixture.Plda, occupancy: csr_matrix | None, fewest: int, most: int
    ) -> Labels | None:
        """Labels by the mixture, of a sample where there are very many windows; None for fewer than `fewest`."""
        at = _sample(len(vectors), max(_MIXTURE_MOST, fewest))
        starts = _starts(vectors[at], fewest, self._memo)
        of_sample = None if occupancy is None else occupancy[:, at]
        labels = mixture.cluster(vectors[at], plda, starts, of_sample, fewest, most)
        if labels is None:
            return None
        if len(at) < len(vectors):
            labels = mixture.propagate(vectors, plda, at, labels, occupancy)
        labels = mixture.merge_same_speaker(vectors, plda, similarity.canonical(labels), fewest)
        return similarity.canonical(labels)

    def _refine(self, vectors: Floats, labels: Labels, groups: Labels, fewest: int, most: int) -> Labels:
        """Speakers hidden in another's cluster get their own, and clusters of one speaker are merged."""
        config = self._config
        labels = similarity.split(vectors, labels, groups, config.split, config.min_windows, most)
        labels = similarity.reassign(vectors, similarity.canonical(labels), neighbours=0.5)
        labels = similarity.canonical(labels)
        labels = similarity.merge(vectors, labels, config.merge, config.single, config.separation, fewest)
        return similarity.reassign(vectors, similarity.canonical(labels))


def bounds(config: ClusterConfig, n: int) -> tuple[int, int]:
    """Fewest and most speakers that `n` windows allow under `config`: no more speakers than windows."""
    fewest, most = config.min_speakers, config.max_speakers
    if config.num_speakers is not None:
        fewest = most = config.num_speakers
    return min(fewest, n), min(most, n)


def _sample(n: int, most: int) -> NDArray[np.int64]:
    """Positions of at most `most` of n windows, in runs that are spread evenly; all of them if there are no more."""
    if n <= most:
        return np.arange(n)
    runs = -(-n // _SAMPLE_RUN)
    first = np.unique(np.round(np.linspace(0, runs - 1, most // _SAMPLE_RUN)).astype(np.int64)) * _SAMPLE_RUN
    at = (first[:, None] + np.arange(_SAMPLE_RUN)).ravel()
    return np.asarray(at[at < n], dtype=np.int64)


def _starts(vectors: Floats, fewest: int, memo: Memo) -> tuple[Labels, ...]:
    """Partitions (n,) by Ward's method, from each of which the mixture starts; at least one has `fewest` clusters."""
    n = len(vectors)
    counts = tuple(sorted({min(max(count, 1), n) for count in (*_START_COUNTS, fewest)}))
    (parts,) = memo("ward", vectors, fewest, lambda: (_ward(vectors, counts),))
    return tuple(np.asarray(part, dtype=np.int64) for part in parts)


def _ward(items: Floats, counts: Sequence[int]) -> NDArray[np.int64]:
    """(counts, n) labels of as many clusters as each of `counts`."""
    from scipy.cluster.hierarchy import fcluster, linkage

    tree = linkage(items, "ward")
    return np.stack([fcluster(tree, count, "maxclust").astype(np.int64) - 1 for count in counts])


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
    fitted = KMeans(count, init="random", n_init=1, max_iter=10, random_state=_SEED).fit(sample.astype(np.float32))
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
    return np.asarray(KMeans(count, n_init=10, random_state=_SEED).fit_predict(points), dtype=np.int64)

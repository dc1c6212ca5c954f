"""Spectral clustering of speaker vectors; who is who and how many is then verified (docs/method/clustering.md).

NME-SC: T. J. Park, K. J. Han, M. Kumar, S. Narayanan, "Auto-tuning spectral clustering for speaker diarization using
normalized maximum eigengap", IEEE Signal Processing Letters 27, 2020, arXiv:2003.02405. Equation numbers are its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diarize.activity import NO_ACTIVITY, LocalActivity, Present
from diarize.clustering import mixture, similarity, splitting
from diarize.config import ClusterConfig, SegmentationConfig
from diarize.types import Embeddings, Labels, Vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix  # a tenth of a second to load, where nobody may need it

Floats = NDArray[np.float64]
Arrays = tuple[NDArray[Any], ...]
# (what is made, the array it is made of, a number that decides it too, how to make it) -> what is made
Memo = Callable[[str, Floats, int, Callable[[], Arrays]], Arrays]

_SEED = 0  # of k-means; any would do, but always the same
_STEPS = 8  # numbers of neighbours that are tried
_ITEMS = 800  # vectors beyond which groups of similar ones are clustered in their place
_SAMPLE = 10_000  # vectors that the groups are made from
_WIDE = 20  # clusters that spectra are taken for at least, so that they serve for another number of them
_MANY = 4000  # windows that the mixture is made of: an hour's; of a quarter, it depends on which windows they are
_RUN = 20  # windows in a row that are taken of more: a window hears its neighbours
_FEW = 50  # windows under which the mixture misses more people than it saves
_STARTS = (16, 20, 24, 30, 40)  # numbers of those; from fewer, people are missed


def afresh(what: str, given: Floats, count: int, make: Callable[[], Arrays]) -> Arrays:
    """The `Memo` that remembers nothing."""
    return make()


class Spectral:
    """The `Clusterer`: how many speakers there are is found, within the bounds of `config`."""

    def __init__(
        self,
        config: ClusterConfig | None = None,
        memo: Memo = afresh,
        segmentation: SegmentationConfig | None = None,
    ) -> None:
        """`memo` is asked for what does not depend on the number of speakers, and may know it from before."""
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
        """What its random numbers begin with, for the provenance."""
        return _SEED

    def __call__(self, voices: Embeddings, activity: LocalActivity = NO_ACTIVITY) -> Labels:
        """Labels (n,) of windows (n), sorted by start. Raises ValueError where the vectors are no finite matrix.

        With `activity`, local speakers who talk in one window of it are two people, whatever their vectors say.
        """
        if not activity.windows:
            return self.informed(voices.vectors, voices.model)
        tracks = splitting.tracks(voices.segments, activity)
        labels = self.informed(voices.vectors, voices.model, tracks, partial(splitting.present, activity))
        most = bounds(self._config, len(labels))[1]
        return splitting.clusters(voices, labels, activity, self._segmentation, most)

    def of_vectors(self, vectors: Vectors) -> Labels:
        """Labels (n,) 0..k-1 of unit vectors (n, d) in order of time, of which nothing else is known.

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
            labels = self._verified(centred, labels, groups, fewest, most)
        elif count == most:
            labels = similarity.reassign(centred, similarity.canonical(labels))
        return similarity.canonical(labels)

    def informed(
        self,
        vectors: Vectors,
        model: str,
        tracks: csr_matrix | None = None,
        present: Callable[[], Present] | None = None,
    ) -> Labels:
        """The same by what is known of the windows of the embedder `model`; as `of_vectors` where nothing is.

        `tracks` (t, n): how much of each window each local speaker of a segmentation fills (`splitting.tracks`). Few
        windows tell too little of who is there. Of those, both ways miss people, and the one that finds more is taken
        (without tracks always `of_vectors`). At least as many as are `present` alone (`splitting.present`; not asked
        where windows are many) are looked for, and where still fewer are found than talk at all, just as many as that.
        """
        voices, n = mixture.plda_of(model), len(vectors)
        fewest, most = bounds(self._config, n)
        if voices is None or most <= 1 or vectors.ndim != 2 or not np.isfinite(vectors).all():
            return self.of_vectors(vectors)
        if n >= _FEW:
            found = self._mixed(similarity.centre(vectors), voices, tracks, fewest, most)
            return self.of_vectors(vectors) if found is None else found
        alone, talking = Present() if present is None else present()
        labels = self._bounded(min(max(fewest, alone), most), most)._of_few(vectors, voices, tracks)
        if labels.max() + 1 < (count := min(talking, most)):
            labels = self._bounded(count, count)._of_few(vectors, voices, tracks)
        return labels

    def _bounded(self, fewest: int, most: int) -> Spectral:
        """The same with other bounds on the number of speakers."""
        bounds = {"num_speakers": None, "min_speakers": fewest, "max_speakers": most}
        return Spectral(self._config.model_copy(update=bounds), self._memo)

    def _of_few(self, vectors: Vectors, voices: mixture.Plda, tracks: csr_matrix | None) -> Labels:
        """Labels by the way that finds more."""
        fewest, most = bounds(self._config, len(vectors))
        plain = self.of_vectors(vectors)
        found = None if tracks is None else self._mixed(similarity.centre(vectors), voices, tracks, fewest, most)
        return plain if found is None or plain.max(initial=0) > found.max(initial=0) else found

    def _mixed(
        self, vectors: Floats, voices: mixture.Plda, tracks: csr_matrix | None, fewest: int, most: int
    ) -> Labels | None:
        """Labels by the mixture, made for some of very many windows; None where `fewest` cannot be found."""
        at = _sample(len(vectors), max(_MANY, fewest))
        some = vectors[at]
        heard = None if tracks is None else tracks[:, at]
        found = mixture.cluster(some, voices, _starts(some, fewest, self._memo), heard, fewest, most)
        if found is None:
            return None
        if len(at) < len(vectors):
            found = mixture.propagate(vectors, voices, at, found, tracks)
        return similarity.canonical(mixture.merge_same_speaker(vectors, voices, similarity.canonical(found), fewest))

    def _verified(self, vectors: Floats, labels: Labels, groups: Labels, fewest: int, most: int) -> Labels:
        """Speakers hidden in another's cluster get their own, and clusters of one speaker become one."""
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
    """Places of at most `most` of n windows, in runs that are spread evenly; all of them where they are no more."""
    if n <= most:
        return np.arange(n)
    runs = -(-n // _RUN)
    first = np.unique(np.round(np.linspace(0, runs - 1, most // _RUN)).astype(np.int64)) * _RUN
    at = (first[:, None] + np.arange(_RUN)).ravel()
    return np.asarray(at[at < n], dtype=np.int64)


def _starts(vectors: Floats, fewest: int, memo: Memo) -> tuple[Labels, ...]:
    """Clusters (n,) by Ward's method, `fewest` or more of them at least once: the mixture starts from each."""
    n = len(vectors)
    counts = tuple(sorted({min(max(count, 1), n) for count in (*_STARTS, fewest)}))
    (parts,) = memo("ward", vectors, fewest, lambda: (_ward(vectors, counts),))
    return tuple(np.asarray(part, dtype=np.int64) for part in parts)


def _ward(items: Floats, counts: Sequence[int]) -> NDArray[np.int64]:
    """(counts, n)"""
    from scipy.cluster.hierarchy import fcluster, linkage

    tree = linkage(items, "ward")
    return np.stack([fcluster(tree, count, "maxclust").astype(np.int64) - 1 for count in counts])


def _groups(vectors: Floats, most: int, memo: Memo) -> tuple[Labels, Floats]:
    """Each vector's group (n,), and one unit vector a group: the vectors themselves where they are few."""
    count = max(_ITEMS, most)
    if len(vectors) <= count:
        return np.arange(len(vectors)), vectors
    groups, items = memo("groups", vectors, count, lambda: _grouped(vectors, count))
    return groups, items


def _grouped(vectors: Floats, count: int) -> Arrays:
    from sklearn.cluster import KMeans

    n = len(vectors)
    sample = vectors[np.unique(np.linspace(0, n - 1, _SAMPLE).astype(np.int64))]
    fitted = KMeans(count, init="random", n_init=1, max_iter=10, random_state=_SEED).fit(sample.astype(np.float32))
    centres = similarity.unit(fitted.cluster_centers_.astype(np.float64))
    groups = np.concatenate([(vectors[rows] @ centres.T).argmax(1) for rows in similarity.blocks(n)])
    used, groups = np.unique(groups, return_inverse=True)
    return groups, centres[used]


def _partition(items: Floats, config: ClusterConfig, fewest: int, most: int, memo: Memo) -> tuple[int, Labels]:
    """NME-SC: the count by the largest eigengap, and the spectral clusters of that many."""
    n = len(items)
    if most >= n or n < 4:
        return (n, np.arange(n)) if fewest >= n else (fewest, _k_means(items, fewest))
    affinity = items @ items.T
    nearest = np.argsort(-affinity, axis=1, kind="stable")
    least = min(config.neighbours, n - 1)
    best, count, chosen, wide = np.inf, fewest, 0, max(most, _WIDE)
    for p in sorted({round(p) for p in np.geomspace(least, max(least, n // 4), _STEPS)}):
        graph = _laplacian(nearest[:, :p])
        values, largest = memo("eigenvalues", graph, wide, partial(_eigenvalues, graph, wide))
        gaps = np.round(np.diff(values[: most + 1]) / (float(largest) + 1e-10), 9)  # (9)
        if (ratio := p / (gaps.max() + 1e-10)) < best:  # (10)
            best, chosen = ratio, p
            count = most - int(gaps[fewest - 1 :][::-1].argmax())  # (8); the last of equals, as in pieces
    if count <= 1:
        return count, np.zeros(n, dtype=np.int64)
    graph = _laplacian(nearest[:, :chosen])
    (vectors,) = memo("eigenvectors", graph, wide, partial(_eigenvectors, graph, wide))
    return count, _k_means(vectors[:, :count], count)


def _laplacian(nearest: Labels) -> Floats:
    """L = D - A (n, n) of the graph that joins each item to those `nearest` (n, p) to it, made symmetric. (4) to (7)"""
    n = len(nearest)
    kept = np.zeros((n, n))
    np.put_along_axis(kept, nearest, 1.0, axis=1)
    weights = (kept + kept.T) / 2
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

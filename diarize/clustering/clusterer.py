"""The clusterer of windows: by the mixture if the covariances of the embedder are known, else spectral.

Then the segmentation splits clusters of local speakers who talk in one window (docs/method/clustering.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.clustering import mixture, similarity, spectral, splitting
from diarize.clustering.spectral import Floats, Memo, uncached
from diarize.clustering.splitting import FewestSpeakers
from diarize.config import ClusterConfig, SegmentationConfig
from diarize.types import Embeddings, Labels, Vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix  # importing it takes a tenth of a second, and few callers need it

_MIXTURE_LEAST = 50  # weight of all windows, 40 s, below which the mixture alone misses speakers
_MIXTURE_MOST = 4000  # windows of the mixture: with a quarter of those of an hour, the result depends on the sample
_SHARED = 1.0  # weight up to which windows that are left out in between are not missed: they overlap with the others
_SAMPLE_RUN = 20  # consecutive windows of a sample: the mixture averages over neighbours
_START_COUNTS = (16, 20, 24, 30, 40)  # clusters that the mixture starts from; with fewer, speakers are missed


class WindowClusterer:
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
        return spectral.SEED

    def __call__(self, voices: Embeddings, activity: LocalActivity = NO_ACTIVITY) -> Labels:
        """Labels (n,) of windows (n), sorted by start. Raises ValueError where the vectors are no finite matrix.

        With `activity`, local speakers of one segmentation window are two people, whatever their vectors say.
        """
        weights = mixture.weights_of(voices.segments)
        if not activity.windows:
            return self.of_embedder(voices.vectors, voices.model, weights)
        occupancy = splitting.occupancy(voices.segments, activity)
        fewest = partial(splitting.fewest_speakers, activity)
        labels = self.of_embedder(voices.vectors, voices.model, weights, occupancy, fewest)
        most = spectral.bounds(self._config, len(labels))[1]
        return splitting.split(voices, labels, activity, self._segmentation, most)

    def of_embedder(
        self,
        vectors: Vectors,
        embedder: str,
        weights: NDArray[np.float64] | None = None,
        occupancy: csr_matrix | None = None,
        fewest_speakers: Callable[[], FewestSpeakers] | None = None,
    ) -> Labels:
        """Labels (n,) by the mixture if the covariances of the `embedder` are known; else by spectral clustering.

        `weights` (n,): the windows' shares in the evidence, 1 for one that adds 0.8 s of speech (None: 1 for each).
        `occupancy` (t, n): the share of each window that each local speaker of a segmentation fills
        (`splitting.occupancy`). `fewest_speakers` returns how many speakers the segmentation has at least
        (`splitting.fewest_speakers`); it is called for less than 40 s of speech only, in which the mixture misses
        speakers: then there are at least `alone` of them, and where even `speaking` are not reached, so many.
        """
        plda, n = mixture.plda_of(embedder), len(vectors)
        fewest, most = spectral.bounds(self._config, n)
        if plda is None or most <= 1 or vectors.ndim != 2 or not np.isfinite(vectors).all():
            return spectral.cluster(vectors, self._config, self._memo)
        weights = np.ones(n) if weights is None else weights
        bounds = [fewest]
        if weights.sum() < _MIXTURE_LEAST and fewest_speakers is not None:
            bounds += [min(count, most) for count in fewest_speakers()]
        centred = similarity.centre(vectors)
        labels: Labels | None = None
        for fewest in bounds:
            if labels is None or fewest > labels.max(initial=-1) + 1:
                mixed = self._of_mixture(centred, plda, weights, occupancy, fewest, most)
                labels = spectral.cluster(vectors, self._bounded(fewest, most), self._memo) if mixed is None else mixed
        assert labels is not None
        return labels

    def _bounded(self, fewest: int, most: int) -> ClusterConfig:
        """The settings with other bounds on the number of speakers."""
        bounds = {"num_speakers": None, "min_speakers": fewest, "max_speakers": most}
        return self._config.model_copy(update=bounds)

    def _of_mixture(
        self,
        vectors: Floats,
        plda: mixture.Plda,
        weights: NDArray[np.float64],
        occupancy: csr_matrix | None,
        fewest: int,
        most: int,
    ) -> Labels | None:
        """Labels by the mixture, of a sample where there are very many windows; None for fewer than `fewest`."""
        n = len(vectors)
        stride = max(1, min(-(-n // _MIXTURE_MOST), int(_SHARED / max(float(np.median(weights)), 1e-9))))
        at = _sample(n, max(_MIXTURE_MOST, fewest), stride)
        starts = _starts(vectors[at], fewest, self._memo)
        of_sample = None if occupancy is None else occupancy[:, at]
        labels = mixture.cluster(vectors[at], plda, starts, weights[at] * stride, of_sample, fewest, most)
        if labels is None:
            return None
        if len(at) < n:
            labels = mixture.propagate(vectors, plda, at, labels, weights, occupancy)
        labels = mixture.merge_same_speaker(vectors, plda, similarity.canonical(labels), weights, fewest)
        return similarity.canonical(labels)


def _sample(n: int, most: int, stride: int) -> NDArray[np.int64]:
    """Positions of at most `most` of n windows: every `stride`-th, of those runs that are spread evenly."""
    at = np.arange(0, n, stride)
    if len(at) <= most:
        return at
    runs = -(-len(at) // _SAMPLE_RUN)
    first = np.unique(np.round(np.linspace(0, runs - 1, most // _SAMPLE_RUN)).astype(np.int64)) * _SAMPLE_RUN
    chosen = (first[:, None] + np.arange(_SAMPLE_RUN)).ravel()
    return np.asarray(at[chosen[chosen < len(at)]], dtype=np.int64)


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

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

_MIXTURE_LEAST = 50  # windows below which the mixture alone misses more speakers than it saves
_MIXTURE_MOST = 4000  # windows of the mixture: an hour; with a quarter of it, the result depends on the sample
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
        if not activity.windows:
            return self.of_embedder(voices.vectors, voices.model)
        occupancy = splitting.occupancy(voices.segments, activity)
        fewest = partial(splitting.fewest_speakers, activity)
        labels = self.of_embedder(voices.vectors, voices.model, occupancy, fewest)
        most = spectral.bounds(self._config, len(labels))[1]
        return splitting.split(voices, labels, activity, self._segmentation, most)

    def of_embedder(
        self,
        vectors: Vectors,
        embedder: str,
        occupancy: csr_matrix | None = None,
        fewest_speakers: Callable[[], FewestSpeakers] | None = None,
    ) -> Labels:
        """Labels (n,) by the mixture if the covariances of the `embedder` are known; else by spectral clustering.

        `occupancy` (t, n): the share of each window that each local speaker of a segmentation fills
        (`splitting.occupancy`). `fewest_speakers` returns how many speakers the segmentation has at least
        (`splitting.fewest_speakers`); it is called for fewer than 50 windows only. Of so few, both ways miss speakers:
        the one with more speakers is taken, with at least `alone` of them; where even `speaking` are not reached,
        exactly so many are looked for. Without `occupancy`, so few are always clustered spectrally.
        """
        plda, n = mixture.plda_of(embedder), len(vectors)
        fewest, most = spectral.bounds(self._config, n)
        if plda is None or most <= 1 or vectors.ndim != 2 or not np.isfinite(vectors).all():
            return spectral.cluster(vectors, self._config, self._memo)
        if n >= _MIXTURE_LEAST:
            labels = self._of_mixture(similarity.centre(vectors), plda, occupancy, fewest, most)
            return spectral.cluster(vectors, self._config, self._memo) if labels is None else labels
        alone, speaking = FewestSpeakers() if fewest_speakers is None else fewest_speakers()
        labels = self._with_bounds(min(max(fewest, alone), most), most)._of_few(vectors, plda, occupancy)
        if labels.max() + 1 < (count := min(speaking, most)):
            labels = self._with_bounds(count, count)._of_few(vectors, plda, occupancy)
        return labels

    def _with_bounds(self, fewest: int, most: int) -> WindowClusterer:
        """The same with other bounds on the number of speakers."""
        bounds = {"num_speakers": None, "min_speakers": fewest, "max_speakers": most}
        return WindowClusterer(self._config.model_copy(update=bounds), self._memo)

    def _of_few(self, vectors: Vectors, plda: mixture.Plda, occupancy: csr_matrix | None) -> Labels:
        """Labels of the mixture, or of spectral clustering if those are more."""
        fewest, most = spectral.bounds(self._config, len(vectors))
        plain = spectral.cluster(vectors, self._config, self._memo)
        if occupancy is None:
            return plain
        mixed = self._of_mixture(similarity.centre(vectors), plda, occupancy, fewest, most)
        return plain if mixed is None or plain.max(initial=0) > mixed.max(initial=0) else mixed

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

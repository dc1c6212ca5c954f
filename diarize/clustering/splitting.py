"""Local speakers of one segmentation window are different people: clusters that join them are split.

See docs/method/turns.md. A local speaker is one of the three of a window of the segmentation (`LocalActivity`); windows
without further words are those that have an embedding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diarize.activity import LOCAL_SPEAKERS, LocalActivity
from diarize.clustering import mixture, similarity
from diarize.config import SegmentationConfig
from diarize.types import Embeddings, Labels, Segment

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix  # importing it takes a tenth of a second, and few callers need it

Floats = NDArray[np.float64]

_ACTIVE = 0.5  # probability above which a local speaker speaks in a frame
_ALONE_SECONDS = 1.0  # s that a local speaker speaks alone to count as somebody; less may be a laugh
_SPEAKING_SECONDS = 1.25  # s that one speaks, alone or not, to count; anything from 1.1 to 1.5 does the same
_OWN_SHARE = 0.5  # share of a window above which it is a local speaker's own
_LEAST_SHARE = 0.2  # share of a window up to which a local speaker is ignored in it
_WEIGHT_A_PAIR = 1000  # weight of windows, 800 s, for which one more pair has to agree that a cluster is two people
_ALIKE = 0.55  # correlation of two local speakers above which they may be one person, where the embedder has none
_APART = 5.0  # standard deviations below which two parts of a cluster are one voice (`similarity.separations`)
_PLDA_LEAST = 50  # weight of all windows, 40 s, from which covariances judge the splits; less is too little a speaker


class FewestSpeakers(NamedTuple):
    """The fewest speakers there can be: as many as one window of the segmentation has."""

    alone: int = 1  # who speak alone for a while, so that their voices can be compared
    speaking: int = 1  # who speak for a while, alone or not


class _Pair(NamedTuple):
    """Two local speakers of one segmentation window."""

    near: NDArray[np.int64]  # (m,) positions of the windows near it
    shares: Floats  # (2, m) of each of those that each of the two fills alone


class _Conflict(NamedTuple):
    """Two local speakers whose windows are in one cluster."""

    correlation: float
    cluster: int
    seeds: Floats  # (2, d) their unit vectors


def split(
    voices: Embeddings,
    labels: Labels,
    activity: LocalActivity,
    config: SegmentationConfig | None = None,
    most: int = 20,
) -> Labels:
    """Labels (n,) after clusters that hold two local speakers of one segmentation window are split.

    `voices` (n) are sorted by start. A pair of local speakers counts where both speak alone for `config.alone` seconds,
    have windows of their own in one cluster, and correlate less than `config.alike` (unset: that of the embedder): a
    more similar pair may be one person whom the segmentation took for two. The longer a recording, the more probably
    that happens somewhere: so for each 800 s of speech another pair of the same cluster has to agree. The least
    similar pair comes first; 2-means from the two of them splits the cluster, unless its parts are not separated. There
    are at most `most` clusters. At the end clusters of one speaker are merged, where the embedder's covariances are
    known, but no more than were split.
    """
    config = config or SegmentationConfig()
    if not len(labels):
        return labels
    plda, weights = mixture.plda_of(voices.model), mixture.weights_of(voices.segments)
    own_alike = _ALIKE if plda is None else plda.alike
    alike = own_alike if config.alike is None else config.alike
    centred, before = similarity.centre(voices.vectors), int(labels.max()) + 1
    pairs = list(_pairs(voices.segments, activity, config.alone))
    wanted = 1 + int(weights.sum() // _WEIGHT_A_PAIR)
    unsplit: set[int] = set()  # clusters that were tried and stay whole
    while int(labels.max()) + 1 < most:
        conflicts = [conflict for pair in pairs if (conflict := _conflict(pair, centred, labels)) is not None]
        conflicts = [c for c in conflicts if c.correlation < alike and c.cluster not in unsplit]
        after = _split_first(sorted(conflicts, key=lambda c: c.correlation), centred, labels, wanted, unsplit)
        if after is None:
            break
        labels = after
    if plda is None or weights.sum() < _PLDA_LEAST:
        return labels
    return mixture.merge_same_speaker(centred, plda, labels, weights, before)


def fewest_speakers(activity: LocalActivity) -> FewestSpeakers:
    """Most speakers of one window of `activity` who speak alone for 1 s, and who speak, alone or not, for 1.25 s."""
    alone = speaking = 0
    for i in range(activity.windows):
        alone_seconds = np.count_nonzero(activity.alone(i) > _ACTIVE, axis=0) * activity.step
        seconds = np.count_nonzero(activity.speaking(i) > _ACTIVE, axis=0) * activity.step
        alone = max(alone, int(np.count_nonzero(alone_seconds >= _ALONE_SECONDS)))
        speaking = max(speaking, int(np.count_nonzero(seconds >= _SPEAKING_SECONDS)))
    return FewestSpeakers(alone, speaking)


def occupancy(windows: Sequence[Segment], activity: LocalActivity) -> csr_matrix:
    """(local speakers, windows): the share of each of `windows` (sorted by start) that a local speaker fills alone.

    Shares of a fifth and less are 0: they do not tell who speaks in the window.
    """
    from scipy.sparse import csr_matrix

    rows: list[NDArray[np.int64]] = []
    columns: list[NDArray[np.int64]] = []
    values: list[Floats] = []
    for i, (near, shares, _) in enumerate(_shares(windows, activity) if windows else ()):
        of, speaker = np.nonzero(shares > _LEAST_SHARE)
        rows.append(i * LOCAL_SPEAKERS + speaker)
        columns.append(near[of])
        values.append(shares[of, speaker])
    shape = (activity.windows * LOCAL_SPEAKERS, len(windows))
    if not rows:
        return csr_matrix(shape)
    return csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape)


def _pairs(windows: Sequence[Segment], activity: LocalActivity, least: float) -> Iterator[_Pair]:
    """Every two local speakers of one segmentation window who both speak alone for `least` seconds."""
    for near, shares, seconds in _shares(windows, activity):
        for a, b in combinations(np.flatnonzero(seconds >= least), 2):
            yield _Pair(near, shares[:, [a, b]].T)


def _shares(windows: Sequence[Segment], activity: LocalActivity) -> Iterator[tuple[NDArray[np.int64], Floats, Floats]]:
    """For each segmentation window: positions (m,) of the `windows` near it, the share (m, 3) of each that each local
    speaker fills alone, and the seconds (3,) that each speaks alone.
    """
    starts, ends = np.array([w.start for w in windows]), np.array([w.end for w in windows])
    longest = float((ends - starts).max())
    for i in range(activity.windows):
        begin = activity.middles(i * activity.hop, i * activity.hop + 1)[0] - activity.step / 2
        end = begin + activity.length * activity.step
        near = np.arange(np.searchsorted(starts, begin - longest), np.searchsorted(starts, end))
        # Frames alone from the first to each: the difference of two is the number between them.
        alone = activity.alone(i) > _ACTIVE
        summed = np.concatenate([np.zeros((1, alone.shape[1])), np.cumsum(alone, axis=0)])
        first, last = (
            np.clip(np.round((times[near] - begin) / activity.step).astype(np.int64), 0, activity.length)
            for times in (starts, ends)
        )
        seconds = np.maximum(ends - starts, activity.step)[near, None]
        yield near, (summed[last] - summed[first]) * activity.step / seconds, summed[-1] * activity.step


def _conflict(pair: _Pair, vectors: Floats, labels: Labels) -> _Conflict | None:
    """The conflict of a pair whose windows are mostly in one cluster; None for other pairs."""
    near, shares = pair
    if not len(near):
        return None
    of = labels[near]
    clusters = [int(np.bincount(of, weights=share**2).argmax()) for share in shares]
    if clusters[0] != clusters[1]:
        return None
    own = [np.where((of == clusters[0]) & (share > _OWN_SHARE), share, 0) for share in shares]
    if not all(share.any() for share in own):
        return None
    seeds = similarity.unit(np.array([share @ vectors[near] for share in own]))
    return _Conflict(float(seeds[0] @ seeds[1]), clusters[0], seeds)


def _split_first(
    conflicts: Sequence[_Conflict], vectors: Floats, labels: Labels, wanted: int, unsplit: set[int]
) -> Labels | None:
    """Labels (n,) after the first cluster with `wanted` conflicts that can be split is; those before are `unsplit`."""
    count = Counter(conflict.cluster for conflict in conflicts)
    for conflict in conflicts:
        if conflict.cluster not in unsplit:
            if count[conflict.cluster] >= wanted and (after := _split(vectors, labels, conflict)) is not None:
                return after
            unsplit.add(conflict.cluster)
    return None


def _split(vectors: Floats, labels: Labels, conflict: _Conflict) -> Labels | None:
    """Labels (n,) after the cluster of `conflict` is split; None where its parts are one voice."""
    members = np.flatnonzero(labels == conflict.cluster)
    other = _two_means(vectors[members], conflict.seeds) == 1
    if other.all() or not other.any():
        return None
    count = int(labels.max()) + 1
    after = labels.copy()
    after[members[other]] = count
    return after if similarity.separations(vectors, after)[conflict.cluster, count] >= _APART else None


def _two_means(vectors: Floats, seeds: Floats) -> Labels:
    """Labels (n,) 0 and 1 by 2-means from the centroid of all and from the seed that is less similar to it.

    From both seeds, a third speaker who speaks most would be cut in two between them.
    """
    centroid = similarity.centroids(vectors, np.zeros(len(vectors), dtype=np.int64))
    pair = np.concatenate([centroid, seeds[[(seeds @ centroid[0]).argmin()]]])
    return similarity.reassign(vectors, (vectors @ pair.T).argmax(1), keep_all=False)

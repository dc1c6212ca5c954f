"""Two who talk in one window of the segmentation are two people, whatever the clusters say (docs/method/turns.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from diarize.activity import LOCAL, LocalActivity, Present
from diarize.clustering import mixture, similarity
from diarize.config import SegmentationConfig
from diarize.types import Embeddings, Labels, Segment

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix  # a tenth of a second to load, where nobody may need it

Floats = NDArray[np.float64]

_ALONE = 0.5  # probability from which a local speaker talks alone
_PRESENT = 1.0  # s that a local speaker talks alone to be somebody; less may be a laugh
_TALKING = 1.25  # s that one talks, alone or not, to be somebody; anything from 1.1 to 1.5 does the same
_SHARE = 0.5  # of an embedded window that a local speaker must fill to be heard in it
_HEARD = 0.2  # of an embedded window from which a local speaker is heard in it
_ONE_IN = 1000  # windows; for each so many one more pair has to say that a cluster is two people
_APART = 5.0  # standard deviations under which two parts of a cluster are one voice (`likeness.separations`)
_TOLD = 50  # windows from which what is known of voices judges the cuts; in fewer, people have too few to be told by it


def clusters(
    voices: Embeddings,
    labels: Labels,
    activity: LocalActivity,
    config: SegmentationConfig | None = None,
    most: int = 20,
) -> Labels:
    """Labels (n,) with clusters in two where they hold two speakers that the segmentation tells apart.

    `voices` (n) are sorted by start. A pair of local speakers of one window of `activity` counts where both talk alone
    for `config.alone` seconds, have windows of their own in one cluster, and correlate less than `config.alike`: a
    likelier pair may be one person whom the segmentation took for two. The longer a recording, the surer that happens
    somewhere: so for each thousand windows another pair of the same cluster has to agree. The pair least alike comes
    first; 2-means from the two of them cuts the cluster, unless its parts lie together. At most `most` clusters are
    made. At the end clusters of one voice become one again, where voices of the embedder are known: no more of them
    than were cut.
    """
    config = config or SegmentationConfig()
    if not len(labels):
        return labels
    centred, before = similarity.centre(voices.vectors), int(labels.max()) + 1
    pairs = list(_pairs(voices.segments, activity, config.alone))
    wanted = 1 + len(labels) // _ONE_IN
    whole: set[int] = set()
    while int(labels.max()) + 1 < most:
        low = [
            seen
            for pair in pairs
            if (seen := _seen(pair, centred, labels)) is not None and seen[0] < config.alike and seen[1] not in whole
        ]
        cut = _first_cut(sorted(low, key=lambda seen: seen[0]), centred, labels, wanted, whole)
        if cut is None:
            break
        labels = cut
    return _voices_apart(voices, centred, labels, before)


def present(activity: LocalActivity) -> Present:
    """Most speakers of any one window of `activity` who talk alone for 1 s, and who talk, alone or not, for 1.25 s."""
    alone = talking = 0
    for i in range(activity.windows):
        by_themselves = np.count_nonzero(activity.window(i)[:, 1:4] > _ALONE, axis=0) * activity.step
        in_all = np.count_nonzero(activity.talking(i) > _ALONE, axis=0) * activity.step
        alone = max(alone, int(np.count_nonzero(by_themselves >= _PRESENT)))
        talking = max(talking, int(np.count_nonzero(in_all >= _TALKING)))
    return Present(alone, talking)


def tracks(windows: Sequence[Segment], activity: LocalActivity) -> csr_matrix:
    """(local speakers, windows): the share of each of the `windows` (sorted by start) that a local speaker fills alone.

    Where that is a fifth of it or less, it says nothing of who is in it, and is 0.
    """
    from scipy.sparse import csr_matrix

    rows: list[NDArray[np.int64]] = []
    columns: list[NDArray[np.int64]] = []
    values: list[Floats] = []
    for i, (near, shares, _) in enumerate(_filled(windows, activity) if windows else ()):
        of, speaker = np.nonzero(shares > _HEARD)
        rows.append(i * LOCAL + speaker)
        columns.append(near[of])
        values.append(shares[of, speaker])
    shape = (activity.windows * LOCAL, len(windows))
    if not rows:
        return csr_matrix(shape)
    return csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape)


# Positions of the windows near a window of the segmentation, and how much of each the two local speakers fill (2, m).
_Pair = tuple[NDArray[np.int64], Floats]
_Seen = tuple[float, int, Floats]  # correlation, cluster, their two vectors


def _pairs(windows: Sequence[Segment], activity: LocalActivity, least: float) -> Iterator[_Pair]:
    """Every two local speakers of one window who both talk alone for `least` seconds."""
    for near, shares, seconds in _filled(windows, activity):
        for a, b in combinations(np.flatnonzero(seconds >= least), 2):
            yield near, shares[:, [a, b]].T


def _filled(windows: Sequence[Segment], activity: LocalActivity) -> Iterator[tuple[NDArray[np.int64], Floats, Floats]]:
    """Of each window of the segmentation: positions of the `windows` near it (m,), the share of each that each local
    speaker fills alone (m, 3), and the seconds that they talk alone (3,).
    """
    starts, ends = np.array([w.start for w in windows]), np.array([w.end for w in windows])
    longest = float((ends - starts).max())
    for i in range(activity.windows):
        alone = activity.window(i)[:, 1:4] > _ALONE
        begin = activity.middles(i * activity.hop, i * activity.hop + 1)[0] - activity.step / 2
        end = begin + activity.length * activity.step
        near = np.arange(np.searchsorted(starts, begin - longest), np.searchsorted(starts, end))
        summed = np.concatenate([np.zeros((1, alone.shape[1])), np.cumsum(alone, axis=0)])
        first, last = (
            np.clip(np.round((times[near] - begin) / activity.step).astype(np.int64), 0, activity.length)
            for times in (starts, ends)
        )
        shares = (summed[last] - summed[first]) * activity.step / np.maximum(ends - starts, activity.step)[near, None]
        yield near, shares, summed[-1] * activity.step


def _seen(pair: _Pair, vectors: Floats, labels: Labels) -> _Seen | None:
    """Of a pair that is in one cluster; None for others."""
    near, shares = pair
    if not len(near):
        return None
    of = labels[near]
    clusters = [int(np.bincount(of, weights=share**2).argmax()) for share in shares]
    if clusters[0] != clusters[1]:
        return None
    own = [np.where((of == clusters[0]) & (share > _SHARE), share, 0) for share in shares]
    if not all(share.any() for share in own):
        return None
    seeds = similarity.unit(np.array([share @ vectors[near] for share in own]))
    return float(seeds[0] @ seeds[1]), clusters[0], seeds


def _first_cut(low: Sequence[_Seen], vectors: Floats, labels: Labels, wanted: int, whole: set[int]) -> Labels | None:
    """The labels (n,) with the first cluster of pairs `low` in two of which `wanted` say so; the others get `whole`."""
    agree = Counter(cluster for _, cluster, _ in low)
    for _, cluster, seeds in low:
        if cluster not in whole:
            if agree[cluster] >= wanted and (cut := _cut(vectors, labels, cluster, seeds)) is not None:
                return cut
            whole.add(cluster)
    return None


def _cut(vectors: Floats, labels: Labels, cluster: int, seeds: Floats) -> Labels | None:
    """The labels (n,) with a `cluster` in two; None where its parts are one voice."""
    members = np.flatnonzero(labels == cluster)
    other = _parted(vectors[members], seeds)
    if other.all() or not other.any():
        return None
    count = int(labels.max()) + 1
    parted = labels.copy()
    parted[members[other]] = count
    return parted if similarity.separations(vectors, parted)[cluster, count] >= _APART else None


def _voices_apart(voices: Embeddings, centred: Floats, labels: Labels, fewest: int) -> Labels:
    """Labels (n,) after cuts through one voice are undone, as far as the embedder's voices are known; `fewest` stay."""
    known = mixture.plda_of(voices.model)
    if known is None or len(labels) < _TOLD:
        return labels
    return mixture.merge_same_speaker(centred, known, labels, fewest)


def _parted(vectors: Floats, seeds: Floats) -> NDArray[np.bool_]:
    """(n,): which rows belong to the seed that is less like them all, by 2-means from that seed and the centroid.

    From both seeds, a third speaker who talks most would be cut in two between them.
    """
    centroid = similarity.centroids(vectors, np.zeros(len(vectors), dtype=np.int64))
    pair = np.concatenate([centroid, seeds[[(seeds @ centroid[0]).argmin()]]])
    parts = (vectors @ pair.T).argmax(1)
    return np.asarray(similarity.reassign(vectors, parts, keep_all=False) == 1)

"""Are two clusters one speaker? Two scale-free measures, and what follows from them (docs/method/clustering.md).

Vectors are compared by their correlation, which is the cosine after each vector's own mean is taken off: an embedder
that ends in a ReLU gives vectors that all point the same way, and the correlation does not count that as likeness.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from diarize.types import Labels, Vectors

Floats = NDArray[np.float64]

_CUT = 0.5  # correlation to which average linkage joins vectors within a cluster in search of a hidden speaker
_BRIEF = 24  # windows of a hidden speaker at most: more would have had a cluster of their own
_BESIDE = 0.6  # share of a hidden speaker's windows that stand beside another of theirs: chance makes fewer
_SAME_SOUND = 0.88  # GE2E reaches 0.73 to 0.84 where windows overlap by half; 0.92 where x-vectors do by five sixths
_WEIGHT = 2.0  # pairs that a small cluster's own likeness is worth beside the recording's
_BLOCK = 8192  # rows that are worked on at once
_LARGE = 50  # windows from which the separation of a cluster can be judged


def unit(vectors: Floats) -> Floats:
    """Rows of length one; a row of zeros stays."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), dtype=np.float64)


def centre(vectors: Vectors) -> Floats:
    """Rows less their own mean, of length one: their products are correlations. (n, d)"""
    found = np.empty(vectors.shape)
    for rows in blocks(len(vectors)):
        wide = vectors[rows].astype(np.float64)
        found[rows] = unit(wide - wide.mean(axis=1, keepdims=True))
    return found


def blocks(n: int) -> Iterator[slice]:
    """Rows, so many at once that what is made of them beside the result costs little memory."""
    return (slice(i, min(i + _BLOCK, n)) for i in range(0, n, _BLOCK))


def canonical(labels: Labels) -> Labels:
    """The same partition (n,), numbered 0.. by first appearance."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return np.asarray(rank[inverse], dtype=np.int64)


def centroids(vectors: Floats, labels: Labels) -> Floats:
    """One unit row a cluster: (k, d)."""
    return unit(_sums(vectors, labels))


def ratios(vectors: Floats, labels: Labels) -> Floats:
    """Likeness of clusters (k, k): mean correlation across, over the geometric mean of those within.

    1 for two halves of one speaker's windows taken at random, whatever the noise, the channel and the embedder.
    Windows next to each other share audio: such pairs do not count.
    """
    return _Pairs(vectors, labels).ratios()


def merge(vectors: Floats, labels: Labels, similar: float, single: float, separation: float, fewest: int) -> Labels:
    """Labels (n,) after clusters more similar than `similar`, or less apart than `separation`, are merged.

    The most similar pair comes first; `fewest` clusters are left. The last two must be more similar than `single`: a
    recording of one speaker is the rarer case.
    """

    def choose(labels: Labels) -> tuple[int, int] | None:
        ratio = ratios(vectors, labels)
        last = len(ratio) == 2
        if ratio.max() > (single if last else similar):
            return largest(ratio)
        apart = separations(vectors, labels)
        return largest(-apart) if not last and apart.min() < separation else None

    return merge_pairs(labels, choose, fewest)


def merge_pairs(labels: Labels, choose: Callable[[Labels], tuple[int, int] | None], fewest: int) -> Labels:
    """Labels (n,) 0..k-1 after one pair of clusters after the other is merged, until `fewest` (or one) are left.

    `choose(labels)` returns the next pair, or None to end.
    """
    while (last := int(labels.max(initial=-1))) >= max(fewest, 1) and (pair := choose(labels)) is not None:
        a, b = sorted(pair)
        labels = np.where(labels == b, a, labels)
        labels = np.where(labels == last, b, labels)  # labels stay 0..k-1
    return labels


def largest(values: Floats) -> tuple[int, int]:
    """Row and column of the largest of `values` (k, k), the first of equals."""
    row, column = np.unravel_index(values.argmax(), values.shape)
    return int(row), int(column)


def reassign(
    vectors: Floats,
    labels: Labels,
    neighbours: float = 0.0,
    movable: NDArray[np.bool_] | None = None,
    keep_all: bool = True,
    rounds: int = 5,
) -> Labels:
    """Labels (n,) 0..k-1 after each vector joins the cluster with the nearest centroid, again and again.

    This is spherical k-means (I. S. Dhillon, D. S. Modha, "Concept decompositions for large sparse text data using
    clustering", Machine Learning 42, 2001) from given clusters. The similarities of the vectors before and after a
    vector count with weight `neighbours`. Only `movable` (n,) vectors move. It ends where nothing moves, or where a
    cluster becomes empty; with `keep_all`, the round in which that would happen is left out.
    """
    count = int(labels.max()) + 1
    for _ in range(rounds):
        if len(np.unique(labels)) < count:
            break  # an empty cluster has no centroid
        nearness = vectors @ centroids(vectors, labels).T
        smooth = nearness.copy()
        smooth[1:] += neighbours * nearness[:-1]
        smooth[:-1] += neighbours * nearness[1:]
        nearest = smooth.argmax(1)
        if movable is not None:
            nearest = np.where(movable, nearest, labels)
        if np.array_equal(nearest, labels) or (keep_all and len(np.unique(nearest)) < count):
            break
        labels = nearest
    return labels


def separations(vectors: Floats, labels: Labels) -> Floats:
    """How far apart clusters lie (k, k), in standard deviations of their windows along the line between them.

    Fisher's criterion, each window against centroids made without it and its neighbours in time. Only windows whose
    neighbours carry their label count: the others may hold two voices. Infinite where a cluster is small.
    """
    k = int(labels.max()) + 1
    sums, counts = _sums(vectors, labels), np.bincount(labels, minlength=k)
    before, after = np.r_[labels[:1], labels[:-1]] == labels, np.r_[labels[1:], labels[-1:]] == labels
    inner = before & after
    own = np.empty(len(vectors))
    for rows in blocks(len(vectors)):
        rest = sums[labels[rows]] - vectors[rows]
        for beside, step in ((before, -1), (after, 1)):
            near = np.flatnonzero(beside[rows]) + rows.start + step
            near = near[(near >= 0) & (near < len(vectors))]
            rest[near - rows.start - step] -= vectors[near]
        own[rows] = (vectors[rows] * unit(rest)).sum(1)
    other = vectors @ unit(sums).T
    used = []
    for c in range(k):
        members = np.flatnonzero(labels == c)
        used.append(members[inner[members]] if inner[members].sum() >= 3 else members)
    apart = np.full((k, k), np.inf)
    for a in range(k):
        for b in range(a):
            if min(counts[a], counts[b]) >= _LARGE:
                left, right = own[used[a]] - other[used[a], b], other[used[b], a] - own[used[b]]
                spread = (left.var() * len(left) + right.var() * len(right)) / (len(left) + len(right) - 2)
                apart[a, b] = apart[b, a] = (left.mean() - right.mean()) / np.sqrt(spread + 1e-9)
    return apart


def split(vectors: Floats, labels: Labels, groups: Labels, likeness: float, least: int, most: int) -> Labels:
    """Within each cluster, a coherent part less like the rest than `likeness` becomes a cluster of its own.

    Spectral clusters are about as large as their neighbourhoods; somebody who speaks for five seconds in twenty
    minutes hides in another's. `groups` (n,): vectors of one group stay together. A part has `least` windows or more.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    labels = labels.copy()
    if _dense(vectors):
        return labels
    for c in range(int(labels.max()) + 1):
        members = np.flatnonzero(labels == c)
        names, of = np.unique(groups[members], return_inverse=True)
        if len(names) < 3:
            continue
        tree = linkage(centroids(vectors[members], of), "average")
        parts = fcluster(tree, np.sqrt(2 - 2 * _CUT), "distance")[of]
        sizes = np.bincount(parts)
        main = int(sizes.argmax())
        for part in np.flatnonzero((sizes >= least) & (sizes <= _BRIEF) & (np.arange(len(sizes)) != main)):
            if labels.max() + 1 >= most:
                break
            if not _coherent(members[parts == part]):
                continue
            trial = np.full(len(vectors), 2, dtype=np.int64)
            trial[members] = np.where(parts == part, 1, np.where(labels[members] == c, 0, 2))
            if _Pairs(vectors, trial).ratios()[0, 1] < likeness:
                labels[members[parts == part]] = labels.max() + 1
    return labels


def _dense(vectors: Floats) -> bool:
    """Whether neighbours share most of their audio: a few of them are then alike because they are the same sound."""
    beside = np.einsum("ij,ij->i", vectors[1:], vectors[:-1])
    return len(beside) == 0 or float(np.quantile(beside, 0.6)) > _SAME_SOUND


def _coherent(members: Labels) -> bool:
    """Whether most of these windows (their places in time) stand beside another of them, as those of a turn do."""
    near = np.diff(members) == 1
    return bool((np.r_[False, near] | np.r_[near, False]).mean() >= _BESIDE)


class _Pairs:
    """Sums and counts of correlations between windows of clusters, without pairs that are next to each other."""

    def __init__(self, vectors: Floats, labels: Labels) -> None:
        k = int(labels.max()) + 1
        sums = _sums(vectors, labels)
        sizes = np.bincount(labels, minlength=k).astype(np.float64)
        self.total, self.count = sums @ sums.T, np.outer(sizes, sizes)
        same = np.einsum("ij,ij->i", vectors, vectors)
        np.subtract.at(self.total, (labels, labels), same)
        np.subtract.at(self.count, (labels, labels), 1)
        beside = np.einsum("ij,ij->i", vectors[1:], vectors[:-1])
        for a, b in ((labels[1:], labels[:-1]), (labels[:-1], labels[1:])):
            np.subtract.at(self.total, (a, b), beside)
            np.subtract.at(self.count, (a, b), 1)
        later = np.einsum("ij,ij->i", vectors[2:], vectors[:-2])
        self.usual = float(np.quantile(later, 0.6)) if len(later) else 0.6

    def ratios(self) -> Floats:
        within = (np.diag(self.total) + _WEIGHT * self.usual) / (np.maximum(np.diag(self.count), 0) + _WEIGHT)
        across = np.where(self.count > 0.5, self.total / np.maximum(self.count, 1), -1.0)
        alike = across / np.sqrt(np.maximum(np.outer(within, within), 1e-3))
        np.fill_diagonal(alike, -np.inf)
        return np.asarray(alike, dtype=np.float64)


def _sums(vectors: Floats, labels: Labels) -> Floats:
    k = int(labels.max()) + 1
    sums = np.zeros((k, vectors.shape[1]))
    for c in range(k):
        sums[c] = vectors[labels == c].sum(0)
    return sums

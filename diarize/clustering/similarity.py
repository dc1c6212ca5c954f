"""Similarity of clusters: are two of them one speaker, and what follows from that (docs/method/clustering.md).

Vectors are compared by their correlation, which is the cosine after each vector's own mean is subtracted: an embedder
that ends in a ReLU gives vectors that all point the same way, and the correlation does not count that as similarity.
Windows are in order of time; neighbours share audio.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from diarize.types import Labels, Vectors

Floats = NDArray[np.float64]

_LINKAGE = 0.5  # correlation down to which average linkage joins vectors of a cluster in search of a hidden speaker
_MOST_HIDDEN = 24  # windows of a hidden speaker at most: more would have had a cluster of their own
_CONSECUTIVE = 0.6  # share of a hidden speaker's windows that are next to another of them: chance gives fewer
_SAME_AUDIO = 0.88  # GE2E reaches 0.73 to 0.84 where windows overlap by half; 0.92 where x-vectors do by five sixths
_USUAL_PAIRS = 2.0  # weight, in pairs, of the recording's usual correlation in the mean within a cluster
_BLOCK = 8192  # rows that are computed at once
_LARGE = 50  # windows from which the separation of a cluster can be judged


def unit(vectors: Floats) -> Floats:
    """Rows of length one; a row of zeros stays."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), dtype=np.float64)


def centre(vectors: Vectors) -> Floats:
    """Rows less their own mean, of length one: their products are correlations. (n, d)"""
    centred = np.empty(vectors.shape)
    for rows in blocks(len(vectors)):
        wide = vectors[rows].astype(np.float64)
        centred[rows] = unit(wide - wide.mean(axis=1, keepdims=True))
    return centred


def blocks(n: int) -> Iterator[slice]:
    """Slices of n rows, so that intermediate results take little memory."""
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


def _sums(vectors: Floats, labels: Labels) -> Floats:
    k = int(labels.max()) + 1
    sums = np.zeros((k, vectors.shape[1]))
    for c in range(k):
        sums[c] = vectors[labels == c].sum(0)
    return sums


def ratios(vectors: Floats, labels: Labels) -> Floats:
    """Similarity of clusters (k, k): the mean correlation across, over the geometric mean of those within.

    1 for two random halves of one speaker's windows, whatever the noise, the channel and the embedder. Pairs of
    neighbours do not count. -1 where two clusters have no pair, -inf on the diagonal.
    """
    # Sums and numbers of the correlations of all pairs of windows, by the clusters of the two ...
    sums, sizes = _sums(vectors, labels), np.bincount(labels).astype(np.float64)
    total, count = sums @ sums.T, np.outer(sizes, sizes)
    # ... less those of a window with itself ...
    np.subtract.at(total, (labels, labels), np.einsum("ij,ij->i", vectors, vectors))
    np.subtract.at(count, (labels, labels), 1)
    # ... and of neighbours, in both directions.
    neighbours = np.einsum("ij,ij->i", vectors[1:], vectors[:-1])
    for a, b in ((labels[1:], labels[:-1]), (labels[:-1], labels[1:])):
        np.subtract.at(total, (a, b), neighbours)
        np.subtract.at(count, (a, b), 1)

    # A small cluster has few pairs: the usual correlation of windows two apart, mostly one speaker's, counts with them.
    two_apart = np.einsum("ij,ij->i", vectors[2:], vectors[:-2])
    usual = float(np.quantile(two_apart, 0.6)) if len(two_apart) else 0.6
    within = (np.diag(total) + _USUAL_PAIRS * usual) / (np.maximum(np.diag(count), 0) + _USUAL_PAIRS)
    across = np.where(count > 0.5, total / np.maximum(count, 1), -1.0)
    ratio = across / np.sqrt(np.maximum(np.outer(within, within), 1e-3))
    np.fill_diagonal(ratio, -np.inf)
    return np.asarray(ratio, dtype=np.float64)


def separations(vectors: Floats, labels: Labels) -> Floats:
    """How far apart clusters are (k, k), in standard deviations of their windows along the line between the centroids.

    Fisher's criterion. Infinite on the diagonal, and where a cluster has fewer than 50 windows.
    """
    k = int(labels.max()) + 1
    sums, counts = _sums(vectors, labels), np.bincount(labels, minlength=k)
    same_before = np.r_[labels[:1], labels[:-1]] == labels
    same_after = np.r_[labels[1:], labels[-1:]] == labels

    # Similarity of each window to its own centroid, without itself and its neighbours: they would make it too large.
    own = np.empty(len(vectors))
    for rows in blocks(len(vectors)):
        rest = sums[labels[rows]] - vectors[rows]
        for same, step in ((same_before, -1), (same_after, 1)):
            near = np.flatnonzero(same[rows]) + rows.start + step
            near = near[(near >= 0) & (near < len(vectors))]
            rest[near - rows.start - step] -= vectors[near]
        own[rows] = (vectors[rows] * unit(rest)).sum(1)
    other = vectors @ unit(sums).T

    # Windows at a change of label may have two voices: they do not count, if there are enough others.
    used = []
    for c in range(k):
        members = np.flatnonzero(labels == c)
        inner = members[(same_before & same_after)[members]]
        used.append(inner if len(inner) >= 3 else members)

    apart = np.full((k, k), np.inf)
    for a, b in combinations(range(k), 2):
        if min(counts[a], counts[b]) >= _LARGE:
            left, right = own[used[b]] - other[used[b], a], other[used[a], b] - own[used[a]]
            variance = (left.var() * len(left) + right.var() * len(right)) / (len(left) + len(right) - 2)
            apart[a, b] = apart[b, a] = (left.mean() - right.mean()) / np.sqrt(variance + 1e-9)
    return apart


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


def split(vectors: Floats, labels: Labels, groups: Labels, similar: float, least: int, most: int) -> Labels:
    """Labels (n,) after parts of clusters that are hidden speakers became clusters, up to `most` clusters.

    Spectral clusters are about as large as their neighbourhoods; somebody who speaks for five seconds in twenty
    minutes is hidden in another's. Such a part has `least` windows or more, most of them consecutive, and is less
    similar to the rest of the cluster than `similar`. `groups` (n,): vectors of one group stay together.
    """
    labels = labels.copy()
    if _is_dense(vectors):
        return labels
    for c in range(int(labels.max()) + 1):
        members = np.flatnonzero(labels == c)
        for part in _parts(vectors, members, groups, least):
            if labels.max() + 1 >= most:
                break
            # Similarity of the part (1) and the rest of the cluster (0), among all windows of the recording (2).
            trial = np.full(len(vectors), 2, dtype=np.int64)
            trial[members] = np.where(labels[members] == c, 0, 2)
            trial[part] = 1
            if ratios(vectors, trial)[0, 1] < similar:
                labels[part] = labels.max() + 1
    return labels


def _parts(vectors: Floats, members: Labels, groups: Labels, least: int) -> list[Labels]:
    """Parts of the cluster `members` (m,) by average linkage that may be hidden speakers: positions of windows."""
    from scipy.cluster.hierarchy import fcluster, linkage

    names, of = np.unique(groups[members], return_inverse=True)
    if len(names) < 3:
        return []
    tree = linkage(centroids(vectors[members], of), "average")
    parts = fcluster(tree, np.sqrt(2 - 2 * _LINKAGE), "distance")[of]  # the distance of two vectors of that correlation
    sizes = np.bincount(parts)
    hidden = (sizes >= least) & (sizes <= _MOST_HIDDEN) & (np.arange(len(sizes)) != sizes.argmax())
    return [part for c in np.flatnonzero(hidden) if _are_consecutive(part := members[parts == c])]


def _is_dense(vectors: Floats) -> bool:
    """Whether neighbours share most of their audio: a few of them are then similar because they are the same sound."""
    neighbours = np.einsum("ij,ij->i", vectors[1:], vectors[:-1])
    return len(neighbours) == 0 or float(np.quantile(neighbours, 0.6)) > _SAME_AUDIO


def _are_consecutive(windows: Labels) -> bool:
    """Whether most of these windows (positions in time) are next to another of them, as those of a turn are."""
    next_to = np.diff(windows) == 1
    return bool((np.r_[False, next_to] | np.r_[next_to, False]).mean() >= _CONSECUTIVE)

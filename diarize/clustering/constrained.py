"""Labels that obey what is known of who speaks, whatever made them (docs/method/constraints.md).

`owner` (n,) is `constraints.carried`: whose each window is, -1 where that is not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from diarize.clustering import similarity
from diarize.clustering.constraints import Constraints, carried, conflicts, placed
from diarize.clustering.spectral import bounds
from diarize.config import ClusterConfig
from diarize.types import ClusterTurn, Embeddings, Labels, Vectors

Floats = NDArray[np.float64]

_SHARE = 0.25  # of a person's windows in a cluster from which, with no one else's there, all of it is theirs


def apply(
    labels: Labels, voices: Embeddings, known: Constraints, config: ClusterConfig
) -> tuple[Labels, tuple[ClusterTurn, ...]]:
    """(labels (n,) of the windows of `voices` that obey, the known turns of everybody who has a window)."""
    fewest, most = bounds(config, len(labels))
    owner = carried(voices.segments, known)
    labels = obey(voices.vectors, labels, owner, known.apart, fewest, most)
    cluster = {person: int(labels[owner == person][0]) for person in np.unique(owner).tolist() if person >= 0}
    turns = zip(known.stretches, known.people, strict=True)
    return labels, tuple(ClusterTurn(s.start, s.end, cluster[person]) for s, person in turns if person in cluster)


def obey(
    vectors: Vectors,
    labels: Labels,
    owner: NDArray[np.int64],
    apart: frozenset[tuple[int, int]],
    fewest: int = 1,
    most: int = 20,
) -> Labels:
    """Labels (n,), numbered by first appearance: each person's windows have one label, those of `apart` pairs two.

    Each person gets the cluster that holds most of their windows. Where that is somebody's whom they are known not to
    be, the worse fitting one gets a cluster of their own, and what of the old one is nearer to them; where `most`
    clusters are made already, they get the likest one that they may have. There are no fewer than `fewest` labels if
    the windows allow them. Raises ValueError where `most` labels cannot tell everybody apart.
    """
    if not (owner >= 0).any():
        return similarity.canonical(labels)
    centred = similarity.centre(vectors)
    labels = similarity.canonical(labels)
    heard = [int(person) for person in np.unique(owner) if person >= 0]
    against = conflicts(apart, max(heard[-1], *(b for _, b in apart), 0) + 1)
    labels = _joined(labels, _votes(labels, owner), against, heard, fewest)
    centroids, votes = similarity.centroids(centred, labels), _votes(labels, owner)
    means = {person: similarity.unit(centred[owner == person].sum(0, keepdims=True))[0] for person in heard}
    home = {person: int(votes[person].argmax()) for person in heard}
    order = sorted(heard, key=lambda person: (-float(means[person] @ centroids[home[person]]), person))
    count = len(centroids)

    def options(person: int, given: Mapping[int, int]) -> list[int]:
        near = centroids @ means[person]
        likest = np.argsort(-near, kind="stable").tolist()
        liker = [label for label in likest if near[label] > near[home[person]]]
        made: dict[int, float] = {}  # new clusters, and how like their people are
        for other, label in given.items():
            if label >= count:
                made[label] = max(made.get(label, -2.0), float(means[person] @ means[other]))
        fresh = count + len(made)
        new = [fresh] if fresh < most else []
        old = sorted(made, key=lambda label: (-made[label], label))
        return list(dict.fromkeys((home[person], *liker, *new, *old, *likest)))

    given = placed(order, against, options)
    if given is None:
        raise ValueError(f"{len(heard)} people, known to be others than each other, are too many for {most} speakers")
    return similarity.canonical(_restored(centred, _given(centred, labels, owner, given, home), owner, fewest))


def _votes(labels: Labels, owner: NDArray[np.int64]) -> Floats:
    """(persons, clusters): how many windows of each person each cluster holds."""
    votes = np.zeros((int(owner.max()) + 1, int(labels.max()) + 1))
    np.add.at(votes, (owner[owner >= 0], labels[owner >= 0]), 1)
    return votes


def _joined(labels: Labels, votes: Floats, against: Sequence[set[int]], heard: Sequence[int], fewest: int) -> Labels:
    """Clusters that hold a fair part of one person's windows, and nobody's else, are that person's: they become one."""
    labels = labels.copy()
    count = len(np.unique(labels))
    for person in sorted(heard, key=lambda person: (-votes[person].sum(), person)):
        home = int(votes[person].argmax())
        if any(other < len(votes) and votes[other, home] for other in against[person]):
            continue
        for label in np.flatnonzero(votes[person] >= np.maximum(2, _SHARE * votes[person].sum())).tolist():
            alone = votes[:, label].sum() == votes[person, label]
            if label != home and alone and count > max(fewest, 1):
                labels[labels == label] = home
                votes[person, home] += votes[person, label]
                votes[person, label] = 0
                count -= 1
    return similarity.canonical(labels)


def _given(
    vectors: Floats, labels: Labels, owner: NDArray[np.int64], given: Mapping[int, int], home: Mapping[int, int]
) -> Labels:
    """Everybody's windows with their label; what nobody owns of a cluster that was parted goes to the nearer part."""
    before, labels = labels, labels.copy()
    for person, label in given.items():
        labels[owner == person] = label
    for cluster in sorted(set(home.values())):
        parts = sorted({given[person] for person in given if home[person] == cluster} - {cluster})
        parts = [part for part in parts if part > int(before.max())]
        free = np.flatnonzero((before == cluster) & (owner < 0))
        if not parts or not len(free):
            continue
        names = np.array([cluster, *parts])
        inside = np.flatnonzero(np.isin(labels, names))
        nearest = similarity.reassign(
            vectors[inside], np.searchsorted(names, labels[inside]), movable=owner[inside] < 0, keep_all=False
        )
        labels[inside] = names[nearest]
    return labels


def _restored(vectors: Floats, labels: Labels, owner: NDArray[np.int64], fewest: int) -> Labels:
    """No fewer than `fewest` clusters: the one least of one voice is cut in two, each person staying whole."""
    labels = similarity.canonical(labels)
    whole = np.where(owner >= 0, owner, np.arange(len(owner)) + int(owner.max()) + 1)
    _, atoms = np.unique(whole, return_inverse=True)
    while int(labels.max()) + 1 < fewest:
        spread = {}
        for label in range(int(labels.max()) + 1):
            members = labels == label
            if len(np.unique(atoms[members])) > 1:
                spread[label] = float(members.sum() - np.linalg.norm(vectors[members].sum(0)))
        if not spread:
            break
        members = np.flatnonzero(labels == max(spread, key=lambda label: (spread[label], -label)))
        _, of = np.unique(atoms[members], return_inverse=True)
        sums = np.zeros((int(of.max()) + 1, vectors.shape[1]))
        np.add.at(sums, of, vectors[members])
        parts = np.zeros(len(sums), dtype=np.int64)
        parts[(similarity.unit(sums) @ similarity.unit(sums.sum(0, keepdims=True))[0]).argmin()] = 1
        other = similarity.reassign(sums, parts) == 1
        labels[members[other[of]]] = int(labels.max()) + 1
    return labels

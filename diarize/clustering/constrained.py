"""Labels changed to satisfy constraints, whatever clusterer they are from (docs/method/constraints.md).

`owner` (n,) is `constraints.owners`: the person of each window, -1 where that is not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from diarize.clustering import similarity
from diarize.clustering.constraints import Constraints, assign, conflicts, owners
from diarize.clustering.spectral import bounds
from diarize.config import ClusterConfig
from diarize.types import ClusterTurn, Embeddings, Labels, Vectors

Floats = NDArray[np.float64]

_SHARE = 0.25  # of a person's windows: a cluster with as many, and no known windows of others, is all of that person


def apply(
    labels: Labels, voices: Embeddings, known: Constraints, config: ClusterConfig
) -> tuple[Labels, tuple[ClusterTurn, ...]]:
    """(labels (n,) of the windows of `voices` that satisfy `known`, the known turns of everybody who has a window).

    Raises ValueError where `config` allows too few speakers.
    """
    fewest, most = bounds(config, len(labels))
    owner = owners(voices.segments, known)
    labels = enforce(voices.vectors, labels, owner, known.cannot_link, fewest, most)
    cluster = {person: int(labels[owner == person][0]) for person in np.unique(owner).tolist() if person >= 0}
    turns = zip(known.spans, known.people, strict=True)
    return labels, tuple(ClusterTurn(s.start, s.end, cluster[person]) for s, person in turns if person in cluster)


def enforce(
    vectors: Vectors,
    labels: Labels,
    owner: NDArray[np.int64],
    cannot_link: frozenset[tuple[int, int]],
    fewest: int = 1,
    most: int = 20,
) -> Labels:
    """Labels (n,), numbered by first appearance: one for all windows of a person, two for the people of a cannot-link.

    Each person gets the cluster that holds most of their windows. If somebody has it whom they are known not to be,
    the one who is less similar to it gets a more similar cluster or a new one, and those windows of the old cluster
    that are nearer to it; if there are `most` clusters already, the most similar one that is allowed. There are no
    fewer than `fewest` labels if the windows allow them. Raises ValueError where `most` labels are too few.
    """
    labels = similarity.canonical(labels)
    if not (owner >= 0).any():
        return labels
    centred = similarity.centre(vectors)
    people = [int(person) for person in np.unique(owner) if person >= 0]
    against = conflicts(cannot_link, max(people[-1], *(b for _, b in cannot_link), 0) + 1)
    labels = _merge_clusters_of_one_person(labels, owner, against, people, fewest)

    centroids, counts = similarity.centroids(centred, labels), _window_counts(labels, owner)
    means = {person: similarity.unit(centred[owner == person].sum(0, keepdims=True))[0] for person in people}
    home = {person: int(counts[person].argmax()) for person in people}

    def options(person: int, labels_so_far: Mapping[int, int]) -> list[int]:
        """The cluster with most of their windows, more similar ones, a new one, others' new ones, all others."""
        near = centroids @ means[person]
        by_similarity = np.argsort(-near, kind="stable").tolist()
        more_similar = [label for label in by_similarity if near[label] > near[home[person]]]
        new: dict[int, float] = {}  # new cluster -> its similarity
        for other, label in labels_so_far.items():
            if label >= len(centroids):
                new[label] = max(new.get(label, -2.0), float(means[person] @ means[other]))
        own_new = [len(centroids) + len(new)] if len(centroids) + len(new) < most else []
        others_new = sorted(new, key=lambda label: (-new[label], label))
        return list(dict.fromkeys((home[person], *more_similar, *own_new, *others_new, *by_similarity)))

    # The most similar to their cluster choose first: they keep it.
    order = sorted(people, key=lambda person: (-float(means[person] @ centroids[home[person]]), person))
    assignment = assign(order, against, options)
    if assignment is None:
        raise ValueError(f"{len(people)} people who are known to be different are too many for {most} speakers")
    labels = _with_assignment(centred, labels, owner, assignment, home)
    return similarity.canonical(_split_to(centred, labels, owner, fewest))


def _window_counts(labels: Labels, owner: NDArray[np.int64]) -> Floats:
    """(persons, clusters): how many windows of each person each cluster holds."""
    counts = np.zeros((int(owner.max()) + 1, int(labels.max()) + 1))
    np.add.at(counts, (owner[owner >= 0], labels[owner >= 0]), 1)
    return counts


def _merge_clusters_of_one_person(
    labels: Labels, owner: NDArray[np.int64], against: Sequence[set[int]], people: Sequence[int], fewest: int
) -> Labels:
    """Labels (n,) after clusters with `_SHARE` of one person's windows, and no known ones of others, are merged."""
    labels, counts = labels.copy(), _window_counts(labels, owner)
    clusters = len(np.unique(labels))
    for person in sorted(people, key=lambda person: (-counts[person].sum(), person)):
        home = int(counts[person].argmax())
        if any(other < len(counts) and counts[other, home] for other in against[person]):
            continue
        for label in np.flatnonzero(counts[person] >= np.maximum(2, _SHARE * counts[person].sum())).tolist():
            alone = counts[:, label].sum() == counts[person, label]
            if label != home and alone and clusters > max(fewest, 1):
                labels[labels == label] = home
                counts[person, home] += counts[person, label]
                counts[person, label] = 0
                clusters -= 1
    return similarity.canonical(labels)


def _with_assignment(
    vectors: Floats, labels: Labels, owner: NDArray[np.int64], assignment: Mapping[int, int], home: Mapping[int, int]
) -> Labels:
    """Labels (n,) with each person's windows as assigned; the rest of a divided cluster goes to the nearer part."""
    before, labels = labels, labels.copy()
    for person, label in assignment.items():
        labels[owner == person] = label
    for cluster in sorted(set(home.values())):
        new = {assignment[person] for person in assignment if home[person] == cluster}
        parts = [cluster, *sorted(label for label in new if label > before.max())]
        if len(parts) == 1 or not ((before == cluster) & (owner < 0)).any():
            continue
        inside = np.flatnonzero(np.isin(labels, parts))
        start = np.searchsorted(parts, labels[inside])
        nearest = similarity.reassign(vectors[inside], start, movable=owner[inside] < 0, keep_all=False)
        labels[inside] = np.array(parts)[nearest]
    return labels


def _split_to(vectors: Floats, labels: Labels, owner: NDArray[np.int64], fewest: int) -> Labels:
    """Labels (n,) after the most mixed cluster is cut in two until there are `fewest`; no person is cut."""
    labels = similarity.canonical(labels)
    single = np.arange(len(owner)) + int(owner.max()) + 1  # a window without an owner stands for itself
    _, unit_of = np.unique(np.where(owner >= 0, owner, single), return_inverse=True)
    while int(labels.max()) + 1 < fewest:
        mixed = {}
        for label in range(int(labels.max()) + 1):
            members = labels == label
            if len(np.unique(unit_of[members])) > 1:
                mixed[label] = float(members.sum() - np.linalg.norm(vectors[members].sum(0)))
        if not mixed:
            break
        # 2-means of the sums of persons and single windows, from the one least similar to all and the others.
        members = np.flatnonzero(labels == max(mixed, key=lambda label: (mixed[label], -label)))
        _, of = np.unique(unit_of[members], return_inverse=True)
        sums = np.zeros((int(of.max()) + 1, vectors.shape[1]))
        np.add.at(sums, of, vectors[members])
        parts = np.zeros(len(sums), dtype=np.int64)
        parts[(similarity.unit(sums) @ similarity.unit(sums.sum(0, keepdims=True))[0]).argmin()] = 1
        cut_off = similarity.reassign(sums, parts) == 1
        labels[members[cut_off[of]]] = int(labels.max()) + 1
    return labels

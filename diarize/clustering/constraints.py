"""Known turns as constraints: spans of one person (must-link), of two people (cannot-link).

What must be one person is joined by transitivity, then who cannot be one is kept apart (K. Wagstaff, C. Cardie,
S. Rogers, S. Schroedl, "Constrained K-means clustering with background knowledge", ICML 2001). See
docs/method/constraints.md.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diarize.intervals import SpanIndex
from diarize.timeline import intersect, union
from diarize.types import Segment, Turn

_MOSTLY = 0.5  # share of a window that its owner's turns cover, and of the shorter of two spans that are the same one
_STEPS = 100_000  # limit of the search for labels: colouring a graph can take exponential time

LinkKind = Literal["must", "cannot"]
Options = Callable[[int, Mapping[int, int]], Sequence[int]]  # (person, labels of others) -> labels to try, best first


@dataclass(frozen=True, slots=True)
class Link:
    """Two spans of one person (must-link), or of two people (cannot-link), and the file and line that say so."""

    kind: LinkKind
    first: Segment
    second: Segment
    place: str


@dataclass(frozen=True, slots=True)
class Constraints:
    """Spans of time and who speaks in them: person `people[i]` in `spans[i]`.

    `cannot_link` holds the pairs (p, q), p < q, of people who are different. `name`: identity, with digests of the
    files. `notes`: remarks on the files, for the reader of a result.
    """

    spans: tuple[Segment, ...] = ()
    people: tuple[int, ...] = ()
    cannot_link: frozenset[tuple[int, int]] = frozenset()
    name: str = ""
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Number of people."""
        return max(self.people, default=-1) + 1

    def by_person(self) -> tuple[tuple[Segment, ...], ...]:
        """The spans of each person: sorted, disjoint."""
        spans: list[list[Segment]] = [[] for _ in range(self.count)]
        for person, span in zip(self.people, self.spans, strict=True):
            spans[person].append(span)
        return tuple(union(own) for own in spans)


NO_CONSTRAINTS = Constraints()


def resolve(turns: Sequence[Turn], links: Sequence[Link], name: str) -> Constraints:
    """Constraints from turns, whose speakers are different people, and from links.

    A span of a link belongs to the person of a turn, or of another link's span, if they share at least half of the
    shorter one. Raises ValueError for a contradiction, with the places of both sides.
    """
    # Nodes of a graph: the speakers of the turns, then the two spans of each link. Edges join what is one person.
    speakers = sorted({turn.speaker for turn in turns})
    node = {speaker: i for i, speaker in enumerate(speakers)}
    pairs = [(len(speakers) + 2 * i, len(speakers) + 2 * i + 1) for i in range(len(links))]  # nodes of each link
    graph = _Graph(len(speakers) + 2 * len(links), _same_person(turns, links, node))
    _refuse_contradictions(graph, links, pairs, node)

    # People are numbered in order of their spans, so that the order of the files does not matter.
    spans = [(turn.start, turn.end, graph.component[node[turn.speaker]]) for turn in turns]
    for link, (a, b) in zip(links, pairs, strict=True):
        spans += [(link.first.start, link.first.end, graph.component[a])]
        spans += [(link.second.start, link.second.end, graph.component[b])]
    spans.sort()
    number: dict[int, int] = {}
    for _, _, component in spans:
        number.setdefault(component, len(number))

    # All speakers of turns are different people, and so are the two of each cannot-link.
    different = list(combinations((graph.component[i] for i in range(len(speakers))), 2))
    different += [
        (graph.component[a], graph.component[b])
        for link, (a, b) in zip(links, pairs, strict=True)
        if link.kind == "cannot"
    ]
    return Constraints(
        tuple(Segment(start, end) for start, end, _ in spans),
        tuple(number[component] for _, _, component in spans),
        frozenset((min(number[a], number[b]), max(number[a], number[b])) for a, b in different),
        name,
    )


def _same_person(
    turns: Sequence[Turn], links: Sequence[Link], node: Mapping[str, int]
) -> Iterator[tuple[int, int, str]]:
    """(node, node, reason) of nodes that are one person; `node` of each speaker, those of links follow."""
    spans = [span for link in links for span in (link.first, link.second)]
    for a, b in _same_spans(spans):
        reason = f"{_times(spans[a])} and {_times(spans[b])} are mostly the same time" if spans[a] != spans[b] else ""
        yield len(node) + a, len(node) + b, reason
    ordered = sorted(turns, key=lambda turn: (turn.start, turn.end))
    index = SpanIndex(ordered)
    for a, span in enumerate(spans):
        near = [ordered[i] for i in index.overlapping(span)]
        near = [turn for turn in near if span.overlap(turn) / min(span.duration, turn.duration) >= _MOSTLY]
        if near:  # where turns of two speakers overlap, the span is of the one that it is most like
            own = max(near, key=lambda turn: span.overlap(turn) / (union((span, turn))[0].duration))
            yield len(node) + a, node[own.speaker], f"{_times(span)} is mostly a turn of {own.speaker!r}"
    for i, link in enumerate(links):
        if link.kind == "must":
            yield len(node) + 2 * i, len(node) + 2 * i + 1, link.place


def _refuse_contradictions(
    graph: _Graph, links: Sequence[Link], pairs: Sequence[tuple[int, int]], node: Mapping[str, int]
) -> None:
    """Raises ValueError where two who are different people are one by the edges of `graph`, and says by which."""
    for link, (a, b) in zip(links, pairs, strict=True):
        if link.kind == "cannot" and graph.component[a] == graph.component[b]:
            raise ValueError(
                f"{link.place} says that {_times(link.first)} and {_times(link.second)} are two people, but they are "
                f"one person according to: {'; '.join(graph.path(a, b))}"
            )
    speaker_of: dict[int, str] = {}
    for speaker, i in node.items():
        other = speaker_of.setdefault(graph.component[i], speaker)
        if other != speaker:
            raise ValueError(
                f"{other!r} and {speaker!r} are two speakers of the known turns, but they are one person according "
                f"to: {'; '.join(graph.path(node[other], i))}"
            )


def satisfiable(constraints: Constraints, most: int) -> bool:
    """Whether `most` speakers are enough to keep everybody apart who is known to be different."""
    against = conflicts(constraints.cannot_link, constraints.count)
    # Somebody with fewer than `most` conflicts gets a label whatever labels the others have: leave them out, and then
    # those who have fewer than `most` conflicts with the rest.
    degree = {person: len(others) for person, others in enumerate(against)}
    easy = [person for person, others in degree.items() if others < most]
    for person in easy:
        del degree[person]
        for other in against[person]:
            if other in degree:
                degree[other] -= 1
                if degree[other] == most - 1:
                    easy.append(other)
    order = sorted(degree, key=lambda p: (-len(against[p]), p))
    # Labels that nobody has yet are interchangeable: the first of them stands for all.
    return assign(order, against, lambda p, used: range(min(most, max(used.values(), default=-1) + 2))) is not None


def owners(windows: Sequence[Segment], constraints: Constraints) -> NDArray[np.int64]:
    """(n,) the person whose turns cover most of a window, -1 for none or several. `windows` are sorted by start."""
    starts, ends = np.array([w.start for w in windows]), np.array([w.end for w in windows])
    longest = float((ends - starts).max(initial=0.0))
    owner, count = np.full(len(windows), -1, dtype=np.int64), np.zeros(len(windows), dtype=np.int64)
    for person, spans in enumerate(constraints.by_person()):
        covered = np.zeros(len(windows))
        for span in spans:
            near = slice(*np.searchsorted(starts, (span.start - longest, span.end)))
            covered[near] += np.maximum(np.minimum(ends[near], span.end) - np.maximum(starts[near], span.start), 0.0)
        mostly = covered >= _MOSTLY * (ends - starts) - 1e-6
        owner[mostly], count[mostly] = person, count[mostly] + 1
    owner[count > 1] = -1
    return owner


def remarks(
    constraints: Constraints, windows: Sequence[Segment], speech: Sequence[Segment], duration: float
) -> tuple[str, ...]:
    """Which known turns have no effect, and why, for the notes of a result."""
    outside, silent, unclear = [], [], []
    with_windows = set(owners(windows, constraints).tolist())
    for span, person in zip(constraints.spans, constraints.people, strict=True):
        if span.end > duration + 1e-3:
            outside.append(span)
        if span.start < duration and not intersect(speech, (span,)):
            silent.append(span)
        elif span.start < duration and person not in with_windows:
            unclear.append(span)
    reasons = (
        ("that end after the recording", outside),
        ("without detected speech, which have no effect", silent),
        ("too short for a voice, or overlapped by other known turns, which have no effect", unclear),
    )
    return tuple(f"known turns {reason}: {_list(spans)}" for reason, spans in reasons if spans)


def conflicts(cannot_link: Iterable[tuple[int, int]], count: int) -> list[set[int]]:
    """Person -> those who are different people; `count` people."""
    against: list[set[int]] = [set() for _ in range(count)]
    for a, b in cannot_link:
        against[a].add(b)
        against[b].add(a)
    return against


def assign(order: Sequence[int], against: Sequence[set[int]], options: Options) -> dict[int, int] | None:
    """Person -> label, such that no two people who are `against` each other share one; None where there is no way.

    People choose in `order`; `options(person, labels so far)` are the labels to try, best first. Depth first, and None
    also after too many steps: whether few labels are enough is a colouring of a graph, which can take for ever.
    """
    labels: dict[int, int] = {}
    untried: list[Iterator[int]] = []  # options of each person so far that were not tried yet
    for _ in range(_STEPS):
        if len(labels) == len(order):
            return labels
        person = order[len(labels)]
        if len(untried) == len(labels):
            untried.append(iter(tuple(options(person, labels))))
        blocked = {labels[other] for other in against[person] if other in labels}
        label = next((label for label in untried[-1] if label not in blocked), None)
        if label is not None:
            labels[person] = label
            continue
        untried.pop()
        if not untried:
            return None
        del labels[order[len(labels) - 1]]
    return None


class _Graph:
    """Nodes 0..n-1 that are one person where edges (node, node, reason) join them."""

    def __init__(self, count: int, edges: Iterable[tuple[int, int, str]]) -> None:
        from scipy.cluster.hierarchy import DisjointSet  # half a second to import, and few recordings have links

        sets = DisjointSet(range(count))
        self._edges: list[list[tuple[int, str]]] = [[] for _ in range(count)]
        for a, b, reason in edges:
            sets.merge(a, b)
            self._edges[a].append((b, reason))
            self._edges[b].append((a, reason))
        first: dict[int, int] = {}
        self.component = [first.setdefault(sets[i], i) for i in range(count)]  # (n,): the first node of each component

    def path(self, start: int, end: int) -> list[str]:
        """The reasons on a shortest path between two nodes of one component, which a disjoint set does not keep."""
        previous: dict[int, tuple[int, str]] = {start: (start, "")}
        waiting = deque([start])
        while end not in previous:
            node = waiting.popleft()
            for other, reason in self._edges[node]:
                if other not in previous:
                    previous[other] = (node, reason)
                    waiting.append(other)
        reasons = []
        while end != start:
            end, reason = previous[end]
            reasons.append(reason)
        return [reason for reason in reversed(reasons) if reason]


def _same_spans(spans: Sequence[Segment]) -> Iterator[tuple[int, int]]:
    """Pairs of positions of spans that are mostly the same time: as many as join all that are one by it. n log n.

    The shorter of two spans is mostly in the longer one if its middle is. So spans come from the longest on, and each
    asks which of those before lie over its middle. They are kept in a segment tree over all middles, a span at the few
    nodes that together are the middles it covers. The spans at a node that was asked are one from then on, and one of
    them stays there.
    """
    from scipy.cluster.hierarchy import DisjointSet

    middles = sorted(span.start + span.end for span in spans)  # twice the middle: no rounding
    tree: list[list[int]] = [[] for _ in range(2 * len(spans))]
    same = DisjointSet(range(len(spans)))
    for i in sorted(range(len(spans)), key=lambda i: -spans[i].duration):
        span = spans[i]
        node = len(spans) + bisect_left(middles, span.start + span.end)
        while node:
            for other in tree[node]:
                if same.merge(other, i):
                    yield other, i
            del tree[node][1:]
            node //= 2
        low = len(spans) + bisect_left(middles, 2 * span.start)
        high = len(spans) + bisect_right(middles, 2 * span.end)
        while low < high:
            if low % 2:
                tree[low].append(i)
                low += 1
            if high % 2:
                high -= 1
                tree[high].append(i)
            low, high = low // 2, high // 2


def _times(span: Segment) -> str:
    return f"{span.start:g}-{span.end:g} s"


def _list(spans: Sequence[Segment]) -> str:
    more = f" and {len(spans) - 5} more" if len(spans) > 5 else ""
    return ", ".join(map(_times, spans[:5])) + more

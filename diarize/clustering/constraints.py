"""What a user knows of who speaks: turns of one person (must-link), of two (cannot-link) (docs/method/constraints.md).

Stretches of time become people: what must be one is joined by transitivity, then who cannot be one is kept apart
(K. Wagstaff, C. Cardie, S. Rogers, S. Schroedl, "Constrained K-means clustering with background knowledge", ICML 2001).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diarize.intervals import SpanIndex
from diarize.timeline import intersect, union
from diarize.types import Segment, Turn

MOSTLY = 0.5  # share from which a window is known, and from which two stretches are the same one
_STEPS = 100_000  # tries to tell people apart with few speakers before that is given up

Link = Literal["must", "cannot"]
Options = Callable[[int, Mapping[int, int]], Sequence[int]]  # labels to try for a person, as others have theirs


@dataclass(frozen=True, slots=True)
class Linked:
    """Two stretches of time that are known to be one person, or two, and where that is said."""

    link: Link
    first: Segment
    second: Segment
    place: str


@dataclass(frozen=True, slots=True)
class Constraints:
    """Stretches of time and whose they are: person p of `people[i]` speaks in `stretches[i]`.

    `apart` holds the pairs (p, q), p < q, of people who are known to be two. `name`: identity, with digests. `notes`:
    what a reader of the result should know of where all this comes from.
    """

    stretches: tuple[Segment, ...] = ()
    people: tuple[int, ...] = ()
    apart: frozenset[tuple[int, int]] = frozenset()
    name: str = ""
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return max(self.people, default=-1) + 1

    def lines(self) -> tuple[tuple[Segment, ...], ...]:
        """The stretches of each person: sorted, disjoint."""
        own: list[list[Segment]] = [[] for _ in range(self.count)]
        for person, stretch in zip(self.people, self.stretches, strict=True):
            own[person].append(stretch)
        return tuple(union(line) for line in own)


NOTHING = Constraints()  # is known


def resolve(turns: Sequence[Turn], links: Sequence[Linked], name: str) -> Constraints:
    """Turns of one speaker are one person, of two speakers two; links join and part stretches of time.

    A stretch of a link is whatever known turn, or stretch of another link, shares most of the shorter one's time with
    it. Raises ValueError for a contradiction, with the places of both sides.
    """
    speakers = sorted({turn.speaker for turn in turns})
    node = {speaker: i for i, speaker in enumerate(speakers)}
    spans = [span for link in links for span in (link.first, link.second)]
    graph = _Graph(len(speakers) + len(spans))
    first = len(speakers)
    for a, b in _same(spans):
        alike = f"{_told(spans[a])} and {_told(spans[b])} are mostly the same time"
        graph.join(first + a, first + b, alike if spans[a] != spans[b] else "")
    ordered = sorted(turns, key=lambda turn: (turn.start, turn.end))
    index = SpanIndex(ordered)
    for a, span in enumerate(spans):
        near = [ordered[i] for i in index.overlapping(span)]
        near = [turn for turn in near if _shared(span, turn) >= MOSTLY]
        if near:
            own = max(near, key=lambda turn: span.overlap(turn) / (union((span, turn))[0].duration))
            graph.join(first + a, node[own.speaker], f"{_told(span)} is mostly a turn of {own.speaker!r}")
    for i, link in enumerate(links):
        if link.link == "must":
            graph.join(first + 2 * i, first + 2 * i + 1, link.place)
    people = graph.components()
    for i, link in enumerate(links):
        a, b = first + 2 * i, first + 2 * i + 1
        if link.link == "cannot" and people[a] == people[b]:
            why = "; ".join(graph.path(a, b))
            raise ValueError(
                f"{link.place} says that {_told(link.first)} and {_told(link.second)} are two people, but they are one "
                f"by what else is said: {why}"
            )
    named: dict[int, str] = {}
    for speaker in speakers:
        other = named.setdefault(people[node[speaker]], speaker)
        if other != speaker:
            why = "; ".join(graph.path(node[other], node[speaker]))
            raise ValueError(
                f"{other!r} and {speaker!r} have turns of their own, but they are one by what is said: {why}"
            )
    known = [(turn.start, turn.end, people[node[turn.speaker]]) for turn in turns]
    known += [(span.start, span.end, people[first + a]) for a, span in enumerate(spans)]
    number: dict[int, int] = {}
    for _, _, person in sorted(known):
        number.setdefault(person, len(number))
    pairs = [
        (people[first + 2 * i], people[first + 2 * i + 1]) for i, link in enumerate(links) if link.link == "cannot"
    ]
    pairs += [(a, b) for a in named for b in named if a < b]
    return Constraints(
        tuple(Segment(start, end) for start, end, _ in sorted(known)),
        tuple(number[person] for _, _, person in sorted(known)),
        frozenset((min(number[a], number[b]), max(number[a], number[b])) for a, b in pairs),
        name,
    )


def fits(constraints: Constraints, most: int) -> bool:
    """Whether `most` speakers are enough for everybody who is known to be somebody else."""
    against = conflicts(constraints.apart, constraints.count)
    # Whoever is apart from fewer than `most` finds a label when all others have theirs: they need not be asked, and
    # nobody for whom that holds without them.
    beside = {person: len(others) for person, others in enumerate(against)}
    easy = [person for person, others in beside.items() if others < most]
    for person in easy:
        del beside[person]
        for other in against[person]:
            if other in beside:
                beside[other] -= 1
                if beside[other] == most - 1:
                    easy.append(other)
    order = sorted(beside, key=lambda p: (-len(against[p]), p))
    # Of those labels that nobody has yet one is as good as another: the first of them stands for all.
    return placed(order, against, lambda p, used: range(min(most, max(used.values(), default=-1) + 2))) is not None


def carried(windows: Sequence[Segment], constraints: Constraints) -> NDArray[np.int64]:
    """Whose each of `windows` (n), sorted by start, is: (n,) persons; -1 where nobody, or more than one, is known.

    A person has a window whose time is mostly theirs.
    """
    starts, ends = np.array([w.start for w in windows]), np.array([w.end for w in windows])
    longest = float((ends - starts).max(initial=0.0))
    owner, owners = np.full(len(windows), -1, dtype=np.int64), np.zeros(len(windows), dtype=np.int64)
    for person, line in enumerate(constraints.lines()):
        covered = np.zeros(len(windows))
        for stretch in line:
            near = slice(*np.searchsorted(starts, (stretch.start - longest, stretch.end)))
            covered[near] += np.maximum(
                np.minimum(ends[near], stretch.end) - np.maximum(starts[near], stretch.start), 0.0
            )
        has = covered >= MOSTLY * (ends - starts) - 1e-6
        owner[has], owners[has] = person, owners[has] + 1
    owner[owners > 1] = -1
    return owner


def remarks(
    constraints: Constraints, windows: Sequence[Segment], speech: Sequence[Segment], duration: float
) -> tuple[str, ...]:
    """What could not be heeded of what is known, for the notes of a result."""
    outside, silent, lost = [], [], []
    owner = set(carried(windows, constraints).tolist())
    for stretch, person in zip(constraints.stretches, constraints.people, strict=True):
        if stretch.end > duration + 1e-3:
            outside.append(stretch)
        if stretch.start < duration and not intersect(speech, (stretch,)):
            silent.append(stretch)
        elif stretch.start < duration and person not in owner:
            lost.append(stretch)
    told = (
        ("beyond the recording's end", outside),
        ("no speech there, so they say nothing", silent),
        ("too short, or too much at once, for a voice to be heard, so they say nothing", lost),
    )
    return tuple(f"known turns: {what}: {_listed(found)}" for what, found in told if found)


def conflicts(apart: Iterable[tuple[int, int]], count: int) -> list[set[int]]:
    """Person -> those who are known to be somebody else."""
    against: list[set[int]] = [set() for _ in range(count)]
    for a, b in apart:
        against[a].add(b)
        against[b].add(a)
    return against


def placed(order: Sequence[int], against: Sequence[set[int]], options: Options) -> dict[int, int] | None:
    """Person -> label, nobody on the label of one they are apart from; None where no way is found.

    `order` says who chooses first, `options(person, labels given so far)` the labels to try, the dearest first. Depth
    first, with a limit to the tries: whether few labels suffice is a colouring of a graph, which can take for ever.
    """
    given: dict[int, int] = {}
    tries: list[Iterator[int]] = []
    for _ in range(_STEPS):
        if len(given) == len(order):
            return given
        person = order[len(given)]
        if len(tries) == len(given):
            tries.append(iter(tuple(options(person, given))))
        taken = {given[other] for other in against[person] if other in given}
        label = next((label for label in tries[-1] if label not in taken), None)
        if label is not None:
            given[person] = label
            continue
        tries.pop()
        if not tries:
            return None
        del given[order[len(given) - 1]]
    return None


class _Graph:
    """What is one with what, and where that is said."""

    def __init__(self, count: int) -> None:
        self._beside: list[list[tuple[int, str]]] = [[] for _ in range(count)]

    def join(self, a: int, b: int, place: str) -> None:
        self._beside[a].append((b, place))
        self._beside[b].append((a, place))

    def components(self) -> list[int]:
        """The component of each node."""
        found = [-1] * len(self._beside)
        for start in range(len(found)):
            if found[start] < 0:
                found[start], waiting = start, [start]
                while waiting:
                    for other, _ in self._beside[waiting.pop()]:
                        if found[other] < 0:
                            found[other] = start
                            waiting.append(other)
        return found

    def path(self, start: int, end: int) -> list[str]:
        """The places that make `start` and `end`, which are in one component, one."""
        came: dict[int, tuple[int, str]] = {start: (start, "")}
        waiting = deque([start])
        while end not in came:
            node = waiting.popleft()
            for other, place in self._beside[node]:
                if other not in came:
                    came[other] = (node, place)
                    waiting.append(other)
        places = []
        while end != start:
            end, place = came[end]
            places.append(place)
        return [place for place in places[::-1] if place]


def _same(spans: Sequence[Segment]) -> Iterator[tuple[int, int]]:
    """Pairs of positions of spans that are mostly the same time: as many as join all that are one by it. n log n.

    The shorter of two spans is mostly in the longer one where its middle is. So spans come from the longest on, and
    each asks which of those before lie over its middle. They are kept in a tree over all middles, a span at the few
    nodes that together are the middles it covers. What is found at a node is one from then on: one of them stays.
    """
    middles = sorted(span.start + span.end for span in spans)  # twice the middle: no rounding
    tree: list[list[int]] = [[] for _ in range(2 * len(spans))]
    same = list(range(len(spans)))

    def root(i: int) -> int:
        while same[i] != i:
            same[i] = i = same[same[i]]
        return i

    for i in sorted(range(len(spans)), key=lambda i: -spans[i].duration):
        span = spans[i]
        node = len(spans) + bisect_left(middles, span.start + span.end)
        while node:
            for other in tree[node]:
                if root(other) != root(i):
                    same[root(other)] = root(i)
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


def _shared(a: Segment, b: Segment) -> float:
    """The share of the shorter that is in both."""
    return a.overlap(b) / min(a.duration, b.duration)


def _told(stretch: Segment) -> str:
    return f"{stretch.start:g}-{stretch.end:g} s"


def _listed(stretches: Sequence[Segment]) -> str:
    more = f" and {len(stretches) - 5} more" if len(stretches) > 5 else ""
    return ", ".join(map(_told, stretches[:5])) + more

"""What is known of who speaks: people out of turns and links, contradictions, windows, and labels that obey."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from diarize.clustering import constrained, constraints
from diarize.clustering.constraints import NO_CONSTRAINTS, Constraints, Link, LinkKind
from diarize.clustering.similarity import canonical
from diarize.config import ClusterConfig
from diarize.types import ClusterTurn, Embeddings, Labels, Segment, Turn, Vectors

people_of_windows = st.lists(st.integers(-1, 4), min_size=1, max_size=40)


def linked(link: LinkKind, first: tuple[float, float], second: tuple[float, float], place: str = "links.csv:2") -> Link:
    return Link(link, Segment(*first), Segment(*second), place)


def vectors(n: int, seed: int = 0) -> Vectors:
    rows = np.random.default_rng(seed).standard_normal((n, 8)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def voices(*who: int, spread: float = 0.2) -> Vectors:
    """A window each of the people named: near to the axis of their number."""
    rows = np.eye(8, dtype=np.float32)[list(who)] + spread * vectors(len(who), 7)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def test_turns_of_one_name_are_one_person_and_of_two_names_two() -> None:
    known = constraints.resolve([Turn(5, 6, "anna"), Turn(0, 2, "bob"), Turn(9, 12, "anna")], (), "it")
    assert known.people == (0, 1, 1)
    assert known.cannot_link == {(0, 1)}
    assert known.by_person() == ((Segment(0, 2),), (Segment(5, 6), Segment(9, 12)))


def test_links_are_transitive_and_meet_known_turns() -> None:
    links = [
        linked("must", (20, 22), (30, 33)),
        linked("must", (30.5, 33), (1, 2)),
        linked("cannot", (30, 32), (50, 52)),
    ]
    known = constraints.resolve([Turn(0, 3, "anna")], links, "it")
    assert dict(zip(known.spans, known.people, strict=True)) == {
        Segment(0, 3): 0,
        Segment(1, 2): 0,
        Segment(20, 22): 0,
        Segment(30, 32): 0,
        Segment(30, 33): 0,
        Segment(30.5, 33): 0,
        Segment(50, 52): 1,
    }
    assert known.cannot_link == {(0, 1)}


def test_a_stretch_in_the_talk_of_two_belongs_to_the_turn_that_it_is_most_like() -> None:
    turns = [Turn(0, 10, "anna"), Turn(4, 6, "bob")]
    known = constraints.resolve(turns, [linked("must", (4, 6), (20, 22))], "it")
    assert known.people[known.spans.index(Segment(20, 22))] == known.people[known.spans.index(Segment(4, 6))]
    assert known.count == 2


def test_a_contradiction_is_refused_with_the_places_of_both_sides() -> None:
    links = [
        linked("must", (0, 2), (10, 12), "a.csv:2"),
        linked("must", (10, 12), (20, 22), "a.csv:3"),
        linked("cannot", (0, 2), (20, 22), "b.csv:7"),
    ]
    with pytest.raises(ValueError, match=r"b\.csv:7 .*two people.* a\.csv:2; a\.csv:3"):
        constraints.resolve([], links, "it")


def test_two_names_may_not_be_joined_by_a_link() -> None:
    turns = [Turn(0, 2, "anna"), Turn(10, 12, "bob")]
    with pytest.raises(ValueError, match=r"'anna' and 'bob' .* a\.csv:2"):
        constraints.resolve(turns, [linked("must", (0, 2), (10, 12), "a.csv:2")], "it")


def test_a_stretch_is_not_two_people() -> None:
    with pytest.raises(ValueError, match="mostly the same time"):
        constraints.resolve([], [linked("cannot", (0, 2), (0.5, 2))], "it")


spans = st.integers(0, 12).map(lambda i: Segment(i, i + 1))
drawn = st.lists(st.tuples(st.sampled_from(("must", "cannot")), spans, spans), max_size=14)


@given(drawn)
def test_a_contradiction_is_found_exactly_where_there_is_one(links: list[tuple[LinkKind, Segment, Segment]]) -> None:
    of = {i: i for i in range(13)}  # by brute force
    for link, a, b in links:
        if link == "must":
            old, new = of[int(a.start)], of[int(b.start)]
            of = {i: new if person == old else person for i, person in of.items()}
    wrong = any(link == "cannot" and of[int(a.start)] == of[int(b.start)] for link, a, b in links)
    line_links = [Link(link, a, b, f"line {i}") for i, (link, a, b) in enumerate(links)]
    if wrong:
        with pytest.raises(ValueError, match="line"):
            constraints.resolve([], line_links, "it")
        return
    known = constraints.resolve([], line_links, "it")
    person = dict(zip(known.spans, known.people, strict=True))
    for link, a, b in links:
        assert (person[a] == person[b]) == (link == "must" or of[int(a.start)] == of[int(b.start)])
        assert link == "must" or (min(person[a], person[b]), max(person[a], person[b])) in known.cannot_link
    assert list(dict.fromkeys(known.people)) == list(range(known.count))


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 24)), min_size=1, max_size=24))
def test_stretches_are_one_where_half_of_the_shorter_is_in_both_whatever_lies_between(
    drawn: list[tuple[int, int]],
) -> None:
    stretches = [Segment(start / 8, (start + length) / 8) for start, length in drawn]
    of = list(range(len(stretches)))  # by brute force
    for i, a in enumerate(stretches):
        for j, b in enumerate(stretches):
            if a.overlap(b) >= 0.5 * min(a.duration, b.duration):
                of = [of[i] if person == of[j] else person for person in of]
    far = Segment(900, 901)
    known = constraints.resolve([], [Link("cannot", stretch, far, "") for stretch in stretches], "it")
    person = dict(zip(known.spans, known.people, strict=True))
    assert [[person[a] == person[b] for b in stretches] for a in stretches] == [[a == b for b in of] for a in of]


def test_tens_of_thousands_of_links_over_the_same_minutes() -> None:
    """Of each with each this would be 800 million pairs."""
    drawn = np.random.default_rng(1).uniform((0, 1, 0, 1), (90, 50, 90, 50), (20_000, 4)).tolist()
    links = [linked("must", (a, a + long), (b, b + short)) for a, long, b, short in drawn]
    known = constraints.resolve([], links, "it")
    assert known.count == 1
    assert constraints.satisfiable(known, 1)


def test_thousands_of_links_apart_from_each_other() -> None:
    links = [linked("cannot", (3 * i, 3 * i + 2), (1e6 + 3 * i, 1e6 + 3 * i + 2)) for i in range(5_000)]
    known = constraints.resolve([], links, "it")
    assert (known.count, len(known.cannot_link)) == (10_000, 5_000)
    assert constraints.satisfiable(known, 2)
    assert not constraints.satisfiable(known, 1)


def test_a_window_is_known_where_it_is_mostly_one_persons() -> None:
    known = constraints.resolve([Turn(0, 2, "anna"), Turn(4, 8, "bob"), Turn(7, 10, "carl")], (), "it")
    windows = [Segment(a, a + 2) for a in (0.0, 1.0, 1.5, 5.0, 6.5, 7.0, 8.0, 20.0)]
    assert constraints.owners(windows, known).tolist() == [0, 0, -1, 1, -1, -1, 2, -1]


def test_two_turns_of_one_person_cover_a_window_together() -> None:
    known = constraints.resolve([Turn(0, 0.5, "anna"), Turn(1.5, 2, "anna"), Turn(0.1, 0.4, "anna")], (), "it")
    assert constraints.owners([Segment(0, 2)], known).tolist() == [0]


def test_known_turns_without_effect_are_noted() -> None:
    turns = [Turn(0, 2, "a"), Turn(5, 5.2, "b"), Turn(20, 22, "c"), Turn(98, 103, "d"), Turn(200, 201, "e")]
    windows, speech = [Segment(0, 2), Segment(4, 6), Segment(98, 100)], [Segment(0, 2), Segment(4, 6), Segment(98, 100)]
    notes = constraints.remarks(constraints.resolve(turns, (), "it"), windows, speech, 100)
    assert notes == (
        "known turns that end after the recording: 98-103 s, 200-201 s",
        "known turns without detected speech, which have no effect: 20-22 s",
        "known turns too short for a voice, or overlapped by other known turns, which have no effect: 5-5.2 s",
    )
    assert constraints.remarks(NO_CONSTRAINTS, windows, speech, 100) == ()


@pytest.mark.parametrize(("pairs", "most", "enough"), [
    ([(0, 1), (0, 2), (1, 2)], 2, False),
    ([(0, 1), (0, 2), (1, 2)], 3, True),
    ([(0, 1), (1, 2), (2, 3)], 2, True),
    ([(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)], 2, False),
    ([], 1, True),
])  # fmt: skip
def test_fault_33_whether_the_speakers_allowed_are_enough(
    pairs: list[tuple[int, int]], most: int, enough: bool
) -> None:
    known = Constraints(tuple(Segment(i, i + 1) for i in range(5)), tuple(range(5)), frozenset(pairs))
    assert constraints.satisfiable(known, most) == enough


@given(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6))), st.integers(1, 4))
def test_whether_speakers_are_enough_is_whether_people_can_be_told_apart_with_so_many(
    pairs: set[tuple[int, int]], most: int
) -> None:
    apart = {(min(a, b), max(a, b)) for a, b in pairs if a != b}
    known = Constraints(tuple(Segment(i, i + 1) for i in range(7)), tuple(range(7)), frozenset(apart))
    ways = itertools.product(range(most), repeat=7)
    enough = any(all(way[a] != way[b] for a, b in apart) for way in ways)  # by brute force
    assert constraints.satisfiable(known, most) == enough


@given(
    people_of_windows, st.integers(1, 6), st.integers(0, 99), st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4)))
)
def test_labels_obey_whatever_they_were(
    owner: list[int], clusters: int, seed: int, pairs: set[tuple[int, int]]
) -> None:
    who = np.array(owner)
    apart = frozenset((min(a, b), max(a, b)) for a, b in pairs if a != b)
    before = canonical(np.random.default_rng(seed).integers(0, clusters, len(who)))
    most = 6
    labels = constrained.enforce(vectors(len(who), seed), before, who, apart, 1, most)
    check(labels, who, apart)
    assert labels.max() < most


def check(labels: Labels, owner: Labels, apart: frozenset[tuple[int, int]]) -> None:
    assert labels.dtype == np.int64
    assert np.array_equal(labels, canonical(labels))
    for person in set(owner.tolist()) - {-1}:
        assert len(set(labels[owner == person])) == 1
    for a, b in apart:
        assert not set(labels[owner == a]) & set(labels[owner == b])


@given(people_of_windows, st.integers(2, 6), st.integers(0, 99))
def test_a_count_that_is_known_is_kept_where_it_can_be(owner: list[int], count: int, seed: int) -> None:
    who = np.array(owner)
    people = set(owner) - {-1}
    assume(people)
    atoms = len(people) + owner.count(-1)
    count = max(min(count, len(who)), len(people))
    before = canonical(np.random.default_rng(seed).integers(0, count, len(who)))
    apart = frozenset((a, b) for a in people for b in people if a < b)
    labels = constrained.enforce(vectors(len(who), seed), before, who, apart, count, count)
    check(labels, who, apart)
    assert labels.max() + 1 == min(count, atoms)


def test_fault_33_more_people_than_speakers_asked_for_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"3 people .* too many for 2 speakers"):
        constrained.enforce(
            voices(0, 1, 2), np.array([0, 1, 0]), np.array([0, 1, 2]), frozenset({(0, 1), (0, 2), (1, 2)}), 2, 2
        )


def test_without_anything_known_labels_stay() -> None:
    labels = np.array([0, 1, 1, 2, 0])
    nobody = np.full(5, -1)
    assert np.array_equal(constrained.enforce(vectors(5), labels, nobody, frozenset()), labels)
    assert len(constrained.enforce(vectors(0), np.zeros(0, np.int64), np.zeros(0, np.int64), frozenset())) == 0


def test_two_people_in_one_cluster_part_it_between_them() -> None:
    who = [0, 0, 0, 1, 1, 0, 1, 1]
    owner = np.array([0, -1, -1, 1, -1, -1, -1, -1])
    labels = constrained.enforce(voices(*who), np.zeros(8, np.int64), owner, frozenset({(0, 1)}))
    assert labels.tolist() == who


def test_the_clusters_of_one_person_become_one() -> None:
    owner = np.array([0, 0, -1, 0, 0, -1, -1, -1])
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    assert constrained.enforce(voices(0, 0, 0, 0, 0, 0, 1, 1), labels, owner, frozenset()).tolist() == [0] * 6 + [1] * 2


def test_a_cluster_with_somebody_else_in_it_is_not_swallowed() -> None:
    owner = np.array([0, 0, 0, 0, 0, 1, 1])
    labels = np.array([0, 0, 0, 1, 1, 1, 1])
    changed = constrained.enforce(voices(0, 0, 0, 0, 0, 1, 1), labels, owner, frozenset({(0, 1)}))
    assert changed.tolist() == [0] * 5 + [1] * 2


def test_with_the_count_given_the_worse_fitting_goes_to_the_next_best_cluster() -> None:
    who = [0, 0, 0, 0, 1, 1, 1]
    labels = np.array([0, 0, 0, 0, 1, 1, 0])
    owner = np.array([0, 0, -1, -1, -1, -1, 1])
    changed = constrained.enforce(voices(*who), labels, owner, frozenset({(0, 1)}), 2, 2)
    assert changed.tolist() == who


def test_known_turns_carry_the_label_of_their_windows() -> None:
    spans = tuple(Segment(i, i + 2) for i in range(8))
    vectors = Embeddings(spans, voices(0, 0, 0, 0, 1, 1, 1, 1).astype(np.float32), "made")
    known = constraints.resolve([Turn(0, 2.4, "anna"), Turn(6, 8, "bob"), Turn(20, 22, "carl")], (), "it")
    labels, turns = constrained.apply(np.zeros(8, np.int64), vectors, known, ClusterConfig())
    assert labels[0] != labels[6]
    assert turns == (ClusterTurn(0, 2.4, int(labels[0])), ClusterTurn(6, 8, int(labels[6])))  # carl has no window

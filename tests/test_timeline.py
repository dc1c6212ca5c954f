"""Set algebra on time, against the same algebra on points."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarize import timeline
from diarize.types import Segment

ticks = st.integers(0, 20)
segments = st.tuples(ticks, ticks).filter(lambda p: p[0] != p[1]).map(lambda p: Segment(float(min(p)), float(max(p))))
many = st.lists(segments, max_size=8)


def points(of: Sequence[Segment]) -> set[int]:
    return {tick for tick in range(20) for s in of if s.start <= tick < s.end}


def is_clean(of: Sequence[Segment]) -> bool:
    return all(a.end < b.start for a, b in pairwise(of))


@given(many)
def test_union_covers_the_same_points_with_disjoint_segments(of: list[Segment]) -> None:
    union = timeline.union(of)
    assert points(union) == points(of)
    assert is_clean(union)
    assert timeline.total(of) == len(points(of))


@given(many)
def test_gaps_are_the_rest(of: list[Segment]) -> None:
    rest = timeline.gaps(of, 20)
    assert points(rest) == set(range(20)) - points(of)
    assert is_clean(rest)


@given(many, many)
def test_intersection_is_what_both_have(left: list[Segment], right: list[Segment]) -> None:
    both = timeline.intersect(timeline.union(left), timeline.union(right))
    assert points(both) == points(left) & points(right)


def test_a_shared_instant_is_divided_evenly_among_its_segments() -> None:
    assert timeline.shares([Segment(0, 2), Segment(1, 3)]).tolist() == [1.5, 1.5]
    assert timeline.shares([Segment(0, 3), Segment(1, 2), Segment(1, 2)]) == pytest.approx([2 + 1 / 3, 1 / 3, 1 / 3])
    assert timeline.shares([Segment(4, 5), Segment(0, 2)]).tolist() == [1.0, 2.0]
    assert timeline.shares([]).tolist() == []


@given(many)
def test_shares_are_those_of_single_points_and_sum_to_the_total(of: list[Segment]) -> None:
    holders = {tick: [i for i, s in enumerate(of) if s.start <= tick < s.end] for tick in range(20)}
    expected = [sum(1 / len(own) for own in holders.values() if i in own) for i in range(len(of))]
    assert timeline.shares(of) == pytest.approx(expected)
    assert timeline.shares(of).sum() == pytest.approx(timeline.total(of))


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(1e-3, 1e3)), max_size=30))
def test_shares_sum_to_the_total_at_any_times(spans: list[tuple[float, float]]) -> None:
    of = [Segment(start, start + size) for start, size in spans]
    shares = timeline.shares(of)
    assert shares.sum() == pytest.approx(timeline.total(of), abs=1e-6)
    assert all(-1e-6 <= share <= s.duration + 1e-6 for share, s in zip(shares, of, strict=True))


def test_union_closes_short_gaps() -> None:
    of = [Segment(0, 1), Segment(1.2, 2), Segment(3, 4)]
    assert timeline.union(of, gap=0.25) == (Segment(0, 2), Segment(3, 4))


def test_nothing_has_no_union_and_leaves_everything_free() -> None:
    assert timeline.union([]) == ()
    assert timeline.gaps([], 5) == (Segment(0, 5),)
    assert timeline.gaps([], 0) == ()
    assert timeline.total([]) == pytest.approx(0)

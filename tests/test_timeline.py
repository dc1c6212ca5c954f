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


def test_union_closes_short_gaps() -> None:
    of = [Segment(0, 1), Segment(1.2, 2), Segment(3, 4)]
    assert timeline.union(of, gap=0.25) == (Segment(0, 2), Segment(3, 4))


def test_nothing_has_no_union_and_leaves_everything_free() -> None:
    assert timeline.union([]) == ()
    assert timeline.gaps([], 5) == (Segment(0, 5),)
    assert timeline.gaps([], 0) == ()
    assert timeline.total([]) == pytest.approx(0)

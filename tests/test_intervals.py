"""The index answers as a search through all spans would."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarize.intervals import SpanIndex
from diarize.types import Segment, Word

times = st.integers(0, 40).map(lambda n: n / 4)
segments = st.tuples(times, times).filter(lambda p: p[0] != p[1]).map(lambda p: Segment(min(p), max(p)))
spans = st.tuples(times, times).map(lambda p: Word(min(p), max(p), "w"))


@given(st.lists(segments, max_size=12).map(sorted), spans)
def test_overlapping_is_what_a_full_search_finds(over: list[Segment], span: Word) -> None:
    if span.end > span.start:
        expected = [i for i, s in enumerate(over) if min(s.end, span.end) > max(s.start, span.start)]
    else:
        expected = [i for i, s in enumerate(over) if s.start <= span.start < s.end]
    assert list(SpanIndex(over).overlapping(span)) == expected


@given(st.lists(segments, min_size=1, max_size=12).map(sorted), spans)
def test_closest_is_what_a_full_search_finds(over: list[Segment], span: Word) -> None:
    best = SpanIndex(over).closest(span)
    shared = [span.overlap(s) for s in over]
    apart = [span.distance(s) for s in over]
    if max(shared) > 0:
        assert shared[best] == max(shared)
    else:
        assert apart[best] == min(apart)


def test_of_two_equal_ones_the_earlier_is_closest() -> None:
    assert SpanIndex([Segment(0, 1), Segment(3, 4)]).closest(Word(2, 2, "w")) == 0
    assert SpanIndex([Segment(0, 2), Segment(2, 4)]).closest(Word(1, 3, "w")) == 0


def test_spans_must_be_sorted_and_some() -> None:
    with pytest.raises(ValueError, match="sorted"):
        SpanIndex([Segment(3, 4), Segment(0, 1)])
    with pytest.raises(ValueError, match="no spans"):
        SpanIndex([]).closest(Word(0, 1, "w"))

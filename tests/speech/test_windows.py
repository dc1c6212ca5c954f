from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarize.config import WindowsConfig
from diarize.speech import windows
from diarize.timeline import total, union
from diarize.types import Segment

CONFIG = WindowsConfig(length=1.6, hop=0.8)


def test_long_speech_is_cut_every_hop_and_the_last_window_ends_with_it() -> None:
    assert windows.over([Segment(1.0, 4.5)], CONFIG) == (
        Segment(1.0, 2.6),
        Segment(1.8, 3.4),
        Segment(2.6, 4.2),
        Segment(2.9, 4.5),
    )


def test_speech_that_hops_divide_gets_no_window_twice() -> None:
    assert windows.over([Segment(0.0, 3.2)], CONFIG) == (Segment(0.0, 1.6), Segment(0.8, 2.4), Segment(1.6, 3.2))


def test_speech_no_longer_than_a_window_is_one() -> None:
    assert windows.over([Segment(0.3, 0.35), Segment(2.0, 3.6)], CONFIG) == (Segment(0.3, 0.35), Segment(2.0, 3.6))


def test_fault_21_no_speech_has_no_windows() -> None:
    assert windows.over([], CONFIG) == ()


def test_windows_may_touch_but_leave_nothing_between_them() -> None:
    assert total(windows.over([Segment(0.0, 10.0)], WindowsConfig(length=1.0, hop=1.0))) == 10.0
    with pytest.raises(ValueError, match="hop"):
        WindowsConfig(length=1.0, hop=1.1)


@given(
    st.lists(st.tuples(st.integers(0, 60_000), st.integers(1, 20_000)), max_size=8),
    st.integers(200, 3000),
    st.integers(20, 100),
)
def test_windows_cover_exactly_the_speech(spans: list[tuple[int, int]], length: int, part: int) -> None:
    speech = union(Segment(start / 1000, (start + size) / 1000) for start, size in spans)
    config = WindowsConfig(length=length / 1000, hop=min(1.0, part / 100) * (length / 1000))
    found = windows.over(speech, config)
    assert list(found) == sorted(found)
    assert max((w.duration for w in found), default=0) <= length / 1000 + 0.002
    assert [(round(s.start, 3), round(s.end, 3)) for s in union(found, gap=0.002)] == [
        (round(s.start, 3), round(s.end, 3)) for s in union(speech, gap=0.002)
    ]

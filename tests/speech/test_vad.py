from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarize.config import VadConfig
from diarize.speech import vad
from diarize.types import Segment

PLAIN = VadConfig(threshold=0.5, off_threshold=0.3, min_speech=0, min_silence=0, pad=0)


def spans(
    probabilities: list[float], config: VadConfig, duration: float | None = None, lag: float = 0.0
) -> list[Segment]:
    duration = len(probabilities) * 0.1 if duration is None else duration
    return list(vad.segments(np.array(probabilities, np.float32), 0.1, duration, config, lag))


def test_speech_lasts_until_a_probability_falls_under_the_lower_threshold() -> None:
    assert spans([0.4, 0.6, 0.4, 0.4, 0.2, 0.4, 0.9], PLAIN) == [Segment(0.1, 0.4), Segment(0.6, 0.7)]


def test_a_probability_at_a_threshold_is_speech() -> None:
    assert spans([0.0, 0.5, 0.3, 0.0], PLAIN.model_copy(update={"off_threshold": 0.29})) == [Segment(0.1, 0.3)]


def test_a_short_pause_is_filled_before_short_speech_is_dropped() -> None:
    config = PLAIN.model_copy(update={"min_silence": 0.2, "min_speech": 0.3})
    assert spans([0, 1, 0, 1, 0, 0, 1, 1, 0], config) == [Segment(0.1, 0.4)]


def test_a_pause_of_the_stated_length_ends_a_segment() -> None:
    config = PLAIN.model_copy(update={"min_silence": 0.2})
    assert spans([1, 0, 0, 1], config) == [Segment(0.0, 0.1), Segment(0.3, 0.4)]


def test_speech_of_the_stated_length_is_kept() -> None:
    assert spans([0, 1, 1, 0, 1, 0], PLAIN.model_copy(update={"min_speech": 0.2})) == [Segment(0.1, 0.3)]


def test_padding_stays_in_the_recording_and_joins_what_meets() -> None:
    config = PLAIN.model_copy(update={"pad": 0.07})
    assert spans([1, 0, 1, 0, 0, 1], config) == [Segment(0.0, 0.37), Segment(0.43, 0.6)]


def test_lag_moves_speech_to_where_it_was() -> None:
    assert spans([0, 0, 1, 1, 0, 0], PLAIN, lag=0.03) == [Segment(0.17, 0.37)]


def test_speech_at_the_end_lasts_to_the_end_of_the_recording_whatever_the_lag() -> None:
    assert spans([0, 1, 1], PLAIN, duration=0.25, lag=0.03) == [Segment(0.07, 0.25)]


@pytest.mark.parametrize("frames", [0, 1, 5])
def test_fault_21_no_probability_of_speech_gives_no_segment(frames: int) -> None:
    assert spans([0.0] * frames, VadConfig()) == []


def test_fault_23_a_recording_shorter_than_one_step_is_no_error() -> None:
    assert spans([1.0], PLAIN, duration=0.05) == [Segment(0.0, 0.05)]
    assert spans([1.0], VadConfig(), duration=0.05) == []


@given(
    st.lists(st.floats(0, 1, width=32), max_size=60),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
    st.floats(0, 0.3),
    st.floats(0, 0.09),
)
def test_segments_are_sorted_apart_and_inside(
    values: list[float], speech: float, silence: float, pad: float, lag: float
) -> None:
    config = VadConfig(min_speech=speech, min_silence=silence, pad=pad)
    duration = max(0.0, len(values) * 0.1 - 0.04)
    found = spans(values, config, duration, lag)
    assert all(a.end < b.start for a, b in pairwise(found))
    assert all(0 <= s.start < s.end <= round(duration, 3) for s in found)


@given(st.lists(st.floats(0, 1, width=32), max_size=60))
def test_hysteresis_agrees_with_its_definition(values: list[float]) -> None:
    state, expected = False, []
    for value in np.array(values, np.float32):
        state = value >= 0.5 or (state and value >= 0.3)
        expected.append(bool(state))
    assert vad.hysteresis(np.array(values, np.float32), 0.5, 0.3).tolist() == expected

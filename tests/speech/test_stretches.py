from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from diarize.activity import LocalActivity
from diarize.config import WindowsConfig
from diarize.speech import stretches, windows
from diarize.types import Segment
from tests.local_speakers import STEP, activity

CONFIG = WindowsConfig(length=1.2, hop=0.4)


def cut(heard: LocalActivity, *speech: tuple[float, float]) -> list[tuple[float, float]]:
    parts = stretches.of_one_speaker([Segment(*part) for part in speech], heard)
    return [(round(part.start, 3), round(part.end, 3)) for part in parts]


def test_speech_is_cut_where_another_speaker_begins() -> None:
    assert cut(activity("1" * 20 + "2" * 40), (0.0, 6.0)) == [(0.0, 2.0), (2.0, 6.0)]


def test_a_speaker_who_returns_has_two_stretches() -> None:
    assert cut(activity("1" * 20 + "2" * 20 + "1" * 20), (0.0, 6.0)) == [(0.0, 2.0), (2.0, 4.0), (4.0, 6.0)]


def test_one_person_under_another_number_in_the_next_window_is_not_cut() -> None:
    """Windows overlap by 3 s, in which speaker 1 of the first and speaker 2 of the second speak alike."""
    assert cut(activity("1" * 60, "2" * 60), (0.0, 9.0)) == [(0.0, 9.0)]
    both = activity("1" * 40 + "2" * 20, "3" * 10 + "1" * 20 + "3" * 30)
    assert cut(both, (0.0, 9.0)) == [(0.0, 4.0), (4.0, 6.0), (6.0, 9.0)]


def test_numbers_of_windows_that_share_nobody_are_of_different_people() -> None:
    """The speaker of the first window ends 1.5 s before that of the second one begins."""
    assert cut(activity("1" * 45 + "0" * 15, "0" * 30 + "1" * 30), (0.0, 9.0)) == [(0.0, 5.2), (5.2, 9.0)]


def test_a_chain_of_windows_keeps_one_number_for_one_person() -> None:
    assert cut(activity("1" * 60, "2" * 60, "3" * 60, "1" * 60), (0.0, 15.0)) == [(0.0, 15.0)]


def test_overlap_is_left_out() -> None:
    assert cut(activity("1" * 20 + "4" * 10 + "2" * 30), (0.0, 6.0)) == [(0.0, 2.0), (3.0, 6.0)]


def test_a_stretch_shorter_than_0_3_s_is_left_out() -> None:
    assert cut(activity("1" * 20 + "2" * 2 + "3" * 38), (0.0, 6.0)) == [(0.0, 2.0), (2.2, 6.0)]
    assert cut(activity("1" * 20 + "2" * 4 + "3" * 36), (0.0, 6.0)) == [(0.0, 2.0), (2.0, 2.4), (2.4, 6.0)]


def test_pauses_of_the_segmentation_belong_to_the_nearest_speaker() -> None:
    assert cut(activity("1" * 20 + "0" * 10 + "2" * 30), (0.0, 6.0)) == [(0.0, 2.5), (2.5, 6.0)]
    assert cut(activity("0" * 10 + "1" * 40 + "0" * 10), (0.0, 6.0)) == [(0.0, 6.0)]


def test_speech_in_which_nobody_is_heard_stays_whole() -> None:
    heard = activity("1" * 20 + "0" * 40)
    assert cut(heard, (0.0, 2.0), (3.0, 5.0)) == [(0.0, 2.0), (3.0, 5.0)]
    assert cut(heard, (3.0, 3.1)) == [(3.0, 3.1)]  # however short


def test_speech_after_the_last_frame_stays_whole() -> None:
    assert cut(activity("1" * 60), (6.5, 8.0)) == [(6.5, 8.0)]


def test_the_ends_are_those_of_the_speech_not_of_frames() -> None:
    assert cut(activity("1" * 20 + "2" * 40), (0.123, 5.678)) == [(0.123, 2.0), (2.0, 5.678)]


def test_windows_lie_in_one_stretch_each() -> None:
    heard = activity("1" * 23 + "2" * 37, "2" * 17 + "1" * 43)
    cuts = [2.3, 4.7]
    found = windows.over([Segment(0.2, 8.8)], CONFIG, heard)
    assert len(found) > 10
    assert not [window for window in found for at in cuts if window.start < at - STEP / 2 < at + STEP / 2 < window.end]


def test_speech_that_is_overlapped_all_the_time_has_windows_nevertheless() -> None:
    """A recording without any stretch of one speaker gets the windows of all its speech."""
    heard = activity("4" * 60)
    assert cut(heard, (0.0, 6.0)) == []
    assert windows.over([Segment(0.0, 6.0)], CONFIG, heard) == windows.over([Segment(0.0, 6.0)], CONFIG)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_the_segmentation_hears_stretches_are_disjoint_parts_of_the_speech(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = ["".join(np.repeat(random.choice(list("0123456"), 12), 5)) for _ in range(4)]
    speech = [Segment(0.4, 5.0), Segment(5.2, 5.35), Segment(6.0, 14.9)]
    found = stretches.of_one_speaker(speech, activity(*rows))
    assert all(a.end <= b.start + 1e-9 for a, b in pairwise(found))
    assert all(any(s.start <= part.start and part.end <= s.end for s in speech) for part in found)

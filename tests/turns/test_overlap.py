from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarize import timeline
from diarize.config import SegmentationConfig
from diarize.speech import windows
from diarize.turns import merging
from diarize.types import Segment, Turn
from tests.local_speakers import activity

LABELS = np.array([0, 0, 1, 1])
WINDOWS = (Segment(0, 1.5), Segment(1, 2.5), Segment(2.5, 4), Segment(3.5, 5))
TALK = (Segment(0.0, 5.0),)


def spans(turns: tuple[Turn, ...]) -> list[tuple[float, float, str]]:
    return [(turn.start, turn.end, turn.speaker) for turn in turns]


def test_two_talk_where_the_segmentation_has_two() -> None:
    turns = merging.merge(WINDOWS, LABELS, TALK, activity("1" * 20 + "4" * 8 + "2" * 22))
    assert spans(turns) == [(0.0, 2.8, "SPEAKER_01"), (2.0, 5.0, "SPEAKER_02")]


def test_local_speakers_part_where_windows_would_not() -> None:
    turns = merging.merge(WINDOWS, LABELS, TALK, activity("1" * 27 + "2" * 23))
    assert spans(turns) == [(0.0, 2.7, "SPEAKER_01"), (2.7, 5.0, "SPEAKER_02")]


def test_windows_part_whom_a_local_speaker_does_not() -> None:
    turns = merging.merge(WINDOWS, LABELS, TALK, activity("1" * 50))
    assert spans(turns) == [(0.0, 2.5, "SPEAKER_01"), (2.5, 5.0, "SPEAKER_02")]


def test_the_same_person_has_another_number_in_the_next_window() -> None:
    local = activity("1" * 20 + "4" * 5 + "2" * 25, "2" * 25 + "3" * 25)
    whole = (*WINDOWS, Segment(5, 6.5), Segment(6, 7.5))
    turns = merging.merge(whole, np.array([0, 0, 1, 1, 0, 0]), (Segment(0, 7.5),), local)
    assert {turn.speaker for turn in turns} == {"SPEAKER_01", "SPEAKER_02"}
    assert spans(turns)[-1] == (5.0, 7.5, "SPEAKER_01")


def test_turns_keep_to_speech() -> None:
    speech = (Segment(0.25, 1.0), Segment(3.0, 4.44))
    turns = merging.merge(WINDOWS, LABELS, speech, activity("1" * 25 + "2" * 25))
    assert spans(turns) == [(0.25, 1.0, "SPEAKER_01"), (3.0, 4.44, "SPEAKER_02")]


def test_a_single_cluster_never_talks_with_itself() -> None:
    turns = merging.merge(WINDOWS, np.zeros(4, np.int64), TALK, activity("4" * 50))
    assert spans(turns) == [(0.0, 5.0, "SPEAKER_01")]


def test_a_very_short_stretch_of_speech_keeps_its_speaker() -> None:
    turns = merging.merge((Segment(1.0, 1.06),), np.array([0]), (Segment(1.0, 1.06),), activity("0" * 50))
    assert spans(turns) == [(1.0, 1.06, "SPEAKER_01")]


def test_a_higher_threshold_gives_less_overlap() -> None:
    local = activity("1" * 20 + "4" * 8 + "2" * 22)
    turns = merging.merge(WINDOWS, LABELS, TALK, local, segmentation=SegmentationConfig(overlap=0.97))
    assert timeline.total(turns) == pytest.approx(sum(turn.duration for turn in turns))


def test_confidence_is_higher_where_windows_and_local_speakers_agree() -> None:
    agreed = merging.merge(WINDOWS, LABELS, TALK, activity("1" * 25 + "2" * 25))
    doubtful = merging.merge(WINDOWS, LABELS, TALK, activity("1" * 50))
    assert all(turn.confidence is not None and 0.5 < turn.confidence <= 1 for turn in (*agreed, *doubtful))
    assert (agreed[0].confidence or 0) > (doubtful[0].confidence or 0)


def test_silence_has_no_turns() -> None:
    assert merging.merge((), np.zeros(0, np.int64), (), activity("0" * 50)) == ()


def test_speech_without_windows_is_refused() -> None:
    with pytest.raises(ValueError, match="no speaker"):
        merging.merge((), np.zeros(0, np.int64), TALK, activity("1" * 50))


def test_labels_must_match_windows() -> None:
    with pytest.raises(ValueError, match="4 windows have 2 labels"):
        merging.merge(WINDOWS, LABELS[:2], TALK, activity("1" * 50))


@given(st.data())
def test_turns_cover_speech_but_for_noise_and_stay_in_it(data: st.DataObject) -> None:
    text = st.text("0123456", min_size=40, max_size=40)
    local = activity(*data.draw(st.lists(text, min_size=1, max_size=4)))
    end = local.frames * local.step
    edges = sorted(data.draw(st.lists(st.integers(0, round(end * 100)), min_size=2, max_size=8, unique=True)))
    speech = tuple(Segment(a / 100, b / 100) for a, b in zip(edges[::2], edges[1::2], strict=False))
    spoken = windows.over(speech)
    labels = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(spoken), max_size=len(spoken))), np.int64)
    turns = merging.merge(spoken, labels, speech, local)
    covered = timeline.union(turns)
    outside = timeline.total(covered) - timeline.total(timeline.intersect(covered, speech))
    assert outside <= 0.2 * len(speech) + 1e-6  # gaps that are joined
    assert timeline.total(timeline.intersect(covered, speech)) >= 0.5 * timeline.total(speech)
    assert list(turns) == sorted(turns, key=lambda t: t.start)
    assert len({turn.speaker for turn in turns}) <= len(set(labels.tolist()))


def test_speech_in_no_window_goes_to_the_nearest() -> None:
    near = (Segment(1.0, 2.0), Segment(3.0, 4.0))
    turns = merging.merge(near, np.array([0, 1]), TALK, activity("0" * 50))
    assert spans(turns) == [(0.0, 2.5, "SPEAKER_01"), (2.5, 5.0, "SPEAKER_02")]

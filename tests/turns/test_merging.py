"""Windows and labels to turns."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarize.config import TurnsConfig, WindowsConfig
from diarize.speech import windows
from diarize.timeline import total, union
from diarize.turns import merging
from diarize.types import Labels, Segment

PLAIN = TurnsConfig(gap=0, min_turn=0)


def _labels(*labels: int) -> Labels:
    return np.array(labels, dtype=np.int64)


def test_nothing_said_gives_no_turn() -> None:
    assert merging.merge((), _labels(), ()) == ()


def test_two_windows_that_disagree_part_at_the_middle_of_what_they_share() -> None:
    turns = merging.merge((Segment(0, 1.6), Segment(0.8, 2.4)), _labels(4, 2), (Segment(0, 2.4),), config=PLAIN)
    assert [(t.start, t.end, t.speaker) for t in turns] == [(0.0, 1.2, "SPEAKER_01"), (1.2, 2.4, "SPEAKER_02")]


def test_speakers_are_numbered_by_first_appearance_whatever_the_labels_and_the_order_of_windows() -> None:
    spans = (Segment(4, 5), Segment(0, 1), Segment(2, 3))
    turns = merging.merge(spans, _labels(0, 9, 0), union(spans), config=PLAIN)
    assert [t.speaker for t in turns] == ["SPEAKER_01", "SPEAKER_02", "SPEAKER_02"]


def test_a_short_silence_within_one_speakers_talk_does_not_end_the_turn_and_a_long_one_does() -> None:
    spans = (Segment(0, 1), Segment(1.25, 2), Segment(3, 4))
    turns = merging.merge(spans, _labels(0, 0, 0), spans, config=TurnsConfig(gap=0.3))
    assert [(t.start, t.end) for t in turns] == [(0.0, 2.0), (3.0, 4.0)]


def test_another_speaker_between_keeps_turns_apart() -> None:
    spans = (Segment(0, 1), Segment(1.1, 1.2), Segment(1.3, 2))
    turns = merging.merge(spans, _labels(0, 1, 0), spans, config=TurnsConfig(gap=5, min_turn=0))
    assert [t.speaker for t in turns] == ["SPEAKER_01", "SPEAKER_02", "SPEAKER_01"]


def test_a_change_that_is_too_short_goes_to_its_neighbours() -> None:
    spans = (Segment(0, 2), Segment(2, 2.1), Segment(2.1, 4))
    turns = merging.merge(spans, _labels(0, 1, 0), (Segment(0, 4),), config=TurnsConfig(gap=0, min_turn=0.2))
    assert [(t.start, t.end, t.speaker) for t in turns] == [(0.0, 4.0, "SPEAKER_01")]


def test_a_short_word_alone_in_silence_keeps_its_speaker() -> None:
    spans = (Segment(0, 2), Segment(3, 3.1))
    turns = merging.merge(spans, _labels(0, 1), spans, config=TurnsConfig(gap=0, min_turn=0.2))
    assert [t.speaker for t in turns] == ["SPEAKER_01", "SPEAKER_02"]


def test_speech_that_no_window_covers_goes_to_the_nearest_window() -> None:
    turns = merging.merge((Segment(0, 1), Segment(5, 6)), _labels(0, 1), (Segment(0, 6),), config=PLAIN)
    assert [(t.start, t.end, t.speaker) for t in turns] == [(0.0, 3.0, "SPEAKER_01"), (3.0, 6.0, "SPEAKER_02")]


def test_confidence_is_the_share_of_the_votes() -> None:
    (sure,) = merging.merge((Segment(0, 1),), _labels(0), (Segment(0, 1),), config=PLAIN)
    assert sure.confidence == 1.0
    unsure = merging.merge((Segment(0, 1.6), Segment(0.8, 2.4)), _labels(0, 1), (Segment(0, 2.4),), config=PLAIN)
    assert all(t.confidence is not None and 0.5 < t.confidence < 1 for t in unsure)


def test_a_stretch_of_speech_longer_than_a_block_of_votes_is_one_turn() -> None:
    speech = (Segment(0, 200),)
    spans = windows.over(speech, WindowsConfig())
    (turn,) = merging.merge(spans, _labels(*[0] * len(spans)), speech)
    assert (turn.start, turn.end) == (0.0, 200.0)


def test_windows_without_labels_and_speech_without_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="2 windows have 1 labels"):
        merging.merge((Segment(0, 1), Segment(1, 2)), _labels(0), (Segment(0, 2),))
    with pytest.raises(ValueError, match="without a single window"):
        merging.merge((), _labels(), (Segment(0, 1),))


@given(
    st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 4000)), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
    st.integers(1, 4),
)
def test_turns_cover_speech_and_nothing_else_and_do_not_overlap(
    parts: list[tuple[int, int]], random: object, speakers: int
) -> None:
    at, speech = 0, []
    for silence, length in parts:
        at += silence + 1
        speech.append(Segment(at / 1000, (at + length) / 1000))
        at += length
    spans = windows.over(speech, WindowsConfig())
    labels = _labels(*[random.randrange(speakers) for _ in spans])  # type: ignore[attr-defined]
    turns = merging.merge(spans, labels, tuple(speech), config=TurnsConfig(gap=0.3))
    assert all(a.end <= b.start for a, b in pairwise(turns))
    covered = union(turns)
    assert total(covered) >= total(speech) - 0.002 * len(turns)
    assert all(any(c.start <= s.start + 0.001 and s.end <= c.end + 0.001 for c in union(turns, 0.002)) for s in speech)
    joined = union(speech, 0.3 + 1e-9)
    assert all(any(j.start - 0.001 <= t.start and t.end <= j.end + 0.001 for j in joined) for t in turns)
    assert list(dict.fromkeys(t.speaker for t in turns)) == [
        f"SPEAKER_{i + 1:02d}" for i in range(len({t.speaker for t in turns}))
    ]

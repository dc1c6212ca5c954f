"""Known turns among estimated turns."""

from __future__ import annotations

from collections.abc import Sequence

from diarize.turns.merging import numbered
from diarize.turns.pinning import pin
from diarize.types import ClusterTurn, Segment, Turn


def pinned(turns: Sequence[ClusterTurn], known: Sequence[ClusterTurn], speech: Segment) -> list[Turn]:
    return list(numbered(pin(turns, known, (speech,), 0.2)))


def test_within_a_known_turn_its_speaker_speaks_where_speech_is() -> None:
    turns = [ClusterTurn(0, 6, 0, 0.8), ClusterTurn(6, 10, 1, 0.6)]
    assert pinned(turns, [ClusterTurn(4, 12, 1)], Segment(0, 10)) == [
        Turn(0, 4, "SPEAKER_01", 0.8),
        Turn(4, 10, "SPEAKER_02", 1.0),
    ]


def test_beside_a_known_speaker_the_surest_of_the_others_stays_in_overlap() -> None:
    turns = [ClusterTurn(0, 3, 0, 0.7), ClusterTurn(3, 9, 1, 0.6), ClusterTurn(5, 9, 2, 0.9)]
    assert pinned(turns, [ClusterTurn(4, 7, 0)], Segment(0, 9)) == [
        Turn(0, 3, "SPEAKER_01", 0.7),
        Turn(3, 4, "SPEAKER_02", 0.6),
        Turn(4, 7, "SPEAKER_01", 1.0),
        Turn(5, 9, "SPEAKER_03", 0.9),
        Turn(7, 9, "SPEAKER_02", 0.6),
    ]


def test_a_known_speaker_without_a_turn_gets_one_and_speakers_are_numbered_by_first_appearance() -> None:
    turns = [ClusterTurn(0, 8, 1, 0.9)]
    assert pinned(turns, [ClusterTurn(0, 2, 1), ClusterTurn(2, 3, 0)], Segment(0, 8)) == [
        Turn(0, 2, "SPEAKER_01", 1.0),
        Turn(2, 3, "SPEAKER_02", 1.0),
        Turn(3, 8, "SPEAKER_01", 0.9),
    ]


def test_where_nobody_is_known_turns_stay_as_they_are() -> None:
    turns = (ClusterTurn(0, 6, 3, 0.8), ClusterTurn(5, 10, 1, 0.6))
    assert pin(turns, (), (Segment(0, 10),), 0.2) == turns

"""Speakers of a recording who turn out to be one person, or to be nobody that is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from diarize.library.scoring.people import UNHEARD, Voices, joined, name_speakers, voices_of
from diarize.types import Audio, Candidate, Embeddings, Identity, Segment, SpeechTrack, Turn, Vectors

ANNA = Candidate("v1", "Anna", 0.9, 5.0)
TURNS = (Turn(0, 2, "A"), Turn(2.1, 4, "B"), Turn(4, 6, "C"), Turn(5, 7, "A"))


@dataclass(frozen=True)
class Says:
    found: tuple[Identity, ...]
    name: str = "says"

    def __call__(
        self, vectors: Vectors, seconds: Sequence[float], bandwidth: float | None = None
    ) -> tuple[Identity, ...]:
        assert seconds == [4.0, 1.9, 2.0]
        assert bandwidth == 8000.0
        return self.found


def test_two_speakers_who_are_one_person_have_one_id_and_their_turns_are_joined() -> None:
    one = Identity((ANNA,), ANNA, "known")
    other = Identity((), ANNA, "the same", 0)
    nobody = Identity((ANNA,), None, "unknown")
    voices = Voices(("A", "B", "C"), np.eye(3, dtype=np.float32), 8000.0)
    found = name_speakers(TURNS, voices, Says((one, other, nobody)), gap=0.2)
    assert [(t.start, t.end, t.speaker) for t in found.turns] == [(0, 4, "A"), (4, 6, "C"), (5, 7, "A")]
    anna, stranger = found.speakers
    assert (anna.id, anna.name, anna.voice, anna.merged, anna.reason) == ("A", "Anna", "v1", ("B",), "known")
    assert (stranger.id, stranger.name, stranger.voice, stranger.candidates) == ("C", None, None, (ANNA,))
    assert found.same == {"B": "A"}
    assert found.strangers is not None
    assert (found.strangers.speakers, found.strangers.seconds) == (("C",), (2.0,))
    assert found.strangers.vectors.tolist() == [[0, 0, 1]]
    assert found.strangers.mean == pytest.approx([1 / 3] * 3)  # everybody's


def test_nothing_is_joined_where_nobody_is_two() -> None:
    assert joined(TURNS, {}, 10.0) == TURNS


def test_a_speaker_whom_no_window_holds_is_unknown_and_says_why() -> None:
    tone = np.sin(np.arange(32_000) / 5).astype(np.float32)
    audio = Audio("a", np.concatenate([tone, tone]))
    windows = Embeddings((Segment(0, 1.6),), np.eye(3, dtype=np.float32)[:1], "made")
    turns = (Turn(0, 1.6, "A"), Turn(3, 3.2, "B"))
    voices = voices_of(turns, [SpeechTrack(audio, (Segment(0, 1.6),), windows)])
    assert voices.speakers == ("A",)
    identify = type("Nobody", (), {"name": "nobody", "__call__": lambda *_: (Identity((), None, "unknown"),)})()
    found = name_speakers(turns, voices, identify, 0.2)
    assert [(speaker.id, speaker.reason) for speaker in found.speakers] == [("A", "unknown"), ("B", UNHEARD)]
    assert found.strangers is not None
    assert found.strangers.speakers == ("A",)


def test_a_channel_of_ones_own_is_heard_alone() -> None:
    audio = Audio("a", np.sin(np.arange(16_000) / 5).astype(np.float32))
    speech = (Segment(0, 1),)
    two = Embeddings((Segment(0, 0.5), Segment(0.5, 1)), np.eye(2, dtype=np.float32), "made")
    none = Embeddings((), np.empty((0, 2), np.float32), "made")
    lines = [SpeechTrack(audio, speech, two, "CHANNEL_0"), SpeechTrack(audio, speech, none, "CHANNEL_1")]
    found = voices_of([Turn(0, 1, "CHANNEL_0")], lines)
    assert found.speakers == ("CHANNEL_0",)
    assert found.vectors == pytest.approx(np.array([[0.5**0.5, 0.5**0.5]]))

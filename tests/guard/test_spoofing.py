"""Windows, and the scores of recordings and speakers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from diarize.guard import spoofing
from diarize.types import Audio, Segment, SpoofScores, SpoofWindow, Turn


@dataclass(frozen=True)
class Loudness:
    """Its score is the mean of the samples."""

    name: str = "loudness@1"
    seconds: float = 2.0
    error: str = "wrong half of the time"

    def __call__(self, audio: Audio, segments: Sequence[Segment]) -> NDArray[np.float32]:
        pieces = (audio.samples[round(s.start * audio.rate) : round(s.end * audio.rate)] for s in segments)
        return np.array([piece.mean() for piece in pieces], np.float32)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.floats(0, 100), st.floats(0.01, 60), st.floats(0.5, 5))
def test_windows_cover_a_segment_and_none_is_repeated(start: float, duration: float, seconds: float) -> None:
    segment = Segment(start, start + duration)
    windows = spoofing.windows_over([segment], seconds)
    assert windows[0].start == segment.start and windows[-1].end == pytest.approx(segment.end)
    assert all(w.duration == pytest.approx(min(seconds, duration)) for w in windows)
    assert all(a.end >= b.start - 1e-6 for a, b in pairwise(windows))
    assert len(windows) <= duration / seconds + 1.001


def sound(*levels: float) -> Audio:
    """Levels of one second each, at 100 Hz."""
    return Audio("a", np.repeat(np.array(levels, np.float32), 100), 100)


def test_an_utterance_has_the_mean_of_its_windows() -> None:
    scores = spoofing.score_utterance(sound(0.5, 0.5, -0.1, -0.1), Loudness(), threshold=0.3)
    assert [w.score for w in scores.windows] == [0.5, -0.1]
    assert scores.score() == pytest.approx(0.2) and scores.suspects()
    values = spoofing.as_dict(scores)
    assert values["lowest"] == -0.1 and values["suspected"] is True and values["threshold"] == 0.3
    assert "wrong half of the time" in spoofing.describe(scores) and "your threshold is 0.3" in spoofing.describe(
        scores
    )


def test_speakers_are_scored_where_they_talk_alone() -> None:
    audio = sound(0.9, 0.9, 0.1, -0.4, -0.4, 0.9)
    turns = [Turn(0, 3, "A"), Turn(2, 5, "B"), Turn(5, 5.5, "C")]
    scores = spoofing.score_speakers(audio, turns, Loudness())
    assert [(w.start, w.end, w.speaker) for w in scores.windows] == [(0, 2, "A"), (3, 5, "B")]
    assert scores.score("A") == pytest.approx(0.9) and scores.score("B") == pytest.approx(-0.4)
    assert scores.score("C") is None and not scores.suspects("B")  # no threshold, no suspicion
    text = spoofing.describe(scores)
    assert "A +0.90, B -0.40" in text and "an advisory" in text


def test_long_talk_is_sampled() -> None:
    audio = Audio("a", np.zeros(400 * 100, np.float32), 100)
    scores = spoofing.score_speakers(audio, [Turn(0, 400, "A")], Loudness())
    assert len(scores.windows) == spoofing.MOST


def test_nothing_to_score() -> None:
    scores = spoofing.score_utterance(Audio("a", np.zeros(0, np.float32), 100), Loudness())
    assert scores.windows == () and scores.score() is None and not scores.suspects()
    assert "not enough speech" in spoofing.describe(scores)
    suspected = SpoofScores("m", "e", (SpoofWindow(0, 1, -2.0),), 0.0)
    assert suspected.suspects() and not SpoofScores("m", "e", (SpoofWindow(0, 1, 0.0),), 0.0).suspects()

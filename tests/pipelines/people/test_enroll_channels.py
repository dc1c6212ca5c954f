"""Enrolment of people by channel: a channel is a recording of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diarize.audio import reading
from diarize.config import Config
from diarize.library.store import Library
from diarize.models.store import Store
from diarize.types import Provenance, Speaker, Transcript, Turn
from pipelines.people import enroll
from pipelines.people.enroll import EnrolmentRequest
from pipelines.people.enrolment_checks import UtteranceResult
from pipelines.results import outputs
from tests import media
from tests.pipelines.people.test_enroll import ANNA, BEN, CONFIG, empty, library, sing

__all__ = ["empty", "library"]  # fixtures


def stereo(path: Path, left: Path, right: Path) -> Path:
    """One recording with a recording on each channel."""
    lines = [(reading.read(line, id="r").audios[0].samples * 32767).astype("<i2") for line in (left, right)]
    both = np.zeros((max(map(len, lines)), 2), "<i2")
    for channel, samples in enumerate(lines):
        both[: len(samples), channel] = samples
    return media.wav(path, both, 16_000)


def by_channel(channel: int | str) -> Config:
    return CONFIG.model_copy(update={"audio": CONFIG.audio.model_copy(update={"channel": str(channel)})})


def test_two_people_of_a_call_are_enrolled_by_channel(tmp_path: Path, library: Library, empty: Store) -> None:
    call = stereo(tmp_path / "call.wav", sing(tmp_path / "a.wav", (ANNA, 6)), sing(tmp_path / "b.wav", (BEN, 6)))

    def add(name: str, channel: int | str, file: Path = call) -> UtteranceResult:
        return enroll.enroll(library, EnrolmentRequest(name), [file], by_channel(channel), empty).rows[0]

    assert add("Agent", 0).outcome == "counted"
    customer = add("Customer", 1)
    assert (customer.outcome, customer.origin) == ("counted", "call.wav (channel 1)")
    assert add("Agent", 0).outcome == "known"
    wrong = add("Customer", 0)
    assert wrong.outcome == "refused" and "channel 0 of this recording is enrolled already, as Agent" in wrong.reason
    # The mean of both channels holds the agent too, who would count twice.
    assert add("Agent", "mix").outcome == "known"

    # Channels with the same sound are the whole recording, whichever is chosen.
    copy = stereo(tmp_path / "copy.wav", sing(tmp_path / "c.wav", (500, 6), seed=5), tmp_path / "c.wav")
    assert add("Carla", 0, copy).origin == "copy.wav"
    assert "this recording is enrolled already, as Carla" in add("Dora", 1, copy).reason


def test_from_a_transcript_of_channels_where_both_talk_at_once(tmp_path: Path, library: Library, empty: Store) -> None:
    folder = tmp_path / "in"
    call = stereo(folder / "call.wav", sing(folder / "a.wav", (ANNA, 6)), sing(folder / "b.wav", (BEN, 6)))
    source = reading.read(call, id="call", channel="per-channel").source
    transcript = Transcript(
        recording="call",
        duration=7.0,
        speakers=(Speaker("CHANNEL_0"), Speaker("CHANNEL_1")),
        turns=(Turn(0.5, 6.5, "CHANNEL_0"), Turn(0.5, 6.5, "CHANNEL_1")),
        provenance=Provenance(source=source, settings={"audio": {"channel": "per-channel"}}),
    )
    results = folder / "out" / "call"
    outputs.write(results, transcript, (), {})
    people = []
    for name, speaker in (("Agent", "CHANNEL_0"), ("Customer", "CHANNEL_1")):
        result = enroll.enroll_from_transcript(library, EnrolmentRequest(name), results, speaker, CONFIG, empty)
        assert [(row.outcome, row.start, row.end) for row in result.rows] == [("counted", 0.5, 6.5)]
        people.append(result.person)
    agent, customer = library.voices("tones")
    assert abs(agent.vector @ customer.vector) < 0.3

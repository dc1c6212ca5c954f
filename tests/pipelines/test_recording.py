"""One recording through all stages: channels as speakers, words from elsewhere, and errors that name their stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.audio.reading import Recording
from diarize.clustering.clusterer import WindowClusterer
from diarize.config import Config, parse
from diarize.errors import FormatError, StageError
from diarize.types import Audio, Candidate, Embeddings, Identity, Labels, Segment, Source, Vectors, Word
from pipelines.recording import Stages, transcribe
from tests.cheap import Clock, Pitch

RATE = 16_000
PER_CHANNEL = parse({"audio": {"channel": "per-channel"}}, "test")


@dataclass(frozen=True)
class Loud:
    """Speech is where samples are not zero."""

    name: str = "loud"

    def __call__(self, audio: Audio, activity: LocalActivity = NO_ACTIVITY) -> tuple[Segment, ...]:
        edges = np.flatnonzero(np.diff(np.r_[0, audio.samples != 0, 0].astype(int))).reshape(-1, 2)
        return tuple(Segment(a / audio.rate, b / audio.rate) for a, b in edges.tolist())


@dataclass(frozen=True)
class Given:
    words: tuple[Word, ...]
    name: str = "given"

    def __call__(self) -> tuple[tuple[Word, ...], str | None]:
        return self.words, "de"


@dataclass(frozen=True)
class Knows:
    """Knows the first speaker only."""

    name: str = "knows"

    def __call__(
        self, vectors: Vectors, seconds: Sequence[float], bandwidth: float | None = None
    ) -> tuple[Identity, ...]:
        anna = Candidate("v1", "Anna", 0.9, 4.0)
        return (Identity((anna,), anna, "known"), *(Identity((anna,), None, "unknown") for _ in vectors[1:]))


def line(*spoken: tuple[float, float], hertz: float = 300) -> Audio:
    """Ten seconds with a square wave in the stretches given."""
    samples = np.zeros(10 * RATE, np.float32)
    for start, end in spoken:
        first, last = int(start * RATE), int(end * RATE)
        samples[first:last] = np.where(np.arange(last - first) * hertz * 2 // RATE % 2, 0.3, -0.3)
    return Audio("talk", samples, RATE)


def recording(*lines: Audio) -> Recording:
    return Recording(lines, Source("talk.wav", "0" * 64, 1))


STAGES = Stages(detect=Loud(), embed=Pitch(), cluster=WindowClusterer(), recognize=Clock())
TALK = recording(line((0, 2), (6, 8)), line((3, 5)), line())


def test_each_channel_is_one_speaker_and_a_silent_one_is_nobody() -> None:
    found, _ = transcribe(TALK, STAGES, PER_CHANNEL)
    assert [(turn.start, turn.end, turn.speaker) for turn in found.turns] == [
        (0.0, 2.0, "CHANNEL_0"),
        (3.0, 5.0, "CHANNEL_1"),
        (6.0, 8.0, "CHANNEL_0"),
    ]
    assert [speaker.id for speaker in found.speakers] == ["CHANNEL_0", "CHANNEL_1"]
    assert [(word.text, word.speaker) for word in found.words] == [
        ("0", "CHANNEL_0"),
        ("1", "CHANNEL_0"),
        ("3", "CHANNEL_1"),
        ("4", "CHANNEL_1"),
        ("6", "CHANNEL_0"),
        ("7", "CHANNEL_0"),
    ]
    assert found.language == "en"


def test_the_detector_of_a_channel_gets_the_segmentation_of_that_channel() -> None:
    advice: list[tuple[LocalActivity, LocalActivity]] = []

    @dataclass(frozen=True)
    class Heard:
        name: str = "heard"

        def __call__(self, audio: Audio) -> LocalActivity:
            share = float(np.mean(audio.samples != 0))
            return LocalActivity(np.full((1, 10, 7), share, np.float16), hop=10, step=1.0, lag=0.0)

    @dataclass(frozen=True)
    class Advised:
        name: str = "advised"

        def __call__(self, audio: Audio, activity: LocalActivity = NO_ACTIVITY) -> tuple[Segment, ...]:
            advice.append((activity, Heard()(audio)))
            return Loud()(audio)

    result, _ = transcribe(TALK, replace(STAGES, segment=Heard(), detect=Advised()), PER_CHANNEL)
    assert len(advice) == 3
    assert all(np.array_equal(used.posteriors, own.posteriors) for used, own in advice)
    assert result.provenance.stages["segment"] == "heard"


def test_words_from_elsewhere_are_taken_once_however_many_channels_there_are() -> None:
    words = (Word(3.2, 3.6, "ja"), Word(0.5, 0.9, "also"), Word(9.5, 9.9, "tschüs"))
    found, _ = transcribe(TALK, STAGES, PER_CHANNEL, words=Given(words))
    assert [(word.text, word.speaker) for word in found.words] == [
        ("ja", "CHANNEL_1"),
        ("also", "CHANNEL_0"),
        ("tschüs", None),
    ]
    assert found.language == "de"
    assert found.provenance.stages["recognize"] == "given"


def test_words_from_elsewhere_stand_in_the_place_of_a_recognizer() -> None:
    found, _ = transcribe(recording(line((0, 4))), STAGES, Config(), words=Given((Word(1, 2, "so"),)))
    assert [(word.text, word.speaker) for word in found.words] == [("so", "SPEAKER_01")]
    assert found.provenance.stages["recognize"] == "given"


def test_the_speaker_who_is_known_has_a_name_and_the_others_have_none() -> None:
    low, high = line((0, 4)), line((5, 9), hertz=2500)
    both = Audio("talk", low.samples + high.samples, RATE)
    config = parse({"cluster": {"num_speakers": 2}}, "test")
    stages = replace(STAGES, cluster=WindowClusterer(config.cluster), identify=Knows())
    found, _ = transcribe(recording(both), stages, config)
    assert [speaker.name for speaker in found.speakers] == ["Anna", None]
    assert found.provenance.stages["identify"] == "knows"


@pytest.mark.parametrize("error", [FormatError("words.json", "is empty"), ValueError("odd"), MemoryError("no room")])
def test_what_goes_wrong_in_a_stage_is_told_with_its_name(error: Exception) -> None:
    @dataclass(frozen=True)
    class Failing(Clock):
        def __call__(self, audio: Audio, speech: Sequence[Segment]) -> tuple[tuple[Word, ...], str | None]:
            raise error

    with pytest.raises(StageError, match=f"^talk: recognize failed: .*{error}") as caught:
        transcribe(recording(line((0, 2))), replace(STAGES, recognize=Failing()), Config())
    assert caught.value.stage == "recognize"


def test_as_many_speakers_as_are_looked_for_by_default_may_be_too_few() -> None:
    class Every(WindowClusterer):
        def __call__(self, voices: Embeddings, activity: LocalActivity = NO_ACTIVITY) -> Labels:
            return np.arange(len(voices.segments))

    crowd = recording(line(*((i * 0.5, i * 0.5 + 0.25) for i in range(20))))
    found, _ = transcribe(crowd, replace(STAGES, cluster=Every(), recognize=None), Config())
    assert "raise --max-speakers" in " ".join(found.provenance.notes)
    wider = parse({"cluster": {"max_speakers": 30}}, "test")
    assert transcribe(crowd, replace(STAGES, cluster=Every(), recognize=None), wider)[0].provenance.notes == ()


def test_an_empty_recording_is_an_empty_transcript() -> None:
    found, _ = transcribe(recording(Audio("talk", np.zeros(0, np.float32))), STAGES, Config())
    assert (found.duration, found.speakers, found.turns, found.words) == (0.0, (), (), ())


NAMED = (Word(1.0, 2.0, "so", speaker="Anna"), Word(2.1, 2.5, "yes", speaker="Bob"), Word(2.5, 2.6, "hm"))


def test_speakers_of_the_words_are_taken_compared_or_said_to_be_unused() -> None:
    found, _ = transcribe(recording(line((0, 4))), STAGES, Config(), words=Given(NAMED))
    assert [word.speaker for word in found.words] == ["SPEAKER_01"] * 3
    assert any("not used" in note and "--speakers-from transcript" in note for note in found.provenance.notes)
    compare = parse({"label": {"speakers_from": "compare"}}, "test")
    found, _ = transcribe(recording(line((0, 4))), STAGES, compare, words=Given(NAMED))
    assert [word.speaker for word in found.words] == ["SPEAKER_01"] * 3
    assert any("50.0 % of 2 words have the same one (Anna = SPEAKER_01)" in note for note in found.provenance.notes)


def test_turns_of_the_words_need_no_other_stage() -> None:
    config = parse({"label": {"speakers_from": "transcript"}}, "test")
    stages = Stages(detect=None, embed=None, cluster=None)
    found, strangers = transcribe(recording(line((0, 4))), stages, config, words=Given(NAMED))
    assert [(turn.start, turn.end, turn.speaker) for turn in found.turns] == [(1.0, 2.0, "Anna"), (2.1, 2.5, "Bob")]
    assert [word.speaker for word in found.words] == ["Anna", "Bob", "Bob"]
    assert [speaker.label for speaker in found.speakers] == ["Anna", "Bob"] and strangers is None
    assert list(found.provenance.stages) == ["recognize"]
    assert any("turns and speakers are those of the file" in note for note in found.provenance.notes)


def test_speakers_of_the_words_are_named_by_their_voices() -> None:
    config = parse({"label": {"speakers_from": "transcript"}}, "test")
    words = (Word(0.5, 3.5, "so", speaker="S1"), Word(5.0, 9.0, "yes", speaker="S2"))
    low, high = line((0, 4)), line((5, 9), hertz=2500)
    both = Audio("talk", low.samples + high.samples, RATE)
    found, _ = transcribe(recording(both), replace(STAGES, identify=Knows()), config, words=Given(words))
    assert [(speaker.id, speaker.name) for speaker in found.speakers] == [("S1", "Anna"), ("S2", None)]

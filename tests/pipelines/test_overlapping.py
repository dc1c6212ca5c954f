"""One recording through the stages with a segmentation model among them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.audio.reading import Recording
from diarize.clustering.clusterer import WindowClusterer
from diarize.config import ClusterConfig, Config
from diarize.types import Audio, Segment, Source
from pipelines.recording import Stages, transcribe
from tests.cheap import Pitch
from tests.local_speakers import activity

RATE = 16_000
ADVISED = (Segment(0.0, 12.0),)


@dataclass(frozen=True)
class Told:
    """Hears what it is told to hear."""

    heard: LocalActivity
    name: str = "told"

    def __call__(self, audio: Audio) -> LocalActivity:
        return self.heard


@dataclass(frozen=True)
class Half:
    """Returns where the segmentation has speech, and remembers it."""

    name: str = "half"
    advice: list[tuple[Segment, ...]] = field(default_factory=list)

    def __call__(self, audio: Audio, activity: LocalActivity = NO_ACTIVITY) -> tuple[Segment, ...]:
        self.advice.append(activity.spoken(0.6))
        return self.advice[-1]


@dataclass(frozen=True)
class Stubborn:
    """Ignores the segmentation."""

    name: str = "stubborn"

    def __call__(self, audio: Audio, activity: LocalActivity = NO_ACTIVITY) -> tuple[Segment, ...]:
        return (Segment(0.0, 10.0),)


def talk() -> Recording:
    """Six seconds of a low tone, six of a high one."""
    t = np.arange(6 * RATE) / RATE
    tones = [0.3 * np.sin(2 * np.pi * hertz * t) for hertz in (200, 2000)]
    return Recording((Audio("talk", np.concatenate(tones).astype(np.float32), RATE),), Source("talk.wav", "0" * 64, 1))


HEARD = activity("1" * 50 + "4" * 10 + "2" * 60)
CONFIG = Config(cluster=ClusterConfig(num_speakers=2))


def stages(detect: Half | Stubborn) -> Stages:
    return Stages(detect, Pitch(), WindowClusterer(CONFIG.cluster), segment=Told(HEARD))


def test_two_talk_at_once() -> None:
    detect = Half()
    transcript, _ = transcribe(talk(), stages(detect), CONFIG)
    assert [(t.start, t.end, t.speaker) for t in transcript.turns] == [
        (0.0, 6.0, "SPEAKER_01"),
        (5.0, 12.0, "SPEAKER_02"),
    ]
    assert detect.advice == [ADVISED]


def test_a_detector_may_ignore_the_segmentation() -> None:
    transcript, _ = transcribe(talk(), stages(Stubborn()), CONFIG)
    assert max(turn.end for turn in transcript.turns) == 10.0


def test_the_stage_is_told_and_named() -> None:
    entered: list[str] = []
    transcript, _ = transcribe(talk(), stages(Half()), CONFIG, observe=entered.append)
    assert entered == ["segment", "detect", "embed", "cluster"]
    assert transcript.provenance.stages["segment"] == "told"

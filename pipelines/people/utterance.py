"""One recording of one person -> their voice: what verification, comparison and trials have in common."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diarize.audio.bandwidth import bandwidth
from diarize.config import Config
from diarize.errors import AudioError
from diarize.library.scoring.calibration import Side
from diarize.models.registry import Progress
from diarize.models.store import Store
from diarize.speech import windows
from diarize.stages import Detector, Embedder
from diarize.timeline import total, union
from diarize.types import Audio, Embeddings, Segment
from pipelines import plan
from pipelines.processes import decoding

MARGIN = 0.5  # s around speech that is heard with it; measured: EER 6.5 % instead of 7.2 % (docs/method/scores.md)


@dataclass(frozen=True, slots=True, eq=False)
class Utterance:
    """One person's speech in one recording, as a vector (d,) of unit length."""

    path: str
    digest: str  # sha256 of the file's bytes
    vector: NDArray[np.float32] = field(repr=False)
    model: str
    seconds: float  # of speech
    bandwidth: float  # Hz
    notes: tuple[str, ...] = ()  # on the recording: clipping, lost spans, ...

    @property
    def side(self) -> Side:
        return Side(self.seconds, self.bandwidth)


@dataclass(frozen=True, slots=True)
class Ears:
    """The stages that a voice needs, with their models loaded."""

    detect: Detector
    embed: Embedder
    config: Config
    notes: tuple[str, ...] = ()  # what the choice of models leaves to be desired

    def __call__(self, path: Path) -> Utterance:
        """The voice in a recording. Raises AudioError where it cannot be read or holds no speech."""
        recording = decoding.read(path, id=path.name, channel=self.config.audio.channel)
        return replace(self.heard(recording.audios[0]), path=str(path), notes=recording.source.notes)

    def heard(self, sound: Audio) -> Utterance:
        """The voice in a recording that is decoded. Raises AudioError where it holds no speech."""
        return self.pooled(sound, *self.listen(sound))

    def listen(self, sound: Audio) -> tuple[tuple[Segment, ...], Embeddings]:
        """The speech in a recording, and the voice in each window over it. Raises AudioError where there is none."""
        speech = self.detect(sound)
        if not speech:
            raise AudioError(sound.id, "no speech was found in it", "Is it the right file?")
        return speech, self.embed(sound, windows.over(around(speech, sound.duration), self.config.windows))

    def pooled(self, sound: Audio, speech: tuple[Segment, ...], voices: Embeddings) -> Utterance:
        """What `listen` heard, as one voice."""
        mean = voices.vectors.astype(np.float64).sum(axis=0)
        return Utterance(
            path=sound.id,
            digest=sound.digest,
            vector=(mean / np.linalg.norm(mean)).astype(np.float32),
            model=voices.model,
            seconds=round(total(speech), 3),
            bandwidth=bandwidth(sound, speech),
        )


def ears(config: Config, store: Store, progress: Progress | None = None) -> Ears:
    """The detector and the embedder that `config` asks for. Raises BackendError and ModelError.

    Where it says per-channel, channels are looked at first instead: one recording is one person here.
    """
    channel = "auto" if config.audio.channel == "per-channel" else config.audio.channel
    only = {
        "asr": config.asr.model_copy(update={"backend": "none"}),
        "audio": config.audio.model_copy(update={"channel": channel}),
        "segmentation": config.segmentation.model_copy(update={"backend": "none"}),
        "diarizer": None,
    }
    chosen = plan.make(config.model_copy(update=only), store, progress)
    stages = chosen.build()
    assert stages.detect is not None and stages.embed is not None  # no diarizer takes their place
    return Ears(stages.detect, stages.embed, chosen.config, (*chosen.notes, *stages.notes()))


def around(speech: tuple[Segment, ...], duration: float) -> tuple[Segment, ...]:
    """Speech with its margins, joined where they touch: short pauses are heard with what is around them."""
    return union(Segment(max(0.0, s.start - MARGIN), min(duration, s.end + MARGIN)) for s in speech)

"""One recording of one person -> their voice, as verification, comparison, trials and enrolment use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diarize.audio.bandwidth import bandwidth
from diarize.config import Config, WindowsConfig
from diarize.errors import AudioError, ConfigError
from diarize.guard import spoofing
from diarize.library.scoring import calibration as calibrations
from diarize.library.scoring import enrolment
from diarize.library.scoring.calibration import Side
from diarize.models.registry import COSINE_ONLY, ModelScoring
from diarize.models.store import Store
from diarize.speech import preparation, windows
from diarize.stages import Countermeasure, Detector, Embedder, WholeEmbedder
from diarize.timeline import total, union
from diarize.types import Audio, Embeddings, Segment, SpoofScores
from diarize.units import RATE
from pipelines import plan
from pipelines.processes import decoding
from pipelines.recording import notes_of

MARGIN = 0.5  # s embedded on both sides of speech; measured: EER 6.5 % instead of 7.2 % (docs/method/scores.md)
WINDOWS = WindowsConfig(length=1.6, hop=0.8)  # whatever recordings are cut into: calibrations were fitted with these

_SHOWN = 5  # places of a second voice that a note names

OnUtterance = Callable[[str, int, int], None]  # called with (name, recordings done, recordings in all)


@dataclass(frozen=True, slots=True, eq=False)
class UtteranceEmbedding:
    """One person's speech in one recording, as a vector (d,) of unit length."""

    path: str
    digest: str  # sha256 of the file's bytes
    vector: NDArray[np.float32] = field(repr=False)
    model: str
    seconds: float  # of speech
    bandwidth: float  # Hz
    notes: tuple[str, ...] = ()  # on the recording: clipping, lost spans, ...
    spoof: SpoofScores | None = None  # None: no countermeasure was asked

    @property
    def side(self) -> Side:
        return Side(self.seconds, self.bandwidth)


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedSpeech:
    """The speech of a recording of one person: its segments, an embedding of each window, and the voice of all."""

    speech: tuple[Segment, ...]
    windows: Embeddings
    voice: UtteranceEmbedding


@dataclass(frozen=True, slots=True)
class UtteranceEmbedder:
    """A recording of one person -> an `UtteranceEmbedding`, with models that are loaded."""

    detector: Detector
    embedder: Embedder
    config: Config
    notes: tuple[str, ...] = ()  # which better models are not installed
    models: Mapping[str, str] = field(default_factory=dict)  # name in the model store -> sha256
    scoring: ModelScoring = COSINE_ONLY  # how the authors of the model compare vectors
    preparation: str = preparation.SPEECH  # what of a file is embedded
    countermeasure: Countermeasure | None = None

    @property
    def model(self) -> str:
        """Identity of the embedding model and of the preparation: vectors of two are never compared."""
        ending = "" if self.preparation == preparation.SPEECH else f"+{self.preparation}"
        return f"{self.embedder.name}{ending}"

    def embed_file(self, path: Path) -> UtteranceEmbedding:
        """The voice in a file. Raises AudioError where it cannot be read or holds no speech."""
        channel = "mix" if self.preparation == preparation.SOX_APP else self.config.audio.channel
        rate = getattr(self.embedder, "rate", RATE)
        recording = decoding.read(path, id=path.name, channel=channel, track=self.config.audio.track, rate=rate)
        audio, notes = recording.audios[0], recording.source.notes
        if self.preparation == preparation.SPEECH and rate == RATE:
            embedded = self.embed_windows(audio)
            notes = (*notes, *note_second_voice(embedded, self.model))
            return replace(embedded.voice, path=str(path), notes=notes, spoof=self.score_spoofing(audio))
        voice = self._embed_prepared(audio)
        needed = self.scoring.bandwidth
        if recording.source.rate < rate or voice.bandwidth < needed:
            sound = f"{recording.source.rate} Hz, with sound up to {voice.bandwidth:,.0f} Hz"
            notes += (
                f"recorded at {sound}; the model needs {rate} Hz with sound up to {needed:,.0f} Hz, "
                "and its scores and threshold are not valid here",
            )
        return replace(voice, path=str(path), notes=notes, spoof=self.score_spoofing(audio))

    def score_spoofing(self, audio: Audio) -> SpoofScores | None:
        """The scores of the countermeasure for a whole recording; None where none was asked."""
        if self.countermeasure is None:
            return None
        threshold = self.config.spoof.threshold
        return spoofing.score_utterance(preparation.resample(audio, RATE), self.countermeasure, threshold)

    def _embed_prepared(self, audio: Audio) -> UtteranceEmbedding:
        """The voice in audio at the rate of the embedder, of all of it or of what the preparation leaves.

        Raises AudioError where it holds no speech: nobody's voice would be compared.
        """
        speech = self.detector(preparation.resample(audio, RATE))
        if not speech:
            raise AudioError(audio.id, "no speech was found in it", "Is it the right file?")
        if self.preparation == preparation.SPEECH:
            return self.embed_speech(audio, speech, add_margins(speech, audio.duration)).voice
        prepared = preparation.sox_app(audio) if self.preparation == preparation.SOX_APP else audio
        rows = self.embedder(prepared, [Segment(0.0, prepared.duration)]).vectors[0]
        return UtteranceEmbedding(
            path=audio.id,
            digest=audio.digest,
            vector=rows,
            model=self.model,
            seconds=round(total(speech), 3),
            bandwidth=bandwidth(audio, speech),
        )

    def embed_audio(self, audio: Audio) -> UtteranceEmbedding:
        """The voice in decoded audio. Raises AudioError where it holds no speech."""
        return self.embed_windows(audio).voice

    def embed_windows(self, audio: Audio) -> EmbeddedSpeech:
        """The voice in decoded audio, and its windows. Raises AudioError where it holds no speech."""
        speech = self.detector(audio)
        if not speech:
            raise AudioError(audio.id, "no speech was found in it", "Is it the right file?")
        return self.embed_speech(audio, speech, add_margins(speech, audio.duration))

    def embed_speech(self, audio: Audio, speech: tuple[Segment, ...], wide: tuple[Segment, ...]) -> EmbeddedSpeech:
        """The voice of these segments of `speech`, embedded with the sound around them (`wide`)."""
        segments = windows.over(wide, WINDOWS)
        if isinstance(self.embedder, WholeEmbedder):
            rows = self.embedder.embed_with_whole(audio, segments, wide)
            embeddings, vector = Embeddings(segments, rows.vectors[:-1], rows.model), rows.vectors[-1]
        else:  # the mean of the windows' embeddings, scaled to unit length
            embeddings = self.embedder(audio, segments)
            mean = embeddings.vectors.astype(np.float64).sum(axis=0)
            vector = (mean / np.linalg.norm(mean)).astype(np.float32)
        voice = UtteranceEmbedding(
            path=audio.id,
            digest=audio.digest,
            vector=vector,
            model=embeddings.model,
            seconds=round(total(speech), 3),
            bandwidth=bandwidth(audio, speech),
        )
        return EmbeddedSpeech(speech, embeddings, voice)


def load_embedder(config: Config, store: Store, prepare: str | None = preparation.SPEECH) -> UtteranceEmbedder:
    """The detector and the embedder that `config` asks for. Raises ConfigError, BackendError and ModelError.

    `prepare`: what of a file is embedded, one of `preparation.PREPARATIONS`. None is what the model's authors do, at
    the rate that they do it: for recordings that are compared with each other. Voices of a library are those of the
    speech, at 16 kHz, as in the main job; models of another rate are refused for them. The channel setting per-channel
    is replaced by auto, as a recording of one person has one speaker in all channels.
    """
    channel = "auto" if config.audio.channel == "per-channel" else config.audio.channel
    only = {
        "asr": config.asr.model_copy(update={"backend": "none"}),
        "audio": config.audio.model_copy(update={"channel": channel}),
        "segmentation": config.segmentation.model_copy(update={"backend": "none"}),
        "diarizer": None,
    }
    chosen = plan.make(config.model_copy(update=only), store)
    known = store.registry
    entry = next((known[name] for name in chosen.models if known[name].role == "embedder"), None)
    scoring = COSINE_ONLY if entry is None else entry.scoring
    if prepare == preparation.SPEECH:
        plan.check_rate(store, chosen.models, "a library, a case, adapt or --prepare speech")
    elif entry is not None and entry.format.get("rate", RATE) != RATE:
        assert chosen.embed is not None
        chosen = replace(chosen, embed=chosen.embed.with_options(rate=entry.format["rate"]))
    wanted = preparation.check(prepare if prepare is not None else scoring.preparation)
    stages = chosen.build()
    assert stages.detect is not None and stages.embed is not None  # as `diarizer` is None
    if wanted == preparation.SOX_APP and getattr(stages.embed, "rate", RATE) != RATE:
        raise ConfigError("--prepare", wanted, f"it gives {RATE} Hz, and {stages.embed.name} takes another rate")
    notes = (*chosen.notes, *notes_of(stages))
    return UtteranceEmbedder(
        stages.detect, stages.embed, chosen.config, notes, chosen.models, scoring, wanted, stages.spoof
    )


def embed_files(
    paths: Mapping[str, Path], embedder: UtteranceEmbedder, on_utterance: OnUtterance
) -> tuple[dict[str, UtteranceEmbedding], dict[str, str]]:
    """(name -> voice, name -> why there is none) of the files in `paths`, each read once."""
    utterances: dict[str, UtteranceEmbedding] = {}
    problems: dict[str, str] = {}
    for done, (name, path) in enumerate(paths.items(), 1):
        try:
            utterances[name] = embedder.embed_file(path)
        except AudioError as error:
            problems[name] = error.problem
        on_utterance(name, done, len(paths))
    return utterances, problems


def note_second_voice(embedded: EmbeddedSpeech, model: str) -> tuple[str, ...]:
    """A note on a second voice, where the calibration of the embedder can tell one."""
    calibration = calibrations.shipped(model)
    if calibration is None or calibration.one_voice is None:
        return ()
    halves = enrolment.halves(embedded.windows.vectors, calibration)
    if halves is None or halves.one_voice:
        return ()
    second = union(s for s, label in zip(embedded.windows.segments, halves.labels, strict=True) if label == 1)
    places = ", ".join(f"{s.start:.1f}-{s.end:.1f} s" for s in second[:_SHOWN])
    return (f"a second voice at {places}: the comparison may be of a mixture of two people",)


def add_margins(speech: tuple[Segment, ...], duration: float) -> tuple[Segment, ...]:
    """Speech with `MARGIN` on both sides, joined where the margins meet."""
    return union(Segment(max(0.0, s.start - MARGIN), min(duration, s.end + MARGIN)) for s in speech)

"""Sound that arrives piece by piece: is there enough speech yet?"""

from __future__ import annotations

import hashlib
import secrets
import wave
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from diarize.speech import preparation
from diarize.timeline import total
from diarize.types import Audio
from diarize.units import RATE
from pipelines.people.utterance import UtteranceEmbedder
from pipelines.service.streams.opus import OpusSound
from pipelines.service.work.refusals import Refusal
from pipelines.service.work.uploads import Upload, UploadDecoder

RATES = (8_000, 16_000, 24_000, 32_000, 44_100, 48_000)
EVERY = 1.0  # s of new sound between two interim answers
SHARE = 0.1  # of the sound that must be new for an interim answer, where all of it is decoded for each
_NOTHING_YET = ("not_audio", "audio_empty")  # of a beginning: there may be sound in what follows


class Listener(Protocol):
    """The sound of one stream."""

    def add(self, data: bytes) -> bool:
        """Add a message; whether it is time for an interim answer. Raises Refusal."""

    def progress(self, embedder: UtteranceEmbedder) -> dict[str, Any]:
        """How much speech there is, and whether it is enough. Raises Refusal."""

    def upload(self, path: Path) -> Upload:
        """The sound as a file at `path`, decoded like any other upload."""


@dataclass(slots=True)
class SampleListener:
    """16-bit samples, little-endian, mono."""

    rate: int  # Hz
    need: float  # s of speech
    longest: float  # s of sound
    _data: bytearray = field(default_factory=bytearray)
    _answered: float = 0.0

    def __post_init__(self) -> None:
        if self.rate not in RATES:
            raise Refusal("invalid_request", f"rate is one of {', '.join(map(str, RATES))} Hz")

    @property
    def seconds(self) -> float:
        return len(self._data) // 2 / self.rate

    def add(self, data: bytes) -> bool:
        """As `Listener`."""
        self._data += data
        if self.seconds > self.longest:
            raise too_long(self.longest)
        if self.seconds - self._answered < EVERY:
            return False
        self._answered = self.seconds
        return True

    def progress(self, embedder: UtteranceEmbedder) -> dict[str, Any]:
        """As `Listener`."""
        samples = np.frombuffer(bytes(self._data[: len(self._data) // 2 * 2]), "<i2") / np.float32(32768)
        audio = preparation.resample(Audio("stream", samples.astype(np.float32), self.rate), RATE)
        return _report(audio if len(samples) else None, self.seconds, self.need, embedder)

    def upload(self, path: Path) -> Upload:
        """As `Listener`: a WAV file."""
        with path.open("xb") as stream, wave.open(stream, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(self.rate)
            file.writeframes(bytes(self._data[: len(self._data) // 2 * 2]))
        content = path.read_bytes()
        size = len(self._data) // 2 * 2
        return Upload(path, len(content) if size else 0, hashlib.sha256(content).hexdigest(), "audio/l16")


@dataclass(slots=True)
class OpusListener:
    """Opus packets, one a message, or the pages of an Ogg stream of them. They are decoded as every upload is: in a
    confined child, with limits on sound and processor time.
    """

    need: float  # s of speech
    longest: float  # s of sound
    decoder: UploadDecoder
    folder: Path  # of uploads
    _sound: OpusSound = field(default_factory=OpusSound)
    _answered: float = 0.0

    def add(self, data: bytes) -> bool:
        """As `Listener`."""
        self._sound.add(data)
        seconds = self._sound.seconds
        if seconds > self.longest:
            raise too_long(self.longest)
        if seconds - self._answered < max(EVERY, SHARE * seconds):
            return False
        self._answered = seconds
        return True

    def progress(self, embedder: UtteranceEmbedder) -> dict[str, Any]:
        """As `Listener`."""
        path = self.folder / secrets.token_hex(16)
        audio: Audio | None = None
        try:
            audio = self.decoder.decode(self.upload(path), "stream").audios[0]
        except Refusal as refusal:
            if refusal.code not in _NOTHING_YET:
                raise
        finally:
            path.unlink(missing_ok=True)
        return _report(audio, self._sound.seconds if audio is None else audio.duration, self.need, embedder)

    def upload(self, path: Path) -> Upload:
        """As `Listener`: an Ogg file."""
        content = self._sound.content()
        with path.open("xb") as file:
            file.write(content)
        return Upload(path, len(content), hashlib.sha256(content).hexdigest(), "audio/ogg; codecs=opus")


def too_long(longest: float) -> Refusal:
    """The refusal of a stream that goes on for too long."""
    return Refusal("audio_too_long", f"{longest:g} s are the limit of a stream", {"limit": longest})


def _report(audio: Audio | None, seconds: float, need: float, embedder: UtteranceEmbedder) -> dict[str, Any]:
    speech = 0.0 if audio is None else round(float(total(embedder.detector(audio))), 3)
    return {
        "type": "progress",
        "seconds": round(seconds, 3),
        "speech": speech,
        "need": need,
        "enough": bool(speech >= need),
    }

"""Sound that arrives piece by piece: is there enough speech yet?"""

from __future__ import annotations

import hashlib
import wave
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from diarize.speech import preparation
from diarize.timeline import total
from diarize.types import Audio
from diarize.units import RATE
from pipelines.people.utterance import UtteranceEmbedder
from pipelines.service.work.refusals import Refusal
from pipelines.service.work.uploads import Upload

RATES = (8_000, 16_000, 24_000, 32_000, 44_100, 48_000)
EVERY = 1.0  # s of new sound between two interim answers


@dataclass(slots=True)
class Listener:
    """The sound of one stream: 16-bit samples, little-endian, mono."""

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
        """Add samples; whether it is time for an interim answer. Raises Refusal for more than the longest stream."""
        self._data += data
        if self.seconds > self.longest:
            raise Refusal("audio_too_long", f"{self.longest:g} s are the limit of a stream", {"limit": self.longest})
        if self.seconds - self._answered < EVERY:
            return False
        self._answered = self.seconds
        return True

    def progress(self, embedder: UtteranceEmbedder) -> dict[str, Any]:
        """How much speech there is, and whether it is enough."""
        samples = np.frombuffer(bytes(self._data[: len(self._data) // 2 * 2]), "<i2") / np.float32(32768)
        audio = preparation.resample(Audio("stream", samples.astype(np.float32), self.rate), RATE)
        speech = round(float(total(embedder.detector(audio))), 3) if len(samples) else 0.0
        return {
            "type": "progress",
            "seconds": round(self.seconds, 3),
            "speech": speech,
            "need": self.need,
            "enough": bool(speech >= self.need),
        }

    def upload(self, path: Path) -> Upload:
        """The sound as a WAV file at `path`, decoded like any other upload."""
        with path.open("xb") as stream, wave.open(stream, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(self.rate)
            file.writeframes(bytes(self._data[: len(self._data) // 2 * 2]))
        content = path.read_bytes()
        size = len(self._data) // 2 * 2
        return Upload(path, len(content) if size else 0, hashlib.sha256(content).hexdigest(), "audio/l16")

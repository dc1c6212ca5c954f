"""Sound that a library keeps comes back as it was, to 16 bits, and nothing else passes for it."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest

from diarize.errors import FormatError
from diarize.library.database import sound
from diarize.types import Audio


def test_there_and_back() -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 5000).astype(np.float32)
    kept = sound.unpack(sound.pack(Audio("a", samples, 8_000)), "a")
    assert (kept.id, kept.rate) == ("a", 8_000)
    assert kept.samples == pytest.approx(samples, abs=0.6 / 32767)
    assert sound.pack(kept) == sound.pack(Audio("a", samples, 8_000))


def stereo() -> bytes:
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8_000)
        file.writeframes(bytes(400))
    return written.getvalue()


@pytest.mark.parametrize("data", [b"", b"RIFF", b"no sound at all", bytes(100), stereo()])
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError, match="stored audio"):
        sound.unpack(data, "a")

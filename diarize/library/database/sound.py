"""Kept sound: what a library stores of an utterance so that a new embedding model can hear it (16-bit PCM WAV)."""

from __future__ import annotations

import io
import wave

import numpy as np

from diarize.errors import FormatError
from diarize.types import Audio

_FULL = 32767  # of 16 bits


def pack(audio: Audio) -> bytes:
    """A mono recording as the bytes of a WAV file, 16 bits a sample."""
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(audio.rate)
        file.writeframes(np.round(np.clip(audio.samples, -1, 1) * _FULL).astype("<i2").tobytes())
    return written.getvalue()


def unpack(data: bytes, id: str) -> Audio:
    """What `pack` wrote, decoded in memory: nothing of an encrypted library reaches the disk.

    Raises FormatError for anything else.
    """
    try:
        with wave.open(io.BytesIO(data), "rb") as file:
            if (file.getnchannels(), file.getsampwidth()) != (1, 2):
                raise FormatError(id, "the kept sound is no mono recording of 16 bits")
            rate, frames = file.getframerate(), file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise FormatError(id, f"the kept sound cannot be read: {error}") from error
    samples = np.frombuffer(frames[: len(frames) // 2 * 2], "<i2") / np.float32(_FULL)
    return Audio(id, samples.astype(np.float32), rate)

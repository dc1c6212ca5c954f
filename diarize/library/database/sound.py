"""Stored audio of an utterance, for a later embedding model (16-bit PCM WAV)."""

from __future__ import annotations

import io
import wave

import numpy as np

from diarize.errors import FormatError
from diarize.types import Audio

_FULL = 32767  # of 16 bits


def pack(audio: Audio) -> bytes:
    """A mono recording as the bytes of a WAV file, 16 bits a sample."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(audio.rate)
        file.writeframes(np.round(np.clip(audio.samples, -1, 1) * _FULL).astype("<i2").tobytes())
    return buffer.getvalue()


def unpack(data: bytes, id: str) -> Audio:
    """Decode what `pack` wrote; in memory, so that nothing of an encrypted library reaches the disk.

    Raises FormatError for anything else.
    """
    try:
        with wave.open(io.BytesIO(data), "rb") as file:
            if (file.getnchannels(), file.getsampwidth()) != (1, 2):
                raise FormatError(id, "the stored audio is not mono with 16 bits")
            rate, frames = file.getframerate(), file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise FormatError(id, f"the stored audio cannot be read: {error}") from error
    samples = np.frombuffer(frames[: len(frames) // 2 * 2], "<i2") / np.float32(_FULL)
    return Audio(id, samples.astype(np.float32), rate)

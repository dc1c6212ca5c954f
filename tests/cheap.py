"""Backends that need no model, for tests of what is around them; and ones that go wrong on purpose.

They say nothing about accuracy: the embedder hears the pitch of pure tones.
"""

from __future__ import annotations

import os
import time
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.config import ClusterConfig
from diarize.timeline import union
from diarize.types import Audio, Embeddings, Segment, Turn, Word

NOISE = 0.5  # of a vector's length; as with voices, two windows of one tone are alike and not the same


@dataclass(frozen=True)
class Pitch:
    """Each segment's spectrum in eight octave bands, and 24 numbers that only its start decides, as a unit vector."""

    name: str = "pitch"

    def __call__(self, audio: Audio, segments: Sequence[Segment], activity: LocalActivity = NO_ACTIVITY) -> Embeddings:
        rows = np.zeros((len(segments), 32), dtype=np.float32)
        for row, segment in zip(rows, segments, strict=True):
            piece = audio.samples[int(segment.start * audio.rate) : int(segment.end * audio.rate)]
            power = np.abs(np.fft.rfft(piece, 4096)) ** 2 + 1e-12
            edges = np.geomspace(2, len(power), 9).astype(int)
            row[:8] = [np.sqrt(power[a:b].sum()) for a, b in pairwise(edges)]
            row[8:] = np.random.default_rng(round(segment.start * 1000)).standard_normal(24)
            row[:8] /= np.linalg.norm(row[:8])
            row[8:] *= NOISE / np.linalg.norm(row[8:])
            row /= np.linalg.norm(row)
        return Embeddings(tuple(segments), rows, self.name)


@dataclass(frozen=True)
class Dying(Pitch):
    """Ends its process on recordings that are called so, as a crashing library does."""

    def __call__(self, audio: Audio, segments: Sequence[Segment], activity: LocalActivity = NO_ACTIVITY) -> Embeddings:
        if "segfault" in audio.id:
            os._exit(139)
        if "mistake" in audio.id:
            raise KeyError("a mistake")
        if "memory" in audio.id:
            raise MemoryError("no room for 1 TB")
        if "quit" in audio.id:
            raise SystemExit("no licence")
        return super().__call__(audio, segments)


@dataclass(frozen=True)
class Sleeping(Pitch):
    """Takes longer than any test has patience."""

    def __call__(self, audio: Audio, segments: Sequence[Segment], activity: LocalActivity = NO_ACTIVITY) -> Embeddings:
        time.sleep(600)
        return super().__call__(audio, segments)


@dataclass(frozen=True)
class Slow(Dying):
    """Takes a second, and may end its process."""

    def __call__(self, audio: Audio, segments: Sequence[Segment], activity: LocalActivity = NO_ACTIVITY) -> Embeddings:
        time.sleep(1)
        return super().__call__(audio, segments)


@dataclass(frozen=True)
class Clock:
    """Says the number of each second of speech."""

    name: str = "clock"

    def __call__(self, audio: Audio, speech: Sequence[Segment]) -> tuple[tuple[Word, ...], str | None]:
        seconds = [s for segment in speech for s in range(int(np.ceil(segment.start)), int(segment.end))]
        return tuple(Word(s, s + 0.5, str(s), 0.9) for s in seconds), "en"


@dataclass(frozen=True)
class Turnwise:
    """Hears one speaker and another by turns, a new one after each silence."""

    name: str = "turnwise"

    def __call__(self, audio: Audio) -> tuple[Turn, ...]:
        edges = np.flatnonzero(np.diff(np.r_[0, np.abs(audio.samples) > 0, 0].astype(int))).reshape(-1, 2)
        loud = union((Segment(a / audio.rate, b / audio.rate) for a, b in edges.tolist()), 0.1)
        return tuple(Turn(s.start, s.end, f"SPEAKER_{1 + i % 2:02}") for i, s in enumerate(loud))

    def bounded(self, cluster: ClusterConfig) -> Turnwise:
        return self


def diarizer(**options: Any) -> Turnwise:
    return Turnwise()


def embedder(**options: Any) -> Pitch:
    return Pitch()


def dying_embedder(**options: Any) -> Dying:
    return Dying()


def slow_embedder(**options: Any) -> Slow:
    return Slow()


def sleeping_embedder(**options: Any) -> Sleeping:
    return Sleeping()


def recognizer(**options: Any) -> Clock:
    return Clock()


def write_tones(path: Path, tones: Sequence[tuple[float, float]], rate: int = 16_000) -> Path:
    """A wav file: tones of (Hz, s) one after the other, half a second of silence around each; 0 Hz is silence."""
    gap = np.zeros(rate // 2)
    pieces = [gap]
    for hertz, seconds in tones:
        t = np.arange(int(seconds * rate)) / rate
        pieces += [0.3 * np.sin(2 * np.pi * hertz * t) if hertz else np.zeros(len(t)), gap]
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.concatenate(pieces) * 32767).astype("<i2").tobytes())
    return path


SETTINGS = [
    "--vad=energy",
    "--segmentation=none",
    "--embedder=tests.cheap:embedder",
    "--asr=tests.cheap:recognizer",
    "--offline",
]  # for the command line

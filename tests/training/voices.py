"""Voices that tests train on: harmonics of a pitch, shaped by formants, all of one speaker's own."""

from __future__ import annotations

import csv
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diarize.audio import reading
from diarize.training.data import clips as clips_of
from diarize.training.data import corpora
from diarize.training.data.clips import Clips

RATE = 16_000


def speech(speaker: int, utterance: int, seconds: float = 1.5) -> NDArray[np.float32]:
    """An utterance: syllables with pauses, pitch and formants vary a little around the speaker's."""
    rng = np.random.default_rng([speaker, utterance])
    own = np.random.default_rng([speaker, 999_999])
    pitch, formants = own.uniform(90, 240), own.uniform((300, 900, 2200), (800, 2000, 3400))
    at = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(pitch * (1 + 0.05 * np.sin(2 * np.pi * rng.uniform(2, 4) * at))) / RATE
    moved = formants * rng.uniform(0.95, 1.05, 3)
    samples = np.zeros(len(at))
    for harmonic in range(1, 30):
        hertz = harmonic * pitch
        gain = sum(np.exp(-(((hertz - formant) / 150) ** 2)) for formant in moved) + 0.02
        samples += gain * np.sin(harmonic * phase)
    samples *= 0.55 + 0.45 * np.sin(2 * np.pi * rng.uniform(3, 5) * at)
    samples += 0.01 * rng.standard_normal(len(at))
    return np.asarray(0.3 * samples / np.abs(samples).max(), np.float32)


def write_wav(path: Path, samples: NDArray[np.float32]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(np.rint(samples * 32_767).astype("<i2").tobytes())
    return path


def folder_of_speakers(folder: Path, speakers: int, utterances: int) -> Path:
    for speaker in range(speakers):
        for utterance in range(utterances):
            write_wav(folder / f"speaker{speaker}" / f"{utterance}.wav", speech(speaker, utterance))
    return folder


def clips_from(folder: Path, speakers: int, utterances: int) -> Clips:
    """Clips of such voices, decoded into `folder`/clips."""
    skipped = corpora.Skipped()
    listed = corpora.read("folder", folder_of_speakers(folder / "voices", speakers, utterances), "", skipped)
    return clips_of.decode(listed, skipped, folder / "clips", lambda path, id: reading.read(path, id=id))


def manifest(path: Path, rows: Sequence[tuple[str, ...]], columns: tuple[str, ...] = ("path", "speaker")) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path

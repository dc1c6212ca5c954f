"""Sounds that the backends' tests make: nothing in them is speech."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diarize.types import Audio

RATE = 16_000


def audio(samples: NDArray[np.floating], rate: int = RATE) -> Audio:
    return Audio("made", np.asarray(samples, np.float32), rate)


def noise(seconds: float, level: float = 0.1, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(round(seconds * RATE)) * level


def tone(seconds: float, hertz: float = 440.0, level: float = 0.3) -> NDArray[np.float64]:
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)


def melody(seconds: float, seed: int = 0) -> NDArray[np.float64]:
    """Plucked notes with eleven harmonics, four a second."""
    rng, size = np.random.default_rng(seed), RATE // 4
    t = np.arange(size) / RATE
    notes = []
    for _ in range(round(seconds * 4)):
        phase = 2 * np.pi * 220 * 2 ** (rng.choice([0, 2, 4, 5, 7, 9, 11, 12]) / 12) * t
        notes.append(sum(np.sin(k * phase) / k for k in range(1, 12)) * np.exp(-6 * t))
    return 0.2 * np.concatenate(notes)


def spoken(seconds: float, level: float = 0.2, seed: int = 0) -> NDArray[np.float64]:
    """A buzz through moving resonances, in syllables: enough like a voice that a detector takes it for one."""
    from scipy.signal import lfilter

    rng, piece = np.random.default_rng(seed), RATE // 10
    count = round(seconds * RATE)
    pitch = 120 + 25 * np.cumsum(rng.standard_normal(count // piece + 1)) / 10
    phase = np.cumsum(np.repeat(pitch, piece)[:count]) / RATE
    buzz = (np.diff(np.floor(phase), prepend=0) > 0) + 0.01 * rng.standard_normal(count)
    out = []
    state = [np.zeros(2), np.zeros(2), np.zeros(2)]
    for first in range(0, count, piece):
        part = buzz[first : first + piece]
        for i, (low, high) in enumerate(((300, 800), (900, 2200), (2300, 3000))):
            angle, radius = 2 * np.pi * rng.uniform(low, high) / RATE, 0.97
            part, state[i] = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], part, zi=state[i])
        out.append(part)
    sound = np.concatenate(out) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * np.arange(count) / RATE))
    return np.asarray(sound * level / np.sqrt(np.mean(sound**2)))

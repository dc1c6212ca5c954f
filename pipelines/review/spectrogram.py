"""The spectrogram of a part of a recording, as one byte for each point of a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diarize.audio import excerpts
from diarize.types import Samples
from diarize.units import RATE

BANDS = 128  # from 0 to 8 kHz, 62.5 Hz each
LONGEST = 60_000  # ms of one spectrogram
WIDEST = 4096  # columns
FLOOR = -110.0  # dB of the value 0; 255 is 0 dB: a sine of full scale

_WINDOW = np.hanning(RATE * 25 // 1000 + 1)[:-1].astype(np.float32)  # 25 ms: the harmonics of most voices are apart
_SIZE = 4 * BANDS  # of the transform: two bins a band, 31.25 Hz apart
_HOP = RATE // 100  # at most so many samples from frame to frame
_BLOCK = 1024  # frames at a time: 4 MB of spectra


def compute_spectrogram(channels: Sequence[Samples], start: int, end: int, width: int) -> bytes:
    """The level in each of `BANDS` bands and `width` columns of start .. end (ms), row after row, lowest band first.

    `channels`: samples (n,) at 16 kHz; of several, the loudest at each point. What is outside the recording is silent.
    Each value is a uint8, 0 (`FLOOR` or less) to 255 (0 dB). A column is the mean power of the frames in it, which are
    at most 10 ms apart. The memory needed is that of one part, not that of the recording.
    """
    first, last = start * RATE // 1000, end * RATE // 1000
    frames = max(1, -(-(last - first) // (width * _HOP)))  # of a column
    centres = first + ((np.arange(width * frames) + 0.5) * (last - first) / (width * frames)).astype(np.int64)
    power = np.zeros((width, BANDS), np.float32)
    step = max(1, _BLOCK // frames)  # columns at a time
    for column in range(0, width, step):
        positions = centres[column * frames : (column + step) * frames]
        for samples in channels:
            own = _band_power(samples, positions).reshape(-1, frames, BANDS).mean(axis=1)
            np.maximum(power[column : column + step], own, out=power[column : column + step])
    for samples in channels:
        excerpts.release(samples)
    decibels = 10 * np.log10(power + 1e-12)
    values = np.clip(np.round(255 * (1 - decibels / FLOOR)), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(values.T).tobytes()


def _band_power(samples: Samples, centres: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n, BANDS): power in each band of the frames around `centres`; 1 is that of a sine of full scale."""
    half = len(_WINDOW) // 2
    origin = int(centres[0]) - half
    part = excerpts.cut(samples, origin, int(centres[-1]) + half)
    rows = part[(centres - half - origin)[:, np.newaxis] + np.arange(len(_WINDOW))] * _WINDOW
    spectrum = np.abs(np.fft.rfft(rows, _SIZE)) ** 2 / (float(_WINDOW.sum()) / 2) ** 2
    # Band i is around bin 2i + 1, and shares the bins beside it with its neighbours.
    return np.asarray((spectrum[:, :-1:2] + 2 * spectrum[:, 1::2] + spectrum[:, 2::2]) / 4, dtype=np.float32)

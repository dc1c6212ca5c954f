"""Kaldi's log mel filter banks for batches, ten times as fast as the library that computes them in `process`.

The same numbers as `diarize.backends.features.front_ends.Features` with its defaults (to 1e-3, tested): frames of 25 ms
every 10 ms, the mean sample removed, pre-emphasis 0.97, Hamming window, power spectrum of 512 samples, triangles on the
mel scale 1127 ln(1 + f / 700) from 20 Hz to 8 kHz (Kaldi, feature-window.cc and mel-computations.cc).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from diarize.units import RATE

LENGTH, SHIFT, SIZE = 400, 160, 512  # samples of a frame, between frames, of the transform
LOWEST = 20.0  # Hz
_PREEMPHASIS = np.float32(0.97)
_FLOOR = np.float32(np.finfo(np.float32).eps)

Floats = NDArray[np.float32]


def compute(samples: Floats, bins: int) -> Floats:
    """(..., n) with n >= 400, in [-1, 1] -> (..., frames, bins), minus their mean over the frames."""
    scaled = np.ascontiguousarray(samples, np.float32) * np.float32(32_768)
    frames = np.lib.stride_tricks.sliding_window_view(scaled, LENGTH, axis=-1)[..., ::SHIFT, :]
    frames = frames - frames.mean(axis=-1, keepdims=True)
    before = np.concatenate([frames[..., :1], frames[..., :-1]], axis=-1)
    frames = (frames - _PREEMPHASIS * before) * _window()
    spectrum = np.fft.rfft(frames, SIZE)[..., : SIZE // 2]
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    banks = np.log(np.maximum(power @ _triangles(bins), _FLOOR))
    return np.asarray(banks - banks.mean(axis=-2, keepdims=True), np.float32)


@cache
def _window() -> Floats:
    return np.hamming(LENGTH).astype(np.float32)


@cache
def _triangles(bins: int) -> Floats:
    """(256, bins)."""

    def mel(hertz: float | NDArray[np.float64]) -> NDArray[np.float64]:
        return 1127 * np.log1p(np.asarray(hertz) / 700)

    edges = np.linspace(mel(LOWEST), mel(RATE / 2), bins + 2)
    left, middle, right = edges[:-2], edges[1:-1], edges[2:]
    at = mel(np.arange(SIZE // 2) * RATE / SIZE)[:, None]
    rising, falling = (at - left) / (middle - left), (right - at) / (right - middle)
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)

"""Faults of the level of a recording: invalid samples, clipping, constant offset, samples beyond full scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diarize.text import counted

ABSURD = 1e10  # a sample beyond this is damage, not sound: even 32-bit integers read as floats end at 2.1e9
FULL = 0.97  # of full scale; mu-law ends at 0.98, 8-bit at 0.99
CLIPPED = 1e-4  # share of samples at full scale from which clipping is noted
OFFSET = 0.01  # of full scale (-40 dB); constant offset from which it is noted
OUTLIER = 8.0  # a peak this many times above the loud parts (99th percentile) is a burst of damage, not the level
_SPAN = 1600  # samples (0.1 s at 16 kHz) of which one peak is stored


@dataclass(frozen=True, slots=True)
class LevelCorrection:
    """`gain` for all samples; `cut`: some are still beyond full scale and must be clipped there."""

    gain: float
    cut: bool
    notes: tuple[str, ...]


class Levels:
    """Statistics for `correction`, collected block by block, for each channel."""

    def __init__(self, channels: int) -> None:
        self.replaced = 0  # invalid samples
        self._count = 0
        self._clipped = np.zeros(channels)
        self._sums = np.zeros(channels)
        self._peak = np.zeros(channels)  # as recorded
        # (spans, channels) of float32 at 16 kHz, as a resampler overshoots. In one piece: many small arrays between
        # large temporary ones would fragment the memory (100 MB an hour).
        self._peaks = bytearray()

    def repair(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Measure (n, channels) samples as recorded; returns them with NaN, infinite and absurd ones as 0."""
        if not len(block):
            return block
        # A comparison with NaN is false, so the extremes show every invalid sample.
        low, high = block.min(axis=0), block.max(axis=0)
        if not ((low >= -ABSURD).all() and (high <= ABSURD).all()):
            invalid = ~(np.abs(block) <= ABSURD)
            self.replaced += int(invalid.sum())
            block = np.where(invalid, np.float32(0), block)
            low, high = block.min(axis=0), block.max(axis=0)
        peak = np.maximum(-low, high)
        self._peak = np.maximum(self._peak, peak)
        self._count += len(block)
        self._sums += block.sum(axis=0, dtype=np.float64)
        for c in np.flatnonzero(peak >= FULL):
            samples = block[:, c]
            clipped = (samples[1:] == samples[:-1]) & (np.abs(samples[1:]) >= FULL)
            self._clipped[c] += int(clipped.sum())
        return block

    def measure(self, block: NDArray[np.float32]) -> None:
        """Measure the same sound at 16 kHz."""
        if len(block):
            self._peaks += np.maximum.reduceat(np.abs(block), np.arange(0, len(block), _SPAN), axis=0).tobytes()

    def correction(self, weights: NDArray[np.float32]) -> LevelCorrection:
        """How to bring the channels that `weights` (outputs, channels) use into [-1, 1], and notes on their faults."""
        used = np.flatnonzero(np.any(weights != 0, axis=0))
        notes = []
        if self.replaced:
            verb = "was" if self.replaced == 1 else "were"
            notes.append(f"{counted(self.replaced, 'sample')} {verb} invalid (NaN or infinite) and {verb} set to 0")
        gain, bursts = self._gain(used)
        if (peak := float(self._peak[used].max())) > 1 and gain < 1:
            notes.append(f"samples reach {peak:.3g} times full scale; all were scaled by {gain:.3g}")
        if bursts:
            notes.append(f"cut at full scale: {counted(bursts, 'burst')} of 0.1 s far above the rest")
        share = float(self._clipped[used].max()) / max(self._count, 1)
        if share >= CLIPPED:
            notes.append(f"clipped: {share:.2%} of the samples are at full scale")
        offset = float(np.abs(self._sums[used]).max()) / max(self._count, 1) * gain
        if offset >= OFFSET:
            notes.append(f"constant offset (DC) of {offset:.1%} of full scale")
        return LevelCorrection(gain, bursts > 0, tuple(notes))

    def _gain(self, used: NDArray[np.intp]) -> tuple[float, int]:
        """(gain, number of spans that it leaves beyond full scale) of the channels `used`."""
        if not self._peaks:
            return 1.0, 0
        peaks = np.frombuffer(self._peaks, np.float32).reshape(-1, len(self._peak))[:, used].max(axis=1)
        highest = float(peaks.max())
        if highest <= 1:
            return 1.0, 0
        usual = float(np.quantile(peaks[peaks > 0], 0.99, method="lower"))
        if highest <= OUTLIER * usual:
            return 1 / highest, 0
        level = max(1.0, usual)
        return 1 / level, int((peaks > level).sum())

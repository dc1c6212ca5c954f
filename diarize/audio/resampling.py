"""Placed pieces of sound -> 16 kHz on a canvas, in blocks of a second, and what the channels hold on the way.

FFmpeg's resampler (libswresample, 32 taps, exact ratios) is used without a shift: sample n of a run comes out at
n * 16000 / rate. A run ends at a hole and where the rate or the number of channels changes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.audio.channels import ChannelStatistics, select_channels
from diarize.audio.levels import Levels
from diarize.audio.packets import MOST_PLANES
from diarize.audio.sample_buffer import SampleBuffer, ScratchFiles
from diarize.audio.timestamps import DecodedBlock, as_float
from diarize.units import RATE

BLOCK = 1.0  # s of sound that are worked on at a time
_SEAM = 1e-6  # s; a piece that starts this close to the end of the last one goes on with it


class BlockResampler:
    """Takes pieces in order of their places; afterwards `canvas`, `statistics` and `levels` describe the whole."""

    def __init__(self, first: DecodedBlock, scratch: ScratchFiles) -> None:
        self.first_rate = first.rate
        self.channels = first.samples.shape[1]
        self.canvas = SampleBuffer(self.channels, scratch)
        self.statistics = ChannelStatistics(self.channels)
        self.levels = Levels(self.channels)
        self.seconds = 0.0  # of sound taken in
        self.changes: list[tuple[float, int, int]] = []  # (s, Hz, channels) where the stream changed
        self._kind = (first.rate, self.channels)
        self._pending: list[NDArray[Any]] = []
        self._waiting = 0.0  # s in `_pending`
        self._end = -1.0  # s; end of the current run
        self._at = 0  # sample of the canvas where its next output goes
        self._resampler: Any = None
        self._planar = self.channels < MOST_PLANES

    def add(self, start: float, piece: DecodedBlock) -> None:
        """Append a piece that begins `start` seconds from the start of the recording."""
        kind = (piece.rate, piece.samples.shape[1])
        if kind != self._kind or abs(start - self._end) > _SEAM:
            self.close()
            if kind != self._kind:
                self.changes.append((start, *kind))
            self._kind, self._at, self._end = kind, round(start * RATE), start
        self._pending.append(piece.samples)
        self._waiting += piece.duration
        self._end += piece.duration
        self.seconds += piece.duration
        if self._waiting >= BLOCK:
            self._work()

    def close(self) -> None:
        """End the current run: everything that was taken in is on the canvas."""
        self._work()
        if self._resampler is not None:
            self._put(self._resampler.resample(None))
            self._resampler = None

    def _work(self) -> None:
        if not self._pending:
            return
        block = as_float(np.concatenate(self._pending))
        self._pending, self._waiting = [], 0.0
        block = self.levels.repair(self._fit(block))
        rate = self._kind[0]
        if rate == RATE:
            self._take(block)
            return
        import av

        layout = {1: "mono", 2: "stereo"}.get(self.channels, f"{self.channels}C")  # C: in no known order
        format, planes = ("fltp", block.T) if self._planar else ("flt", np.ascontiguousarray(block).reshape(1, -1))
        if self._resampler is None:
            self._resampler = av.AudioResampler(format=format, layout=layout, rate=RATE)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(planes), format=format, layout=layout)
        frame.sample_rate, frame.pts = rate, None
        self._put(self._resampler.resample(frame))

    def _fit(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, any) to (n, channels): one channel stands for all; many become the one they are best heard as."""
        have = block.shape[1]
        if have == self.channels:
            return block
        if have == 1:
            return np.repeat(block, self.channels, axis=1)
        if self.channels == 1:
            statistics = ChannelStatistics(have)
            statistics.add(np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0))
            return block @ select_channels(statistics, "auto").weights.T
        fitted = np.zeros((len(block), self.channels), np.float32)
        shared = min(have, self.channels)
        fitted[:, :shared] = block[:, :shared]
        return fitted

    def _put(self, frames: list[Any]) -> None:
        for frame in frames:
            samples = frame.to_ndarray()
            self._take(samples.T if self._planar else samples.reshape(-1, self.channels))

    def _take(self, block: NDArray[np.float32]) -> None:
        self.canvas.write(self._at, block)
        self._at += len(block)
        self.statistics.add(block)
        self.levels.measure(block)

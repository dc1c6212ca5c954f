"""Decoded blocks with their times -> 16 kHz in a sample buffer, in steps of a second; measures the channels on the way.

FFmpeg's resampler (libswresample, 32 taps, exact ratios) adds no delay: sample n of a run comes out at n * 16000 /
rate. A run ends at a hole, and where the rate or the number of channels changes.
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

STEP = 1.0  # s of sound that are resampled at a time
_SEAM = 1e-6  # s; a block that starts this close to the end of the last one continues its run


class BlockResampler:
    """Takes blocks in order of time; afterwards `buffer`, `statistics` and `levels` describe the whole recording."""

    def __init__(self, first: DecodedBlock, scratch: ScratchFiles, rate: int = RATE) -> None:
        """`rate` (Hz): that of the buffer."""
        self.first_rate, self.rate = first.rate, rate
        self.channels = first.samples.shape[1]
        self.buffer = SampleBuffer(self.channels, scratch)
        self.statistics = ChannelStatistics(self.channels)
        self.levels = Levels(self.channels)
        self.seconds = 0.0  # of sound taken in
        self.changes: list[tuple[float, int, int]] = []  # (s, Hz, channels) where the stream changed
        self._kind = (first.rate, self.channels)
        self._pending: list[NDArray[Any]] = []
        self._pending_seconds = 0.0
        self._end = -1.0  # s; end of the current run
        self._at = 0  # sample of the buffer where the next output goes
        self._resampler: Any = None
        self._planar = self.channels < MOST_PLANES

    def add(self, start: float, block: DecodedBlock) -> None:
        """Append a block that begins `start` seconds from the start of the recording."""
        kind = (block.rate, block.samples.shape[1])
        if kind != self._kind or abs(start - self._end) > _SEAM:
            self.close()
            if kind != self._kind:
                self.changes.append((start, *kind))
            self._kind, self._at, self._end = kind, round(start * self.rate), start
        self._pending.append(block.samples)
        self._pending_seconds += block.duration
        self._end += block.duration
        self.seconds += block.duration
        if self._pending_seconds >= STEP:
            self._resample_pending()

    def close(self) -> None:
        """End the current run: writes everything that was added to the buffer."""
        self._resample_pending()
        if self._resampler is not None:
            self._write_frames(self._resampler.resample(None))
            self._resampler = None

    def _resample_pending(self) -> None:
        if not self._pending:
            return
        samples = as_float(np.concatenate(self._pending))
        self._pending, self._pending_seconds = [], 0.0
        samples = self.levels.repair(self._match_channels(samples))
        rate = self._kind[0]
        if rate == self.rate:
            self._write(samples)
            return
        import av

        layout = {1: "mono", 2: "stereo"}.get(self.channels, f"{self.channels}C")  # C: in no known order
        format, planes = ("fltp", samples.T) if self._planar else ("flt", np.ascontiguousarray(samples).reshape(1, -1))
        if self._resampler is None:
            self._resampler = av.AudioResampler(format=format, layout=layout, rate=self.rate)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(planes), format=format, layout=layout)
        frame.sample_rate, frame.pts = rate, None
        self._write_frames(self._resampler.resample(frame))

    def _match_channels(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, any) to (n, channels): one channel is repeated; many become one by the automatic selection."""
        count = samples.shape[1]
        if count == self.channels:
            return samples
        if count == 1:
            return np.repeat(samples, self.channels, axis=1)
        if self.channels == 1:
            statistics = ChannelStatistics(count)
            statistics.add(np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0))
            return samples @ select_channels(statistics, "auto").weights.T
        matched = np.zeros((len(samples), self.channels), np.float32)
        shared = min(count, self.channels)
        matched[:, :shared] = samples[:, :shared]
        return matched

    def _write_frames(self, frames: list[Any]) -> None:
        for frame in frames:
            samples = frame.to_ndarray()
            self._write(samples.T if self._planar else samples.reshape(-1, self.channels))

    def _write(self, samples: NDArray[np.float32]) -> None:
        self.buffer.write(self._at, samples)
        self._at += len(samples)
        self.statistics.add(samples)
        self.levels.measure(samples)

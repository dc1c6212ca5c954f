"""When decoded sound was recorded: time stamps -> times on one timeline (docs/method/decoding.md).

Stamps jitter (Matroska rounds to milliseconds), drift, jump over lost sound, and are wrong after damage. A block
follows the one before without a gap as long as its stamp agrees with the count of samples within a tolerance. A larger
difference counts only if the next stamp confirms it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

JITTER = 0.04  # s; accepted difference of stamps and samples: above a container's rounding, below the 50 ms promised
JITTER_AFTER_LOSS = 0.004  # s; after a loss the stamps alone know the time: only rounding is accepted
OVERLAP = 1.0  # s; stamps that step back by less repeat earlier sound; by more, they start a new count
UNDECLARED = 3600.0  # s; the longest hole accepted where the file does not declare its length
LEAST_HOLE = 0.1  # s; a shorter hole without damage is drift of clocks, not loss
DRIFT = 0.01  # share of the time that clocks may drift; the worst sound cards are off by a thousandth


@dataclass(frozen=True, slots=True)
class DecodedBlock:
    """Decoded sound: `samples` (n, channels) of the decoder's own type, `rate` in Hz, `time` in s as the file stamps
    it."""

    time: float | None
    samples: NDArray[Any]
    rate: int
    damaged: bool = False  # something right before it could not be decoded
    silent: bool = False  # silence may have been left out before it: what was decoded before says so

    @property
    def duration(self) -> float:
        return len(self.samples) / self.rate


class TimestampAligner:
    """Gives every block its start in seconds from `origin`; records holes and the stamps that it ignored.

    `declared` (s, or None) bounds how far a stamp may jump forward.
    """

    def __init__(self, origin: float, declared: float | None) -> None:
        self.cursor = 0.0  # s; the end of the aligned blocks
        self.holes: list[tuple[float, float]] = []  # s; nothing was decoded there
        self.pauses = 0.0  # s of silence that the encoder left out
        self.corrections = 0  # small steps of drifting stamps
        self.repeated = 0.0  # s of sound left out because stamps stepped back over it
        self.ignored = 0  # stamps that jumped where no sound can be
        self._origin, self._declared = origin, declared
        self._doubtful: DecodedBlock | None = None  # waits for the next stamp
        self._drifted = 0.0  # s, all corrections together

    def align(self, block: DecodedBlock) -> Iterator[tuple[float, DecodedBlock]]:
        """(start, block) of those whose start is known now, in order; one with a doubtful stamp waits for the next."""
        doubtful, self._doubtful = self._doubtful, None
        if doubtful is not None:
            yield from self._settle(doubtful, block)
        if block.time is None or abs(self._offset(block)) <= (JITTER_AFTER_LOSS if block.damaged else JITTER):
            yield self._append(block)
        else:
            self._doubtful = block

    def finish(self) -> Iterator[tuple[float, DecodedBlock]]:
        """The block that still waits, if any."""
        doubtful, self._doubtful = self._doubtful, None
        if doubtful is not None:
            yield from self._follow_stamp(doubtful)

    def _settle(self, doubtful: DecodedBlock, following: DecodedBlock) -> Iterator[tuple[float, DecodedBlock]]:
        if following.time is None or doubtful.time is None:
            yield from self._follow_stamp(doubtful)
            return
        gap = following.time - doubtful.time - doubtful.duration
        if abs(gap) <= JITTER or (gap > 0 and self._offset(doubtful) > 0):
            yield from self._follow_stamp(doubtful)
        else:  # the next stamp contradicts it
            self.ignored += 1
            yield self._append(doubtful)

    def _offset(self, block: DecodedBlock) -> float:
        """Seconds from the end of the aligned blocks to where the stamp puts this one."""
        return 0.0 if block.time is None else block.time - self._origin - self.cursor

    def _append(self, block: DecodedBlock) -> tuple[float, DecodedBlock]:
        start = self.cursor
        self.cursor += block.duration
        return start, block

    def _follow_stamp(self, block: DecodedBlock) -> Iterator[tuple[float, DecodedBlock]]:
        offset = self._offset(block)
        if offset > 0:
            limit = self.cursor + UNDECLARED if self._declared is None else self._declared + OVERLAP
            if self.cursor + offset <= limit:
                self._skip(offset, block)
            else:
                self._start_new_count(offset)
        elif offset < -OVERLAP:
            self._start_new_count(offset)
        elif offset < 0:
            repeated = min(round(-offset * block.rate), len(block.samples))
            self.repeated += repeated / block.rate
            block = replace(block, samples=block.samples[repeated:])
        if len(block.samples):
            yield self._append(block)

    def _skip(self, seconds: float, block: DecodedBlock) -> None:
        if block.silent and not block.damaged:
            self.pauses += seconds
        elif block.damaged or seconds > LEAST_HOLE or self._drifted + seconds > LEAST_HOLE + DRIFT * self.cursor:
            self.holes.append((self.cursor, self.cursor + seconds))
        else:
            self.corrections += 1
            self._drifted += seconds
        self.cursor += seconds

    def _start_new_count(self, offset: float) -> None:
        """From here on stamps count from the end of the aligned blocks."""
        self.ignored += 1
        self._origin += offset


def as_float(samples: NDArray[Any]) -> NDArray[np.float32]:
    """(n, channels) samples of any decoder type, as float32 with full scale 1, each channel contiguous in memory."""
    if samples.dtype == np.uint8:
        samples, full = samples.astype(np.int16) - 128, np.float32(128)
    elif samples.dtype.kind == "i":
        full = np.float32(-float(np.iinfo(samples.dtype).min))
    else:
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, and infinite samples are replaced
            return samples.astype(np.float32, order="F", copy=False)
    scaled: NDArray[np.float32] = np.divide(samples, full, dtype=np.float32, order="F")
    return scaled

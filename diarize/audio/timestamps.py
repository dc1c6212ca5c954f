"""When decoded sound was recorded: time stamps to places on one timeline (docs/method/decoding.md).

Stamps jitter (Matroska rounds to milliseconds), drift, jump over what was lost, and lie after damage. Sound follows
sound without a seam as long as its stamps agree with the count of samples within a tolerance; a larger difference is
believed only when the next stamp bears it out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

JITTER = 0.04  # s; stamps and samples may disagree so far: above a container's rounding, below the 50 ms promised
JITTER_AFTER_LOSS = 0.004  # s; after a loss the stamps alone know the time: only rounding is forgiven
OVERLAP = 1.0  # s; stamps that step back so far repeat sound that is there already; further back they start anew
UNDECLARED = 3600.0  # s; the longest hole believed where the file does not say how long it is
SAID = 0.1  # s; a shorter hole without damage is drift of clocks, not loss
DRIFT = 0.01  # share of the time that clocks may drift; the worst sound cards are off by a thousandth


@dataclass(frozen=True, slots=True)
class DecodedBlock:
    """A decoded stretch: (n, channels) of the decoder's own type, at `rate` Hz; `time` as the file stamps it, in s."""

    time: float | None
    samples: NDArray[Any]
    rate: int
    damaged: bool = False  # something right before it could not be decoded

    @property
    def duration(self) -> float:
        return len(self.samples) / self.rate


class TimestampAligner:
    """Gives every piece its place in seconds from `origin`; remembers holes and what it did not believe.

    `declared` (s, or None) bounds how far a stamp may jump ahead.
    """

    def __init__(self, origin: float, declared: float | None) -> None:
        self.cursor = 0.0  # s; the end of what is placed
        self.holes: list[tuple[float, float]] = []  # s; nothing was decoded there
        self.corrections = 0  # small steps of drifting stamps
        self.repeated = 0.0  # s of sound left out because stamps stepped back over it
        self.disbelieved = 0  # stamps that jumped where no sound can be
        self._origin, self._declared = origin, declared
        self._held: DecodedBlock | None = None
        self._drifted = 0.0  # s, all corrections together

    def align(self, piece: DecodedBlock) -> Iterator[tuple[float, DecodedBlock]]:
        """Pieces whose place is now known, in order; a piece with a doubtful stamp waits for the next one."""
        held, self._held = self._held, None
        if held is not None:
            yield from self._settle(held, piece)
        if piece.time is None or abs(self._ahead(piece)) <= (JITTER_AFTER_LOSS if piece.damaged else JITTER):
            yield self._follow(piece)
        else:
            self._held = piece

    def finish(self) -> Iterator[tuple[float, DecodedBlock]]:
        """The piece that still waits, if any."""
        held, self._held = self._held, None
        if held is not None:
            yield from self._jump(held)

    def _settle(self, held: DecodedBlock, following: DecodedBlock) -> Iterator[tuple[float, DecodedBlock]]:
        """Place `held`, knowing what comes after it."""
        if following.time is None or held.time is None:
            yield from self._jump(held)
            return
        after = following.time - held.time - held.duration
        if abs(after) <= JITTER or (after > 0 and self._ahead(held) > 0):
            yield from self._jump(held)
        else:  # the next stamp contradicts it
            self.disbelieved += 1
            yield self._follow(held)

    def _ahead(self, piece: DecodedBlock) -> float:
        """Seconds from the end of what is placed to where the stamp wants the piece."""
        return 0.0 if piece.time is None else piece.time - self._origin - self.cursor

    def _follow(self, piece: DecodedBlock) -> tuple[float, DecodedBlock]:
        start = self.cursor
        self.cursor += piece.duration
        return start, piece

    def _jump(self, piece: DecodedBlock) -> Iterator[tuple[float, DecodedBlock]]:
        ahead = self._ahead(piece)
        if ahead > 0:
            limit = self.cursor + UNDECLARED if self._declared is None else self._declared + OVERLAP
            if self.cursor + ahead <= limit:
                self._leap(ahead, piece.damaged)
            else:
                self._restamp(ahead)
        elif ahead < -OVERLAP:
            self._restamp(ahead)
        elif ahead < 0:
            repeated = min(round(-ahead * piece.rate), len(piece.samples))
            self.repeated += repeated / piece.rate
            piece = replace(piece, samples=piece.samples[repeated:])
        if len(piece.samples):
            yield self._follow(piece)

    def _leap(self, seconds: float, damaged: bool) -> None:
        if damaged or seconds > SAID or self._drifted + seconds > SAID + DRIFT * self.cursor:
            self.holes.append((self.cursor, self.cursor + seconds))
        else:
            self.corrections += 1
            self._drifted += seconds
        self.cursor += seconds

    def _restamp(self, ahead: float) -> None:
        """Stamps start anew: from here on they count from the end of what is placed."""
        self.disbelieved += 1
        self._origin += ahead


def as_float(samples: NDArray[Any]) -> NDArray[np.float32]:
    """(n, channels) samples of any type a decoder gives, as float32 with full scale 1, each channel in one piece."""
    if samples.dtype == np.uint8:
        samples, full = samples.astype(np.int16) - 128, np.float32(128)
    elif samples.dtype.kind == "i":
        full = np.float32(-float(np.iinfo(samples.dtype).min))
    else:
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, and infinite samples are replaced
            return samples.astype(np.float32, order="F", copy=False)
    scaled: NDArray[np.float32] = np.divide(samples, full, dtype=np.float32, order="F")
    return scaled

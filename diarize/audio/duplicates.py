"""Is it the same sound, in another codec or at another level? Fingerprints of Haitsma and Kalker 2002, "A
highly robust audio fingerprinting system" (ISMIR), equation 1:

    F(n, m) = 1 where E(n, m) - E(n, m+1) - (E(n-1, m) - E(n-1, m+1)) > 0

E(n, m) is the energy of band m in frame n. Few bits differ between the same sounds, half of unrelated ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.bool_]

HOP = 512  # samples at 16 kHz: 32 ms
BANDS = 33
SAME = 0.35  # bit error rate up to which two parts are the same sound (section 4.3)
LEAST = 3.0  # s of overlap that are compared: 3,000 bits
_FRAME = 5920  # samples: 0.37 s
_RANGE = (300.0, 2000.0)  # Hz
_RATE = 16_000


@dataclass(frozen=True, slots=True)
class Overlap:
    """How the second sound lies on the first: it begins `offset` s later there, and `seconds` are compared."""

    error: float  # share of bits that differ
    offset: float
    seconds: float

    @property
    def same(self) -> bool:
        return self.error <= SAME


def fingerprint(samples: NDArray[np.float32]) -> Bits:
    """Bits (n, 32) of samples at 16 kHz, a row every 32 ms; (0, 32) where they are too short."""
    count = (len(samples) - _FRAME) // HOP + 1
    if count < 2:
        return np.zeros((0, BANDS - 1), np.bool_)
    edges = np.geomspace(*_RANGE, BANDS + 1)
    bins = np.fft.rfftfreq(8192, 1 / _RATE)
    limits = np.searchsorted(bins, edges)
    window = np.hanning(_FRAME).astype(np.float32)
    energy = np.zeros((count, BANDS))
    for n in range(count):
        power = np.abs(np.fft.rfft(samples[n * HOP : n * HOP + _FRAME] * window, 8192)) ** 2
        energy[n] = np.add.reduceat(power, limits[:-1])[:BANDS]
    slope = energy[:, :-1] - energy[:, 1:]
    return np.asarray(np.diff(slope, axis=0) > 0)


def best_overlap(a: Bits, b: Bits) -> Overlap | None:
    """The position of `b` on `a`, both (n, 32), where most bits agree; None where neither is long enough.

    All positions with at least 3 s in common are tried, by correlation.
    """
    least = round(LEAST * _RATE / HOP)
    if min(len(a), len(b)) < least:
        return None
    size = 1 << (len(a) + len(b)).bit_length()
    left, right = (np.fft.rfft(np.where(bits, 1.0, -1.0), size, axis=0) for bits in (a, b))
    products = np.fft.irfft((left * right.conj()).sum(axis=1), size)
    shifts = np.arange(-len(b) + least, len(a) - least + 1)
    rows = np.minimum(len(a), shifts + len(b)) - np.maximum(0, shifts)
    errors = (1 - products[shifts % size] / (rows * a.shape[1])) / 2
    at = int(errors.argmin())
    offset, seconds = (float(values[at]) * HOP / _RATE for values in (shifts, rows))
    return Overlap(round(float(errors[at]), 4), round(offset, 3), round(seconds, 3))


def pack(bits: Bits) -> bytes:
    """Bits (n, 32) as 4 bytes a row."""
    return np.packbits(bits, axis=1).tobytes()


def unpack(data: bytes) -> Bits:
    """What `pack` wrote."""
    return np.unpackbits(np.frombuffer(data, np.uint8).reshape(-1, (BANDS - 1) // 8), axis=1).astype(np.bool_)

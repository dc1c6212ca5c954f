"""Fingerprints of sound: the same recording again, whatever its level, rate or codec; not the same person or words.

Haitsma and Kalker (2002), "A Highly Robust Audio Fingerprinting System": 32 bits a frame, the signs of the change of
the energy difference of neighbouring bands from one frame to the next (their section 4.2, equation 1). Frames of 0.37 s
are far longer than the hop, so that it does not matter where the first one begins. Two recordings are compared at every
lag by the share of bits that differ (4.3), in blocks of 3 s.

The sound cannot be had back from a fingerprint, but whoever has the sound can tell that it is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from diarize.types import Audio

Key = TypeVar("Key")
Print = NDArray[np.uint32]  # (n,), a number of 32 bits a frame; 0: nothing is heard there

RATE = 4_000  # Hz; the bands end at 2 kHz, which every telephone transmits
FRAME = 1480  # samples, 0.37 s
HOP = 93  # samples, 23 ms
BANDS = 33
LOWEST, HIGHEST = 300.0, 1_990.0  # Hz, of the bands, which are equally wide on a logarithmic scale
BLOCK = 129  # frames that are compared at once, 3 s
_PART = 2048  # frames of each that are compared at once
_BATCH = 1000  # fingerprints that are looked through at once
MOST_ACCEPTED = 1_000  # fingerprints of accepted recordings that are kept of a person by default
LEAST = 43  # frames, 1 s: a shorter piece has too few bits
QUIET = 40.0  # dB under the loudest frame, below which a frame is not compared
DEEP, LEAST_BANDS = 50.0, 8  # a frame needs so many bands within so many dB of its loudest: of a tone, bits are noise
SAME = 0.27  # share of differing bits up to which it is the same sound, by measurement (docs/method/guard.md)


@dataclass(frozen=True, slots=True)
class PrintMatch:
    """Where two fingerprints are most alike."""

    errors: float  # share of bits that differ: 0.5 between strangers
    start: float  # s, of the block in the first one
    other_start: float  # s, of the block in the second one
    seconds: float  # length of the block

    @property
    def is_same(self) -> bool:
        """Whether it is the same sound."""
        return self.errors <= SAME


def fingerprint(audio: Audio) -> Print:
    """The fingerprint of a recording; empty where it is shorter than two frames."""
    samples = _at_low_rate(audio)
    if len(samples) < FRAME + HOP:
        return np.zeros(0, np.uint32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
    hann = np.hanning(FRAME + 1)[:-1].astype(np.float32)
    edges = np.geomspace(LOWEST, HIGHEST, BANDS + 1) * FRAME / RATE
    bins = np.arange(FRAME // 2 + 1)
    members = ((bins >= edges[:-1, None]) & (bins < edges[1:, None])).astype(np.float32)
    energies = np.concatenate([
        np.square(np.abs(np.fft.rfft(frames[at : at + 512] * hann, axis=1))) @ members.T
        for at in range(0, len(frames), 512)
    ])  # fmt: skip

    # Equation 1: the difference of neighbouring bands, against that of the frame before.
    differences = np.diff(energies, axis=1)
    bits = np.diff(differences, axis=0) > 0
    values = bits @ (np.uint64(1) << np.arange(BANDS - 1, dtype=np.uint64))
    loud = energies.sum(axis=1)
    audible = (energies > energies.max(axis=1, keepdims=True) * 10 ** (-DEEP / 10)).sum(axis=1)
    is_heard = (loud > loud.max() * 10 ** (-QUIET / 10)) & (audible >= LEAST_BANDS)
    print_: Print = np.where(is_heard[1:], np.maximum(values, 1), 0).astype(np.uint32)
    return print_


def compare(a: Print, b: Print) -> PrintMatch | None:
    """The block of `a` and the one of `b` that are most alike; None where one of them is too short.

    Frames in which one of them is silent count as if half of their bits differed.
    """
    block = min(BLOCK, len(a), len(b))
    if block < LEAST:
        return None
    best = PrintMatch(1.0, 0.0, 0.0, block * HOP / RATE)
    for first in range(0, len(a) - block + 1, _PART):  # parts that share all but one frame of a block
        for other in range(0, len(b) - block + 1, _PART):
            more = _PART + block - 1
            rate, i, j = _best_block(a[first : first + more], b[other : other + more], block)
            if rate < best.errors:
                best = PrintMatch(rate, (first + i) * HOP / RATE, (other + j) * HOP / RATE, best.seconds)
    return best


def find_same(print_: Print, others: Iterable[tuple[Key, Print]]) -> tuple[Key, PrintMatch] | None:
    """The one of very many that is the same sound, with the fewest differing bits; None: there is none.

    Only those that share a frame with `print_`, bit for bit, are compared: the same sound does after a codec, and may
    not in strong noise.
    """
    frames = np.unique(print_[print_ > 0])
    best: tuple[Key, PrintMatch] | None = None
    remaining = iter(others)
    while len(frames) and (batch := list(islice(remaining, _BATCH))):
        for key, other in _sharing(frames, batch):
            match = compare(print_, other)
            if match is not None and match.is_same and (best is None or match.errors < best[1].errors):
                best = key, match
    return best


def _sharing(frames: Print, batch: Sequence[tuple[Key, Print]]) -> list[tuple[Key, Print]]:
    """Those of a batch that have one of the `frames`, which are sorted."""
    values = np.concatenate([other for _, other in batch])
    places = np.searchsorted(frames, values)
    places[places == len(frames)] = 0
    ends = np.cumsum([len(other) for _, other in batch])
    owners = np.unique(np.searchsorted(ends, np.flatnonzero(frames[places] == values), side="right"))
    return [batch[owner] for owner in owners.tolist()]


def _best_block(a: Print, b: Print, block: int) -> tuple[float, int, int]:
    """(share of differing bits, frame of `a`, frame of `b`) of the best block over all lags."""
    differing = np.bitwise_count(a[:, None] ^ b[None, :]).astype(np.int32)
    differing[(a == 0)[:, None] | (b == 0)[None, :]] = 16
    best = (33 * block, 0, 0)
    for lag in range(block - len(a), len(b) - block + 1):
        sums = np.cumsum(np.concatenate([[0], differing.diagonal(lag)]))
        blocks = sums[block:] - sums[:-block]
        at = int(blocks.argmin())
        if blocks[at] < best[0]:
            best = int(blocks[at]), at + max(0, -lag), at + max(0, lag)
    return best[0] / (32 * block), best[1], best[2]


def encode(print_: Print) -> bytes:
    """A fingerprint as bytes, 172 a second."""
    return print_.astype("<u4").tobytes()


def decode(data: bytes) -> Print:
    """Raises ValueError for bytes that are no fingerprint."""
    return np.frombuffer(data, "<u4").astype(np.uint32)


def _at_low_rate(audio: Audio) -> NDArray[np.float32]:
    from math import gcd

    from scipy.signal import resample_poly

    divisor = gcd(audio.rate, RATE)
    if audio.rate == RATE:
        return audio.samples
    return np.asarray(resample_poly(audio.samples, RATE // divisor, audio.rate // divisor), np.float32)

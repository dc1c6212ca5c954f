"""Parts of a long recording: an excerpt padded with silence, the level of some parts, memory pages released after use.

A memory-mapped recording stays on the disk, but every page that was read counts as resident memory.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.types import Audio, Samples
from diarize.units import RATE

_BLOCK = 60 * RATE  # samples squared at a time
_FRAMES = 4096  # frames whose level is computed at once
_QUIETEST = 1e-9  # mean square of digital silence


def cut(samples: Samples, start: int, end: int) -> Samples:
    """A copy of samples start .. end, (end - start,); zeros where `start` is negative or `end` beyond the recording."""
    excerpt = np.zeros(end - start, np.float32)
    inside = samples[max(start, 0) : max(0, min(end, len(samples)))]
    excerpt[max(-start, 0) : max(-start, 0) + len(inside)] = inside
    return excerpt


def measure_rms(samples: Samples, ranges: Iterable[tuple[int, int]]) -> float:
    """Root mean square of the samples in `ranges` (first, end); 0.0 where there are none. Releases memory pages."""
    energy, count = 0.0, 0
    for start, end in ranges:
        for first in range(start, end, _BLOCK):
            block = samples[first : min(first + _BLOCK, end)]
            energy += float(np.square(block, dtype=np.float64).sum())
            count += len(block)
            release(samples)
    return float(np.sqrt(energy / count)) if count else 0.0


def frame_levels(audio: Audio, step: float, lag: float, most: int) -> NDArray[np.float32]:
    """(n,): logarithm of the mean square of the sound in each frame and the two beside it, B (10 dB).

    Frame i is `step` seconds around i * step + lag; there are as many as the recording has steps, `most` at most.
    """
    size, offset = round(step * audio.rate), round((lag - step / 2) * audio.rate)
    count = min(most, -(-len(audio.samples) // size))
    energy = np.zeros(count + 2)
    for first in range(0, count + 2, _FRAMES):
        last = min(first + _FRAMES, count + 2)
        block = cut(audio.samples, offset + (first - 1) * size, offset + (last - 1) * size)
        energy[first:last] = np.square(block, dtype=np.float64).reshape(-1, size).sum(1)
        release(audio.samples)
    mean = (energy[:-2] + energy[1:-1] + energy[2:]) / (3 * size)
    return np.asarray(np.log10(mean + _QUIETEST), dtype=np.float32)


def release(array: NDArray[Any]) -> None:
    """Let the system drop the resident pages of a memory-mapped array; the next read brings them back from the file.

    Call it after each block of a long recording, so that ten hours do not fill the memory. Arrays in memory, and
    mappings that may hold unsaved private changes (copy-on-write), are left alone.
    """
    owner: object = array
    while isinstance(owner, np.ndarray | memoryview):
        if isinstance(owner, np.memmap) and owner.mode == "c":
            return
        owner = owner.obj if isinstance(owner, memoryview) else owner.base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):  # Windows trims by itself
        owner.madvise(mmap.MADV_DONTNEED)

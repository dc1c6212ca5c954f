"""Filter banks of a long recording, minus the mean of the speech around each: what a network gets that runs in chunks.

A network that expects filter banks minus their mean would get another mean in each chunk, and neighbouring chunks would
disagree about the frames that both have. So the mean slides: it is that of the speech within `RADIUS` frames before and
after, whichever chunk a frame is computed in. In a recording shorter than that it is the mean of all its speech.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from diarize.audio import excerpts
from diarize.types import Samples

Floats = NDArray[np.float32]

RADIUS = 125  # frames, 10 s, on both sides
LEAST_SPEECH = 50  # filter banks, 0.5 s, from which the mean of speech is taken; of fewer, that of all filter banks
BLOCK = 500  # frames whose filter banks are computed at once
SHIFT = 160  # samples between two filter banks
LENGTH = 400  # samples of a filter bank


def stream(
    samples: Samples,
    features: Callable[[Samples], Floats],
    covered: NDArray[np.bool_],
    chunks: Iterable[tuple[int, int]],
    stride: int,
) -> Iterator[Floats]:
    """For each of `chunks`, frames (first, end) in order of time, its filter banks (at most stride * (end - first), d).

    `features`: samples (n,) -> filter banks (1 + (n - LENGTH) // SHIFT, d), each independent of the others. A frame is
    `stride` filter banks; `covered` (frames,) says which frames are speech. Every filter bank is computed once, and
    those of at most three blocks are in memory.
    """
    blocks: dict[int, Floats] = {}
    total = len(covered)

    def block(number: int) -> Floats:
        if number not in blocks:
            for past in [n for n in blocks if n < number - 2]:
                del blocks[past]
            first, end = number * BLOCK * stride, min((number + 1) * BLOCK, total) * stride
            last = min(len(samples), (end - 1) * SHIFT + LENGTH)
            blocks[number] = features(excerpts.cut(samples, first * SHIFT, max(last, first * SHIFT + LENGTH)))
        return blocks[number]

    for first, end in chunks:
        start, stop = max(0, first - RADIUS), min(total, end + RADIUS)
        numbers = range(start // BLOCK, -(-stop // BLOCK))
        banks = np.concatenate([block(number) for number in numbers])
        banks = banks[(start - numbers[0] * BLOCK) * stride :][: (stop - start) * stride]
        means = _means(banks, covered[start:stop], stride)
        wanted = slice((first - start) * stride, (end - start) * stride)
        yield banks[wanted] - np.repeat(means, stride, axis=0)[: len(banks)][wanted]


def _means(banks: Floats, covered: NDArray[np.bool_], stride: int) -> Floats:
    """(frames, d): for each frame, the mean of the covered `banks` (n, d) within `RADIUS` frames of it."""
    frames = len(covered)
    padded = np.zeros((frames * stride, banks.shape[1]))
    padded[: len(banks)] = banks
    counts = np.bincount(np.arange(len(banks)) // stride, minlength=frames).astype(np.float64)
    speech_sums, speech_counts = _around(padded, np.where(covered, counts, 0.0), covered, stride)
    sums, all_counts = _around(padded, counts, np.ones(frames, np.bool_), stride)
    enough = speech_counts >= LEAST_SPEECH
    means = np.where(enough[:, None], speech_sums, sums) / np.where(enough, speech_counts, all_counts)[:, None]
    return means.astype(np.float32)


def _around(
    padded: NDArray[np.float64], counts: NDArray[np.float64], chosen: NDArray[np.bool_], stride: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums (frames, d) and counts (frames,) of the filter banks of `chosen` frames within `RADIUS` of each frame."""
    frames = len(chosen)
    values = padded.reshape(frames, stride, -1).sum(axis=1) * chosen[:, None]
    until = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    counted = np.concatenate([[0.0], np.cumsum(counts)])
    positions = np.arange(frames)
    low, high = np.maximum(0, positions - RADIUS), np.minimum(frames, positions + RADIUS + 1)
    return until[high] - until[low], counted[high] - counted[low]

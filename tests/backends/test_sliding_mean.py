"""Filter banks minus the mean of the speech around them, against the definition."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from diarize.backends.features import sliding_mean
from diarize.types import Samples

STRIDE = 8
BINS = 3

Floats = NDArray[np.float32]


def features(samples: Samples) -> Floats:
    """A stand-in for filter banks: of each, mean, deviation and first sample."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, sliding_mean.LENGTH)[:: sliding_mean.SHIFT]
    return np.stack([frames.mean(1), frames.std(1), frames[:, 0]], axis=1).astype(np.float32)


def by_definition(samples: Samples, covered: NDArray[np.bool_]) -> Floats:
    """(n, BINS): all filter banks minus their means."""
    banks = features(samples)
    frame_of = np.arange(len(banks)) // STRIDE
    rows = []
    for i, bank in enumerate(banks):
        near = np.abs(frame_of - frame_of[i]) <= sliding_mean.RADIUS
        speech = near & covered[frame_of]
        rows.append(bank - banks[speech if speech.sum() >= sliding_mean.LEAST_SPEECH else near].mean(axis=0))
    return np.array(rows)


def recording(seconds: float) -> tuple[Samples, NDArray[np.bool_]]:
    """Noise whose level and offset drift, and speech in some of its frames, in none for 30 s."""
    random = np.random.default_rng(3)
    count = round(seconds * 16_000)
    drift = np.linspace(0, 1, count)
    samples = (random.standard_normal(count) * (0.1 + drift) + drift).astype(np.float32)
    banks = max(1, (count - sliding_mean.LENGTH) // sliding_mean.SHIFT + 1)
    covered = random.random(-(-banks // STRIDE)) < 0.5
    covered[400:800] = False
    covered[600:601] = True  # fewer filter banks than a mean needs
    return samples, covered


@pytest.mark.parametrize("seconds", [0.03, 0.5, 3.0, 25.0, 100.0])
def test_means_are_those_of_the_definition_whatever_the_chunks(seconds: float) -> None:
    samples, covered = recording(seconds)
    expected = by_definition(samples, covered)
    for size in (60, 500):
        chunks = [(first, min(first + size, len(covered))) for first in range(0, len(covered), size - 20)]
        for (first, end), banks in zip(
            chunks, sliding_mean.stream(samples, features, covered, chunks, STRIDE), strict=True
        ):
            assert banks == pytest.approx(expected[first * STRIDE : end * STRIDE], abs=1e-4)


def test_every_filter_bank_is_computed_once() -> None:
    samples, covered = recording(200.0)
    computed = 0

    def count(excerpt: Samples) -> Floats:
        nonlocal computed
        banks = features(excerpt)
        computed += len(banks)
        return banks

    chunks = [(first, min(first + 500, len(covered))) for first in range(0, len(covered), 474)]
    list(sliding_mean.stream(samples, count, covered, chunks, STRIDE))
    assert computed == len(features(samples))


def test_a_recording_shorter_than_a_filter_bank() -> None:
    (banks,) = sliding_mean.stream(np.ones(10, np.float32), features, np.array([True]), [(0, 1)], STRIDE)
    assert banks.shape == (1, BINS)

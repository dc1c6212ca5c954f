"""Codes of many voices propose nearly always the nearest, and nobody who was removed."""

from __future__ import annotations

import numpy as np
import pytest

from diarize.library.search.compact import LEAST_TRAINING, CompactVoices
from diarize.types import Vectors

pytest.importorskip("faiss", reason="the extra `faiss` is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")  # of faiss's own bindings


def unit(count: int, dimension: int, seed: int) -> Vectors:
    vectors = np.random.default_rng(seed).standard_normal((count, dimension), dtype=np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize("dimension", [64, 30, 52])  # a multiple of the block, and others
def test_the_nearest_voice_is_proposed(dimension: int) -> None:
    vectors = unit(2000, dimension, 1)
    voices = CompactVoices(vectors[:LEAST_TRAINING])
    numbers = np.arange(2000) * 7 + 100
    for start in range(0, 2000, 300):
        voices.add(numbers[start : start + 300], vectors[start : start + 300])
    assert len(voices) == 2000
    queries = vectors[::50] + 0.5 * unit(40, dimension, 2)
    nearest = numbers[(queries @ vectors.T).argmax(axis=1)]
    proposed = [voices.propose(query[None], 100) for query in queries]
    assert all(list(each) == sorted(set(each.tolist())) and 1 <= len(each) <= 100 for each in proposed)
    assert np.mean([one in each for one, each in zip(nearest, proposed, strict=True)]) >= 0.95
    together = set(voices.propose(queries, 100).tolist())
    assert together == {int(number) for each in proposed for number in each}


def test_removed_voices_are_not_proposed_and_new_ones_are() -> None:
    vectors = unit(1000, 32, 3)
    voices = CompactVoices(vectors)
    numbers = np.arange(1000)
    voices.add(numbers, vectors)
    voices.keep(np.flatnonzero(numbers[:998] % 2), 998)
    assert 999 in voices.propose(vectors[999:], 10)  # later than the numbers that were known
    assert 7 in voices.propose(vectors[7:8], 10) and 8 not in voices.propose(vectors[8:9], 10)
    voices.add(np.array([5000]), vectors[8:9])
    assert 5000 in voices.propose(vectors[8:9], 10)
    voices.add(np.empty(0, np.int64), np.empty((0, 32), np.float32))
    assert len(voices) == 1001


def test_before_the_first_voice_nothing_is_proposed() -> None:
    voices = CompactVoices(unit(700, 16, 4))
    assert len(voices.propose(unit(1, 16, 5), 10)) == 0

"""Spectral clustering on vectors with known speakers."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarize.clustering import similarity, spectral
from diarize.clustering.clusterer import WindowClusterer
from diarize.clustering.similarity import canonical
from diarize.clustering.spectral import bounds
from diarize.config import ClusterConfig
from diarize.types import Labels, Vectors
from tests.shared import SHARED, needs_shared


def _talk(turns: list[tuple[int, int]], noise: float = 0.5, seed: int = 0, d: int = 64) -> tuple[Vectors, Labels]:
    """Unit vectors of turns (speaker, windows): a random direction for each speaker, and noise of length `noise`."""
    rng = np.random.default_rng(seed)
    labels = np.array([speaker for speaker, count in turns for _ in range(count)], dtype=np.int64)
    voices = rng.standard_normal((labels.max() + 1, d))
    voices /= np.linalg.norm(voices, axis=1, keepdims=True)
    vectors = voices[labels] + rng.standard_normal((len(labels), d)) * noise / np.sqrt(d)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


def _round(speakers: int, windows: int, rounds: int) -> list[tuple[int, int]]:
    return [(speaker, windows) for _ in range(rounds) for speaker in range(speakers)]


@pytest.mark.parametrize("speakers", [1, 2, 3, 5, 8])
def test_speakers_who_talk_alike_much_are_counted_and_told_apart(speakers: int) -> None:
    vectors, truth = _talk(_round(speakers, 6, 6))
    assert np.array_equal(spectral.cluster(vectors), truth)


def test_uneven_talkers_are_counted_and_told_apart() -> None:
    vectors, truth = _talk([(0, 40), (1, 20), (0, 40), (2, 12), (1, 20), (0, 30)])
    assert np.array_equal(spectral.cluster(vectors), canonical(truth))


def test_no_vector_no_label_and_one_vector_one_speaker() -> None:
    assert spectral.cluster(np.zeros((0, 8), np.float32)).tolist() == []
    assert spectral.cluster(np.eye(1, 8, dtype=np.float32)).tolist() == [0]
    assert spectral.cluster(np.eye(2, 8, dtype=np.float32), ClusterConfig(num_speakers=2)).tolist() == [0, 1]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_known_count_is_kept(count: int) -> None:
    vectors, _ = _talk(_round(3, 5, 5))
    assert len(set(spectral.cluster(vectors, ClusterConfig(num_speakers=count)).tolist())) == count


def test_bounds_on_the_count_are_kept() -> None:
    vectors, _ = _talk(_round(4, 6, 5))
    assert spectral.cluster(vectors, ClusterConfig(max_speakers=2)).max() + 1 == 2
    assert spectral.cluster(vectors, ClusterConfig(min_speakers=6)).max() + 1 >= 6


def test_fault_32_one_speaker_only_is_not_cut_in_two() -> None:
    for seed in range(5):
        vectors, truth = _talk([(0, 60)], noise=0.7, seed=seed)
        assert np.array_equal(spectral.cluster(vectors), truth)


def test_fault_32_thirty_speakers() -> None:
    vectors, truth = _talk(_round(30, 6, 4), noise=0.4, d=256)
    assert np.array_equal(spectral.cluster(vectors, ClusterConfig(max_speakers=40)), truth)


def test_fault_32_somebody_who_speaks_for_five_seconds_is_found() -> None:
    vectors, truth = _talk([(0, 60), (1, 50), (0, 40), (2, 5), (1, 40)])
    assert np.array_equal(spectral.cluster(vectors), truth)


def test_fault_32_less_than_two_seconds_of_a_speaker_do_no_harm_to_the_others() -> None:
    vectors, truth = _talk([(0, 40), (1, 40), (2, 1), (0, 20)])
    labels = spectral.cluster(vectors)
    assert np.array_equal(labels[truth < 2], truth[truth < 2])


def test_fault_31_windows_that_hold_two_voices_throughout_give_labels_and_no_error() -> None:
    one, _ = _talk([(0, 50)], seed=1)
    two, _ = _talk([(0, 50)], seed=2)
    both = one + two
    labels = spectral.cluster((both / np.linalg.norm(both, axis=1, keepdims=True)).astype(np.float32))
    assert labels.shape == (50,) and labels.max() == 0


@pytest.mark.parametrize("asked", [4, 20, 10**6])
def test_fault_33_more_speakers_than_windows_are_clamped(asked: int) -> None:
    vectors, _ = _talk([(0, 2), (1, 1)])
    assert spectral.cluster(vectors, ClusterConfig(num_speakers=asked)).tolist() == [0, 1, 2]
    assert bounds(ClusterConfig(num_speakers=asked), 3) == (3, 3)


def test_fault_33_impossible_counts_are_refused() -> None:
    for wrong in ({"min_speakers": 5, "max_speakers": 2}, {"num_speakers": 0}, {"num_speakers": -1}):
        with pytest.raises(ValueError):
            ClusterConfig(**wrong)


@pytest.mark.parametrize("wrong", [np.full((3, 4), np.nan, np.float32), np.zeros(3, np.float32)])
def test_what_is_no_finite_matrix_is_refused(wrong: Vectors) -> None:
    with pytest.raises(ValueError, match="finite matrix"):
        spectral.cluster(wrong)


def test_equal_vectors_are_one_speaker() -> None:
    assert set(spectral.cluster(np.tile(_talk([(0, 1)])[0], (30, 1))).tolist()) == {0}


@given(st.lists(st.integers(0, 9), max_size=60))
def test_canonical_labels_appear_in_order_and_keep_the_partition(given_labels: list[int]) -> None:
    labels = np.array(given_labels, dtype=np.int64)
    renumbered = canonical(labels)
    assert list(dict.fromkeys(renumbered.tolist())) == list(range(len(set(given_labels))))
    assert np.array_equal(renumbered[:, None] == renumbered[None, :], labels[:, None] == labels[None, :])


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 4), st.integers(3, 8), st.integers(3, 6), st.integers(0, 10**6))
def test_turns_in_another_order_give_the_same_speakers(speakers: int, windows: int, rounds: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    turns = _round(speakers, windows, rounds)
    vectors, truth = _talk(turns, noise=0.4, seed=seed)
    blocks = np.arange(len(truth)).reshape(-1, windows)[rng.permutation(len(turns))].ravel()
    assert np.array_equal(canonical(spectral.cluster(vectors)[blocks]), spectral.cluster(vectors[blocks]))


def test_more_vectors_than_are_compared_one_by_one_give_the_same_speakers() -> None:
    vectors, truth = _talk(_round(4, 10, 60))
    assert np.array_equal(spectral.cluster(vectors), truth)


_DIGEST = """
import hashlib, numpy as np
from diarize.clustering import spectral
rng = np.random.default_rng(3)
voices = np.abs(rng.standard_normal((5, 64)))
vectors = voices[np.repeat(rng.integers(0, 5, 60), 6)] + rng.standard_normal((360, 64)) * 0.9
vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
print(hashlib.sha256(spectral.cluster(vectors).tobytes()).hexdigest())
"""


def test_the_number_of_threads_changes_nothing() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", _DIGEST],
            env={**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "4")
    }
    assert len(digests) == 1


def test_halves_of_one_speaker_are_alike_and_two_speakers_are_not() -> None:
    vectors, truth = _talk(_round(2, 12, 10), noise=0.8)
    centred = similarity.centre(vectors)
    halves = np.where(truth == 1, 2, np.random.default_rng(0).integers(0, 2, len(truth)))
    alike = similarity.ratios(centred, halves)
    assert alike[0, 1] > 0.95 and alike[0, 2] < 0.3
    apart = similarity.separations(centred, halves)
    assert apart[0, 1] < 3 < 8 < apart[0, 2]


def test_the_name_tells_every_setting() -> None:
    assert WindowClusterer().name != WindowClusterer(ClusterConfig(num_speakers=3)).name
    assert "num_speakers=3" in WindowClusterer(ClusterConfig(num_speakers=3)).name


@needs_shared
def test_x_vectors_of_a_meeting_are_four_people_when_told_so() -> None:
    vectors = np.load(SHARED / "data" / "xvectors" / "ES2005a.npz")["vectors"]
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    assert spectral.cluster(unit, ClusterConfig(num_speakers=4)).max() + 1 == 4

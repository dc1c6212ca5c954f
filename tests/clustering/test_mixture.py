"""The mixture of speakers, for an embedder whose covariances are known."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from diarize.clustering import mixture, similarity, spectral
from diarize.clustering.clusterer import WindowClusterer
from diarize.clustering.similarity import canonical
from diarize.clustering.splitting import FewestSpeakers
from diarize.config import ClusterConfig, WindowsConfig
from diarize.speech import windows
from diarize.types import Labels, Segment, Vectors

MODEL = "ge2e@39373b86598fa3da(level=-20)"  # the embedder that the shipped covariances were learned of


def _talk(turns: list[tuple[int, int]], seed: int = 0) -> tuple[Vectors, Labels]:
    """Unit vectors of turns (speaker, windows), drawn from the shipped model: its two covariances are the truth."""
    rng = np.random.default_rng(seed)
    plda = mixture.plda_of(MODEL)
    assert plda is not None
    labels = np.array([speaker for speaker, count in turns for _ in range(count)], dtype=np.int64)
    back = np.linalg.pinv(plda.projection)
    people = rng.standard_normal((labels.max() + 1, len(plda.phi))) * np.sqrt(plda.phi)
    inner = people[labels] + rng.standard_normal((len(labels), len(plda.phi)))
    vectors = inner @ back + plda.mean
    return similarity.unit(vectors).astype(np.float32), canonical(labels)


def _round(speakers: int, windows: int, rounds: int) -> list[tuple[int, int]]:
    return [(speaker, windows) for _ in range(rounds) for speaker in range(speakers)]


@pytest.mark.parametrize("speakers", [1, 2, 3, 6, 10])
def test_speakers_like_those_it_was_learned_from_are_counted_and_told_apart(speakers: int) -> None:
    vectors, truth = _talk(_round(speakers, 5, 5))
    assert np.array_equal(WindowClusterer().of_embedder(vectors, MODEL), truth)


def test_somebody_who_says_little_is_found_beside_two_who_say_much() -> None:
    vectors, truth = _talk([(0, 60), (1, 60), (2, 6), (0, 60), (1, 60)])
    assert np.array_equal(WindowClusterer().of_embedder(vectors, MODEL), truth)


def test_a_stranger_to_the_model_is_clustered_without_it() -> None:
    vectors, _ = _talk(_round(3, 6, 4))
    assert mixture.plda_of("wespeaker@0123456789abcdef") is None
    assert np.array_equal(
        WindowClusterer().of_embedder(vectors, "wespeaker@0123456789abcdef"), spectral.cluster(vectors)
    )


@pytest.mark.parametrize("count", [1, 2, 3, 7, 25])
def test_a_known_count_is_kept(count: int) -> None:
    vectors, _ = _talk(_round(3, 5, 5))
    labels = WindowClusterer(ClusterConfig(num_speakers=count)).of_embedder(vectors, MODEL)
    assert sorted(set(labels.tolist())) == list(range(count))


def test_bounds_on_the_count_are_kept() -> None:
    vectors, _ = _talk(_round(4, 6, 5))
    assert WindowClusterer(ClusterConfig(max_speakers=2)).of_embedder(vectors, MODEL).max() + 1 == 2
    assert WindowClusterer(ClusterConfig(min_speakers=6)).of_embedder(vectors, MODEL).max() + 1 >= 6


def test_no_vector_no_label_and_one_vector_one_speaker() -> None:
    vectors, _ = _talk([(0, 2)])
    assert WindowClusterer().of_embedder(vectors[:0], MODEL).tolist() == []
    assert WindowClusterer().of_embedder(vectors[:1], MODEL).tolist() == [0]
    assert WindowClusterer(ClusterConfig(num_speakers=2)).of_embedder(vectors, MODEL).tolist() == [0, 1]


def test_windows_of_one_local_speaker_are_smoothed_together() -> None:
    """Two voices, each window as similar to the other's as to its own: only local speakers separate them."""
    vectors, truth = _talk(_round(2, 1, 30), seed=3)
    blurred = similarity.unit(0.5 * vectors + 0.5 * np.roll(vectors, 1, axis=0)).astype(np.float32)
    occupancy = csr_matrix(np.stack([truth == 0, truth == 1]).astype(np.float64))
    with_occupancy = WindowClusterer(ClusterConfig(num_speakers=2)).of_embedder(blurred, MODEL, None, occupancy)
    alone = WindowClusterer(ClusterConfig(num_speakers=2)).of_embedder(blurred, MODEL)
    assert (with_occupancy == truth).mean() >= (alone == truth).mean()


def test_an_empty_occupancy_changes_nothing() -> None:
    vectors, _ = _talk(_round(3, 5, 5))
    empty = csr_matrix((4, len(vectors)))
    assert np.array_equal(
        WindowClusterer().of_embedder(vectors, MODEL, None, empty), WindowClusterer().of_embedder(vectors, MODEL)
    )


def test_of_very_many_windows_some_tell_who_is_there_and_all_get_a_label() -> None:
    vectors, truth = _talk(_round(4, 25, 45))
    labels = WindowClusterer().of_embedder(vectors, MODEL)
    assert labels.max() == truth.max()
    assert (labels == truth).mean() > 0.99


def test_windows_that_tell_who_is_there_keep_their_labels_however_unlikely() -> None:
    vectors, truth = _talk(_round(2, 20, 3))
    centred, plda = similarity.centre(vectors), mixture.plda_of(MODEL)
    assert plda is not None
    at = np.arange(0, len(truth), 2)
    labels = truth[at] * 5 + 1
    labels[7] = 99  # one window of the first voice, labelled as somebody else's
    propagated = mixture.propagate(centred, plda, at, labels, np.ones(len(truth)), None)
    assert np.array_equal(propagated[at], np.unique(labels, return_inverse=True)[1])
    assert np.array_equal(np.delete(propagated, at), np.delete(truth, at))


def test_so_many_windows_that_each_could_count_for_nothing_still_tell_everybody_apart() -> None:
    plda = mixture.plda_of(MODEL)
    assert plda is not None
    vectors, truth = _talk(_round(20, 10, 30))
    labels = mixture.cluster(similarity.centre(vectors), plda, [truth], np.ones(len(truth)), None, 1, 30)
    assert labels is not None
    assert np.array_equal(canonical(labels), truth)


def _joined(vectors: Vectors, labels: Labels, fewest: int = 1) -> Labels:
    plda = mixture.plda_of(MODEL)
    assert plda is not None
    return canonical(mixture.merge_same_speaker(similarity.centre(vectors), plda, labels, np.ones(len(labels)), fewest))


def test_parts_of_one_voice_become_one_and_two_voices_stay_two() -> None:
    vectors, truth = _talk([(0, 60), (1, 40), (2, 5)])
    parts = np.where(truth == 0, 5 + np.arange(len(truth)) % 3, truth)  # one voice in three
    parts = canonical(parts)
    assert parts.max() + 1 == 5
    assert np.array_equal(_joined(vectors, parts), truth)
    assert np.array_equal(_joined(vectors, truth), truth)


def test_parts_of_one_voice_stay_as_many_as_there_must_be() -> None:
    vectors, truth = _talk([(0, 60), (1, 40)])
    parts = canonical(np.where(truth == 0, 2 + np.arange(len(truth)) % 3, truth))
    assert [_joined(vectors, parts, fewest).max() + 1 for fewest in (1, 2, 3, 4)] == [2, 2, 3, 4]
    assert np.array_equal(_joined(vectors, parts, 4), parts)


def test_nobody_and_somebody_alone_are_joined_to_nobody() -> None:
    vectors, _ = _talk([(0, 2)])
    assert _joined(vectors[:0], np.zeros(0, np.int64)).tolist() == []
    assert _joined(vectors, np.zeros(2, np.int64)).tolist() == [0, 0]


def test_what_all_voices_of_a_recording_share_does_not_make_one_of_them() -> None:
    """A telephone moves all voices the same way, further than voices lie apart."""
    plda = mixture.plda_of(MODEL)
    assert plda is not None
    phi, sizes = plda.phi, np.full(6, 20.0)
    people = 0.7 * np.random.default_rng(4).standard_normal((6, len(phi))) * np.sqrt(phi)
    assert mixture._same_speaker_ratios(people, sizes, phi).max() < -20
    assert mixture._same_speaker_ratios(people + 2 * np.sqrt(phi), sizes, phi).max() < -20  # were it not shared: 69


def test_how_alike_two_clusters_are_is_a_ratio_of_gaussian_densities() -> None:
    """The same number from the joint covariance of all clusters' means, one dimension at a time."""
    rng = np.random.default_rng(2)
    phi, sizes = np.array([4.0, 0.7]), np.array([3.0, 12.0, 70.0])
    means = rng.standard_normal((3, 2)) * 1.5
    weights = mixture._WINDOW_WEIGHT * sizes / (1 + mixture._WINDOW_WEIGHT * sizes / mixture._CLUSTER_WEIGHT)

    def density(groups: list[int]) -> float:
        total = 0.0
        for column, of in zip(means.T, phi, strict=True):
            same = np.equal.outer(groups, groups)
            covariance = of * same + of + np.diag(1 / weights)  # the speaker's, the offset's, the windows'
            sign, logdet = np.linalg.slogdet(2 * np.pi * covariance)
            assert sign > 0
            total -= 0.5 * float(logdet + column @ np.linalg.solve(covariance, column))
        return total

    ratios = mixture._same_speaker_ratios(means, sizes, phi)
    for a, b in ((1, 0), (2, 0), (2, 1)):
        groups = [0, 1, 2]
        groups[b] = a
        assert ratios[a, b] == pytest.approx(density(groups) - density([0, 1, 2]), abs=1e-9)


def test_of_few_windows_without_occupancy_the_mixture_is_not_used() -> None:
    vectors, _ = _talk(_round(2, 7, 2), seed=1)
    assert np.array_equal(WindowClusterer().of_embedder(vectors, MODEL), spectral.cluster(vectors))


def test_of_few_windows_as_many_speakers_are_found_as_are_present() -> None:
    vectors, _ = _talk([(0, 30)], seed=1)
    occupancy = csr_matrix(np.ones((1, 30)))
    arguments = vectors, MODEL, None, occupancy
    assert WindowClusterer().of_embedder(*arguments).max() + 1 == 1
    assert WindowClusterer().of_embedder(*arguments, lambda: FewestSpeakers(alone=2)).max() + 1 == 2
    assert WindowClusterer().of_embedder(*arguments, lambda: FewestSpeakers(speaking=3)).max() + 1 == 3
    for bound in ({"num_speakers": 1}, {"max_speakers": 1}):
        known = WindowClusterer(ClusterConfig.model_validate(bound))
        assert known.of_embedder(*arguments, lambda: FewestSpeakers(alone=2, speaking=3)).max() + 1 == 1
    most = WindowClusterer(ClusterConfig(max_speakers=2))
    assert most.of_embedder(*arguments, lambda: FewestSpeakers(speaking=3)).max() + 1 == 2


def test_of_many_windows_the_voices_decide_how_many_are_present() -> None:
    vectors, _ = _talk([(0, 80)], seed=1)
    occupancy = csr_matrix(np.ones((1, 80)))
    assert WindowClusterer().of_embedder(vectors, MODEL, None, occupancy, lambda: FewestSpeakers(2, 2)).max() + 1 == 1


def test_vectors_that_are_not_finite_are_refused() -> None:
    vectors, _ = _talk(_round(2, 5, 2))
    vectors[3, 3] = np.nan
    with pytest.raises(ValueError, match="finite"):
        WindowClusterer().of_embedder(vectors, MODEL)


def test_the_number_of_threads_changes_no_label() -> None:
    code = (
        "import numpy as np, sys; sys.path.insert(0, '.');"
        "from diarize.clustering.clusterer import WindowClusterer;"
        "from tests.clustering.test_mixture import _talk, _round, MODEL;"
        "print(WindowClusterer().of_embedder(_talk(_round(5, 4, 12))[0], MODEL).tolist())"
    )
    outputs = []
    for threads in ("1", "4"):
        environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]


def test_the_agreement_of_labels_is_the_adjusted_rand_index_to_the_bit() -> None:
    from sklearn.metrics import adjusted_rand_score

    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 10, 1000):
        for _ in range(20):
            a, b = rng.integers(0, rng.integers(1, 9), n), rng.integers(0, rng.integers(1, 9), n)
            b = np.where(rng.random(n) < rng.random(), a, b)
            assert mixture._adjusted_rand_index(a, b) == adjusted_rand_score(a, b)
            assert mixture._adjusted_rand_index(a, a) == 1.0


SPEECH = (Segment(0.0, 7.0), Segment(8.0, 8.5), Segment(10.0, 23.3))


@pytest.mark.parametrize(("length", "hop"), [(1.6, 0.8), (1.2, 0.4), (1.2, 0.2), (1.0, 1.0)])
def test_windows_of_any_length_and_hop_have_the_evidence_of_their_seconds(length: float, hop: float) -> None:
    weights = mixture.weights_of(windows.over(SPEECH, WindowsConfig(length=length, hop=hop)))
    assert weights.sum() == pytest.approx((7.0 + 0.5 + 13.3) / 0.8)


def test_half_the_hop_changes_the_evidence_of_each_second_little() -> None:
    sparse, dense = (windows.over(SPEECH, WindowsConfig(length=1.2, hop=hop)) for hop in (0.4, 0.2))
    for second in range(12, 22):
        of_second = [
            sum(w for w, s in zip(mixture.weights_of(of), of, strict=True) if second <= s.middle < second + 1)
            for of in (sparse, dense)
        ]
        assert of_second[0] == pytest.approx(of_second[1], rel=0.25)


def test_two_vectors_for_each_window_give_the_same_speakers_at_half_the_weight() -> None:
    """Twice the windows with the same evidence together, as from half the hop."""
    vectors, truth = _talk(_round(3, 8, 6), seed=5)
    plda = mixture.plda_of(MODEL)
    assert plda is not None
    centred, ones = similarity.centre(vectors), np.ones(len(truth))
    start = np.arange(len(truth)) % 16
    once = mixture.cluster(centred, plda, [start], ones, None, 1, 20)
    twice = mixture.cluster(np.repeat(centred, 2, 0), plda, [np.repeat(start, 2)], np.repeat(ones, 2) / 2, None, 1, 20)
    assert once is not None and twice is not None
    assert once.max() == twice.max() == truth.max()
    merged_once = mixture.merge_same_speaker(centred, plda, truth, ones)
    merged_twice = mixture.merge_same_speaker(
        np.repeat(centred, 2, 0), plda, np.repeat(truth, 2), np.repeat(ones, 2) / 2
    )
    assert np.array_equal(merged_once, merged_twice[::2])

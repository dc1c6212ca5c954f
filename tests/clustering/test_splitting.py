from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diarize.activity import LocalActivity
from diarize.clustering import mixture, splitting
from diarize.config import SegmentationConfig, WindowsConfig
from diarize.speech import windows
from diarize.types import Embeddings, Segment
from tests.local_speakers import activity

HEARD = activity("1" * 30 + "2" * 30, "2" * 30 + "1" * 30)
SPARSE = WindowsConfig(length=1.6, hop=0.8)
SPANS = windows.over((Segment(0.0, 9.0),), SPARSE)
SECOND = np.array([3.0 < window.middle < 6.0 for window in SPANS])
ONE = np.zeros(len(SPANS), np.int64)


def voices(who: NDArray[np.bool_], apart: float) -> Embeddings:
    """Two voices that correlate by 1 - `apart`, and a little noise."""
    rng = np.random.default_rng(1)
    first, other = np.linalg.qr(rng.standard_normal((64, 2)))[0].T
    second = (1 - apart) * first + np.sqrt(1 - (1 - apart) ** 2) * other
    rows = np.where(who[:, None], second, first) + 0.02 * rng.standard_normal((len(who), 64))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return Embeddings(SPANS, rows.astype(np.float32), "made")


def test_two_in_one_window_are_two() -> None:
    labels = splitting.split(voices(SECOND, 0.8), ONE, HEARD)
    assert np.array_equal(labels, SECOND.astype(np.int64)) or np.array_equal(labels, (~SECOND).astype(np.int64))


def test_two_who_sound_alike_are_one_whom_the_segmentation_took_for_two() -> None:
    assert np.array_equal(splitting.split(voices(SECOND, 0.1), ONE, HEARD), ONE)


def test_clusters_that_are_apart_stay_as_they_are() -> None:
    labels = SECOND.astype(np.int64)
    assert np.array_equal(splitting.split(voices(SECOND, 0.8), labels, HEARD), labels)


def test_no_more_clusters_than_wanted() -> None:
    assert np.array_equal(splitting.split(voices(SECOND, 0.8), ONE, HEARD, most=1), ONE)


def test_a_brief_local_speaker_proves_nothing() -> None:
    config = SegmentationConfig(alone=3.5)
    assert np.array_equal(splitting.split(voices(SECOND, 0.8), ONE, HEARD, config), ONE)


def test_labels_given_are_not_changed() -> None:
    labels = ONE.copy()
    splitting.split(voices(SECOND, 0.8), labels, HEARD)
    assert np.array_equal(labels, ONE)


def test_nothing_is_nothing() -> None:
    nobody = Embeddings((), np.zeros((0, 64), np.float32), "made")
    assert len(splitting.split(nobody, np.zeros(0, np.int64), HEARD)) == 0


def test_as_many_are_present_as_talk_in_one_window() -> None:
    assert splitting.fewest_speakers(activity("1" * 10 + "0" * 10, "2" * 10 + "3" * 10)) == (2, 0)
    assert splitting.fewest_speakers(activity("1" * 10 + "2" * 9 + "0")) == (1, 0)  # nine frames are less than a second
    assert splitting.fewest_speakers(activity("4" * 13 + "5" * 13)) == (0, 3)  # nobody is alone
    assert splitting.fewest_speakers(activity("4" * 13 + "5" * 12)) == (0, 2)  # twelve are less than 1.25 s


def _long(places: list[int]) -> tuple[Embeddings, LocalActivity]:
    """A thousand and more windows of one voice, and at some places 3 s that the segmentation gives to somebody else."""
    frames = ["1" * 60] * 300
    for place in places:
        frames[place] = "1" * 30 + "2" * 30
    spans = windows.over((Segment(0.0, 903.0),), SPARSE)
    other = [any(3.0 * place + 3.0 < span.middle < 3.0 * place + 6.0 for place in places) for span in spans]
    rng = np.random.default_rng(1)
    first, second = np.linalg.qr(rng.standard_normal((64, 2)))[0].T
    second = 0.2 * first + np.sqrt(1 - 0.2**2) * second
    rows = np.where(np.array(other)[:, None], second, first) + 0.02 * rng.standard_normal((len(spans), 64))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert 1000 < len(spans) < 2000
    return Embeddings(spans, rows.astype(np.float32), "made"), activity(*frames)


def test_in_a_long_recording_one_place_does_not_make_two_of_one_and_two_do() -> None:
    for places, count in (([50], 1), ([50, 200], 2)):
        embeddings, local = _long(places)
        assert splitting.split(embeddings, np.zeros(len(embeddings.segments), np.int64), local).max() + 1 == count


def test_halves_of_one_voice_stay_together() -> None:
    """The segmentation hears two all the time, and the windows lie around one middle."""
    rng = np.random.default_rng(0)
    spans = windows.over((Segment(0.0, 183.0),), SPARSE)
    rows = np.eye(1, 64) + np.linspace(-1, 1, len(spans))[rng.permutation(len(spans)), None] * np.eye(1, 64, 1)
    rows += 0.02 * rng.standard_normal((len(spans), 64))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    local = activity(*["1" * 30 + "2" * 30] * 60)
    labels = splitting.split(Embeddings(spans, rows.astype(np.float32), "made"), np.zeros(len(spans), np.int64), local)
    assert labels.max() == 0


def test_what_is_known_of_an_embedder_undoes_a_cut_through_one_voice() -> None:
    """Whatever correlates less than 1 is cut here; of a stranger's windows nothing is known that would undo it."""
    model = "ge2e@39373b86598fa3da(level=-20)"  # the embedder that the shipped covariances were learned of
    plda = mixture.plda_of(model)
    assert plda is not None
    spans = windows.over((Segment(0.0, 63.0),), SPARSE)
    assert len(spans) >= 50
    rng = np.random.default_rng(0)
    person = rng.standard_normal(len(plda.phi)) * np.sqrt(plda.phi)
    drawn = person + rng.standard_normal((len(spans), len(plda.phi)))
    rows = drawn @ np.linalg.pinv(plda.projection) + plda.mean
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    local = activity(*["1" * 30 + "2" * 30] * 20)
    config = SegmentationConfig(alike=1.0)
    counts = [
        splitting.split(Embeddings(spans, rows, name), np.zeros(len(spans), np.int64), local, config).max() + 1
        for name in (model, "made")
    ]
    assert counts[0] == 1
    assert counts[1] > 1

from __future__ import annotations

import numpy as np
import pytest

from diarize.activity import LocalActivity
from diarize.types import Segment


def classes(*windows: str) -> LocalActivity:
    """Windows of ten frames of 0.1 s every five; each character is the class of a frame."""
    posteriors = np.zeros((len(windows), 10, 7), np.float16)
    for i, window in enumerate(windows):
        posteriors[i, np.arange(10), [int(c) for c in window]] = 1
    return LocalActivity(posteriors, hop=5, step=0.1, lag=0.05)


def test_frames_of_all_windows() -> None:
    heard = classes("0000000000", "0000000000", "0000000000")
    assert (heard.windows, heard.length, heard.frames) == (3, 10, 20)
    assert heard.middles(2, 4) == pytest.approx([0.25, 0.35])


@pytest.mark.parametrize(
    ("frames", "windows"), [((0, 5), [0]), ((5, 10), [0, 1]), ((9, 11), [0, 1, 2]), ((15, 20), [2])]
)
def test_windows_over_frames(frames: tuple[int, int], windows: list[int]) -> None:
    assert list(classes("0" * 10, "0" * 10, "0" * 10).over(*frames)) == windows


def test_who_talks_in_each_class() -> None:
    speaking = classes("0123456000").speaking(0)
    assert speaking[:7].tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]]


def test_windows_are_averaged_and_believed_most_in_their_middle() -> None:
    counts = classes("0000011111", "4444444444").counts()
    assert counts[:5].tolist() == [[1, 0, 0]] * 5
    assert counts.sum(1) == pytest.approx(np.ones(15), abs=1e-6)
    middle, end = counts[5], counts[9]  # of the first window
    assert middle[1] > 0.5 > end[1]
    assert counts[12, 2] == pytest.approx(1)


def test_speech_is_where_one_or_two_talk() -> None:
    heard = classes("1104400022", "0002200000")
    assert heard.spoken(0.5) == (Segment(0.0, 0.2), Segment(0.3, 0.5), Segment(0.8, 1.0))


def test_what_lies_before_the_first_frame_counts_to_it() -> None:
    heard = LocalActivity(np.full((1, 2, 7), 1 / 7, np.float16), hop=2, step=0.1, lag=0.09)
    assert heard.segments(np.array([True, False])) == (Segment(0.0, 0.14),)


@pytest.mark.parametrize("shape", [(2, 10, 6), (10, 7)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="posteriors"):
        LocalActivity(np.zeros(shape, np.float16), hop=5, step=0.1, lag=0.05)


def test_windows_that_leave_frames_out_are_refused() -> None:
    with pytest.raises(ValueError, match="every 11 frames"):
        LocalActivity(np.zeros((2, 10, 7), np.float16), hop=11, step=0.1, lag=0.05)

from __future__ import annotations

import numpy as np
import pytest

from diarize.turns import voices
from diarize.types import Embeddings, Segment, Speaker, Turn


def embeddings(*rows: tuple[float, float, int]) -> Embeddings:
    eye = np.eye(4, dtype=np.float32)
    return Embeddings(tuple(Segment(a, b) for a, b, _ in rows), eye[[axis for *_, axis in rows]], "m")


def test_a_speaker_is_the_mean_of_their_windows_weighted_by_seconds() -> None:
    turns = (Turn(0, 3, "A"), Turn(3, 4, "B"))
    windows = embeddings((0, 2, 0), (2, 3, 1), (3, 4, 2))
    pooled = voices.pool((Speaker("A"), Speaker("B")), turns, windows)
    assert pooled == pytest.approx(np.array([[2, 1, 0, 0] / np.sqrt(5), [0, 0, 1, 0]]), abs=1e-6)
    assert pooled.dtype == np.float32


def test_windows_of_two_speakers_count_for_the_one_who_speaks_longer() -> None:
    turns = (Turn(0, 3, "A"), Turn(3, 5, "B"))
    pooled = voices.pool((Speaker("A"), Speaker("B")), turns, embeddings((0, 3, 0), (2.5, 4.5, 1)))
    assert pooled == pytest.approx(np.eye(4)[:2], abs=1e-6)


def test_who_never_speaks_longest_gets_the_windows_they_share() -> None:
    turns = (Turn(0, 3, "A"), Turn(2, 2.5, "B"))
    pooled = voices.pool((Speaker("A"), Speaker("B")), turns, embeddings((0, 3, 0)))
    assert pooled == pytest.approx(np.eye(4)[[0, 0]], abs=1e-6)


def test_a_speaker_in_no_window_is_an_error() -> None:
    with pytest.raises(ValueError, match="B"):
        voices.pool((Speaker("A"), Speaker("B")), (Turn(0, 1, "A"), Turn(5, 6, "B")), embeddings((0, 1, 0)))

"""Times of tokens from attention."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diarize.types import Segment
from diarize.words.alignment import first_frames, fit_to_speech


def attention(starts: list[int], frames: int, heads: int = 2, noise: float = 0.0) -> Any:
    """Each token looks at its own frames, from its start to the next."""
    random = np.random.default_rng(3)
    values = noise * random.random((len(starts), heads, frames)).astype(np.float32)
    for token, (start, end) in enumerate(zip(starts, [*starts[1:], frames], strict=True)):
        values[token, :, start:end] += 1
    return values / values.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_each_token_gets_the_frames_that_it_looks_at(noise: float) -> None:
    starts = [0, 12, 20, 31, 60]
    assert np.abs(first_frames(attention(starts, 80, noise=noise)) - starts).max() <= 2


def test_a_frame_that_all_tokens_look_at_says_nothing() -> None:
    starts = [0, 15, 30, 45]
    values = attention(starts, 60)
    values[:, :, 50] += 5  # the decoder parks attention on a place that means nothing
    assert np.abs(first_frames(values) - starts).max() <= 2


def test_starts_increase_whatever_the_attention_is() -> None:
    random = np.random.default_rng(5)
    for tokens, frames in ((1, 1), (1, 30), (7, 7), (20, 60)):
        for values in (random.random((tokens, 6, frames)), np.zeros((tokens, 6, frames), np.float32)):
            starts = first_frames(values)
            assert starts[0] == 0 and (np.diff(starts) > 0).all() and starts[-1] < frames


def test_more_tokens_than_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="5 tokens cannot each have one of 4 frames"):
        first_frames(np.ones((5, 1, 4)))


def test_a_word_loses_the_pause_that_was_put_to_it() -> None:
    speech = [Segment(1.0, 2.0), Segment(3.0, 4.0)]
    assert fit_to_speech(1.6, 2.9, speech) == (1.6, 2.0)  # the pause after it
    assert fit_to_speech(2.1, 3.4, speech) == (3.0, 3.4)  # the pause before it
    assert fit_to_speech(1.9, 3.5, speech) == (3.0, 3.5)  # the greater part
    assert fit_to_speech(2.2, 2.6, speech) == (2.2, 2.6)  # a word that the detector missed
    assert fit_to_speech(1.2, 1.4, speech) == (1.2, 1.4)
    assert fit_to_speech(1.2, 1.4, []) == (1.2, 1.4)

"""One probability of speech from two models."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from diarize.activity import LocalActivity
from diarize.audio import excerpts
from diarize.config import VadConfig
from diarize.speech import fusion, vad
from diarize.types import Audio, Segment

RATE = 16_000
FRAME = 270 / RATE
SECONDS = 20.0
STEP = 0.032


def activity(speech: NDArray[np.bool_]) -> LocalActivity:
    """One window whose frames have one speaker or nobody, nearly certain."""
    posteriors = np.zeros((1, len(speech), 7), np.float16)
    posteriors[0, :, 0] = np.where(speech, 0.02, 0.98)
    posteriors[0, :, 1] = 1 - posteriors[0, :, 0]
    return LocalActivity(posteriors, hop=len(speech), step=FRAME, lag=991 / 2 / RATE)


def sound(loud: NDArray[np.bool_]) -> Audio:
    """Noise: at -20 dBFS in the frames that are `loud`, else at -60."""
    noise = np.random.default_rng(0).standard_normal(round(SECONDS * RATE)) * 0.1
    gains = np.repeat(np.where(loud, 1.0, 0.01), 270)[: len(noise)]
    return Audio("a", (noise * gains).astype(np.float32), RATE)


def levels(audio: Audio, local: LocalActivity) -> NDArray[np.float32]:
    return excerpts.frame_levels(audio, local.step, local.lag, local.frames)


def fused(own: float | NDArray[np.float64], other: NDArray[np.bool_], loud: NDArray[np.bool_]) -> tuple[Segment, ...]:
    own = np.broadcast_to(np.asarray(own), round(SECONDS / STEP))
    local = activity(other)
    values = fusion.fuse(own, STEP, 0.03, levels(sound(loud), local), local)
    assert values.shape == (len(other),) and values.dtype == np.float32 and 0 <= values.min() <= values.max() <= 1
    return vad.segments(values, FRAME, SECONDS, VadConfig(), FRAME / 2 - local.lag)


def between(start: float, end: float, step: float = FRAME) -> NDArray[np.bool_]:
    times = np.arange(-(-round(SECONDS * RATE) // 270) if step == FRAME else round(SECONDS / step)) * step
    return (times >= start) & (times < end)


def test_what_both_models_say_is_speech() -> None:
    (segment,) = fused(np.where(between(5, 12, STEP), 0.99, 0.001), between(5, 12), between(5, 12))
    assert (segment.start, segment.end) == pytest.approx((5, 12), abs=0.15)


def test_what_both_models_deny_is_none() -> None:
    assert fused(0.001, between(0, 0), between(5, 12)) == ()


def test_where_the_detector_doubts_the_segmentation_decides() -> None:
    (segment,) = fused(0.1, between(5, 12), between(5, 12))
    assert (segment.start, segment.end) == pytest.approx((5, 12), abs=0.15)


def test_where_the_detector_is_certain_that_there_is_none_the_segmentation_is_not_believed() -> None:
    assert fused(0.01, between(5, 12), between(5, 12)) == ()


def test_beside_certain_speech_a_pause_that_is_silent_is_a_pause() -> None:
    pause = between(8, 8.5)
    own = np.where(between(2, 18, STEP) & ~between(8.05, 8.55, STEP), 0.99, 0.02)
    segments = fused(own, between(2, 18), between(2, 18) & ~pause)
    assert [time for s in segments for time in (s.start, s.end)] == pytest.approx([2, 8, 8.5, 18], abs=0.15)


def test_the_level_of_the_recording_does_not_matter() -> None:
    own = np.where(between(5, 12, STEP), 0.3, 0.05)
    loud, local = sound(between(5, 12)), activity(between(5, 13))
    quiet = Audio("b", loud.samples * np.float32(0.1), RATE)
    a, b = (fusion.fuse(own, STEP, 0.03, levels(audio, local), local) for audio in (loud, quiet))
    assert np.abs(a - b).max() < 0.05


@pytest.mark.parametrize("samples", [0, 1, 511, 800, 8000])
def test_short_recordings(samples: int) -> None:
    audio = Audio("a", np.zeros(samples, np.float32), RATE)
    own = np.zeros(-(-samples // 512))
    local = activity(np.zeros(589, np.bool_))
    values = fusion.fuse(own, STEP, 0.03, levels(audio, local), local)
    assert len(values) == -(-samples // 270) and not values.any()

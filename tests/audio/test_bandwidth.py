"""Up to which frequency there is sound."""

from __future__ import annotations

import numpy as np
from scipy.signal import resample_poly

from diarize.audio.bandwidth import bandwidth
from diarize.types import Audio, Segment
from tests.shared import SHARED, needs_shared

NOISE = np.random.default_rng(0).normal(0, 0.1, 32_000)


def audio(samples: np.ndarray, rate: int = 16_000) -> Audio:
    return Audio("a", samples.astype(np.float32), rate)


def test_noise_reaches_half_the_rate() -> None:
    assert bandwidth(audio(NOISE), [Segment(0, 2)]) == 8000


def test_what_was_recorded_at_8_khz_stays_narrow() -> None:
    narrow = resample_poly(resample_poly(NOISE, 1, 2), 2, 1)
    assert bandwidth(audio(narrow), [Segment(0, 2)]) <= 5000  # a resampler is not steep


def test_only_the_speech_counts() -> None:
    tone = 0.3 * np.sin(2 * np.pi * 1000 * np.arange(32_000) / 16_000)
    both = audio(np.concatenate([tone, NOISE]))
    assert bandwidth(both, [Segment(0.1, 1.9)]) < 2500
    assert bandwidth(both, [Segment(0.1, 1.9), Segment(2.1, 3.9)]) == 8000


def test_a_segment_may_end_some_samples_after_the_recording() -> None:
    """Ends are rounded to milliseconds, 16 samples; here the frames would end between both ends."""
    samples = NOISE[: 10 * 512 - 4]
    assert bandwidth(audio(samples), [Segment(0, 0.32)]) == 8000  # 10 * 512 samples


def test_where_there_is_nothing_nothing_is_cut_off() -> None:
    assert bandwidth(audio(np.zeros(16_000)), [Segment(0, 1)]) == 8000
    assert bandwidth(audio(NOISE), []) == 8000
    assert bandwidth(audio(NOISE), [Segment(0, 0.01)]) == 8000  # shorter than a frame


@needs_shared
def test_a_telephone_is_told_from_a_microphone() -> None:
    from diarize.audio.reading import read

    def of(name: str) -> float:
        sound = read(SHARED / "data" / "sim-dev" / name, id="a").audios[0]
        return bandwidth(sound, [Segment(0, sound.duration)])

    assert of("dev2-phone.flac") <= 4500
    assert of("dev3-close.flac") >= 7000

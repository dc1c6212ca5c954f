"""What is left of a recording before it is embedded."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from diarize.errors import ConfigError
from diarize.speech import preparation
from diarize.types import Audio

RATE = 16_000


def tone(seconds: float, level: float = 0.1) -> NDArray[np.float32]:
    phase = 2 * np.pi * 400 * np.arange(round(seconds * RATE)) / RATE
    return np.asarray(level * np.sqrt(2) * np.sin(phase), np.float32)


def prepared(*parts: NDArray[np.float32]) -> NDArray[np.float32]:
    return preparation.sox_app(Audio("a", np.concatenate(parts))).samples


def seconds(*parts: NDArray[np.float32]) -> float:
    return len(prepared(*parts)) / RATE


def test_silence_is_removed_at_both_ends_and_between() -> None:
    silent = tone(0.5, 0.0009)  # with the gain of -1 dB still under 0.1 %
    assert seconds(tone(1)) == pytest.approx(1, abs=0.03)
    assert seconds(silent, tone(1), silent) == pytest.approx(1, abs=0.03)
    assert seconds(tone(1), silent, tone(1)) == pytest.approx(2, abs=0.05)
    assert seconds(tone(0.5, 0.002), tone(1)) == pytest.approx(1.5, abs=0.03)  # quiet, but not silent


def test_short_silence_stays_and_short_sound_after_silence_does_not() -> None:
    nothing = np.zeros(RATE // 2, np.float32)
    assert seconds(tone(1), nothing[: round(0.08 * RATE)], tone(1)) == pytest.approx(2.08, abs=0.03)
    assert seconds(nothing, tone(0.05), nothing, tone(1)) == pytest.approx(1, abs=0.03)


def test_ten_seconds_at_one_decibel_less() -> None:
    samples = prepared(tone(14))
    assert len(samples) == 10 * RATE
    assert samples.max() == pytest.approx(tone(1).max() * 10 ** (-1 / 20), rel=1e-3)


def test_silence_alone_is_returned_whole() -> None:
    assert seconds(np.zeros(RATE, np.float32)) == 1.0


def test_resampling_keeps_what_is_there() -> None:
    wide = preparation.resample(Audio("a", tone(1)), 48_000)
    assert (wide.rate, len(wide.samples)) == (48_000, 48_000)
    back = preparation.resample(wide, RATE)
    assert np.abs(back.samples - tone(1))[500:-500].max() < 1e-3
    assert preparation.resample(back, RATE) is back


def test_an_unknown_preparation_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="is none of speech, whole, sox-app"):
        preparation.check("sox")

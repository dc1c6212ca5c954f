from __future__ import annotations

import numpy as np
import pytest

from diarize.backends import vad_energy
from diarize.config import VadConfig
from tests.backends.sounds import RATE, audio, noise, spoken, tone


def test_what_is_louder_than_the_noise_is_found_where_it_is() -> None:
    sound = np.concatenate([np.zeros(RATE), tone(2), np.zeros(RATE)]) + noise(4, 0.002)
    (found,) = vad_energy.load()(audio(sound))
    assert (found.start, found.end) == pytest.approx((1.0, 3.0), abs=0.05)


def test_sound_between_digital_silence_is_found() -> None:
    (found,) = vad_energy.load()(audio(np.concatenate([np.zeros(RATE), tone(2), np.zeros(RATE)])))
    assert (found.start, found.end) == pytest.approx((1.0, 3.0), abs=0.05)


def test_speech_without_a_pause_is_not_its_own_noise() -> None:
    (found,) = vad_energy.load()(audio(spoken(5)))
    assert found.duration > 4.5


@pytest.mark.parametrize("level", [0.0, 1e-4, 1e-3])
def test_fault_21_silence_and_steady_faint_noise_have_no_speech(level: float) -> None:
    assert vad_energy.load()(audio(noise(10, level))) == ()


@pytest.mark.parametrize("samples", [0, 1, 319, 800])
def test_fault_23_short_recordings(samples: int) -> None:
    assert vad_energy.load()(audio(np.zeros(samples))) == ()


def test_any_rate_will_do() -> None:
    sound = np.concatenate([np.zeros(8000), tone(2)[::2], np.zeros(8000)])
    (found,) = vad_energy.load()(audio(sound, rate=8000))
    assert (found.start, found.end) == pytest.approx((1.0, 3.0), abs=0.05)


def test_the_name_says_the_settings() -> None:
    assert "pad=0.5" in vad_energy.load(VadConfig(pad=0.5)).name

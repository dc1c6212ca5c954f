"""What augmentation does to a crop: level, band, length, and the same each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diarize.backends.features.front_ends import Features
from diarize.errors import MissingExtra
from diarize.training import augmentation, codecs, filterbanks
from diarize.training.augmentation import Augmentation
from diarize.training.recipe import AugmentConfig
from tests.training.voices import clips_from, speech


@pytest.mark.parametrize("bins", [24, 40, 80])
def test_filter_banks_are_those_of_kaldi(bins: int) -> None:
    samples = speech(1, 1, 2.0)
    expected = Features(num_mel_bins=bins)(samples)
    actual = filterbanks.compute(samples, bins)
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() < 2e-3
    assert np.array_equal(filterbanks.compute(np.stack([samples, samples[::-1]]), bins)[0], actual)


@pytest.mark.parametrize("codec", list(codecs.CODECS))
def test_a_telephone_line(codec: str) -> None:
    if codec not in codecs.available():
        pytest.skip(f"this build of FFmpeg cannot encode {codec}")
    samples = speech(2, 1, 2.0)
    line = codecs.telephone(samples, codec)
    assert line.shape == samples.shape and line.dtype == np.float32
    spectrum = np.abs(np.fft.rfft(line)) ** 2
    hertz = np.fft.rfftfreq(len(line), 1 / 16_000)
    assert spectrum[(hertz > 3_700) | (hertz < 150)].sum() < 0.02 * spectrum.sum()
    inside = (hertz > 500) & (hertz < 3_000)
    before = np.abs(np.fft.rfft(samples))[inside]
    assert np.corrcoef(before, np.sqrt(spectrum[inside]))[0, 1] > 0.8
    assert np.array_equal(codecs.telephone(samples, codec), line)


def test_noise_has_the_level_that_is_asked_for() -> None:
    rng = np.random.default_rng(0)
    samples, noise = speech(0, 0), augmentation.pink_noise(24_000, rng)
    difference = augmentation.add_noise(samples, noise, 12.0) - samples
    assert 10 * np.log10(np.square(samples).mean() / np.square(difference).mean()) == pytest.approx(12.0, abs=0.01)
    assert np.array_equal(augmentation.add_noise(samples, np.zeros_like(samples), 5.0), samples)


def test_another_speed_changes_pitch_and_length() -> None:
    tone = np.sin(2 * np.pi * 400 * np.arange(16_000) / 16_000).astype(np.float32)
    fast = augmentation.change_speed(tone, 1.1)
    assert len(fast) == pytest.approx(16_000 / 1.1, abs=2)
    assert np.argmax(np.abs(np.fft.rfft(fast))) * 16_000 / len(fast) == pytest.approx(440, abs=2)


def test_a_crop_depends_on_its_own_generator_alone(tmp_path: Path) -> None:
    clips = clips_from(tmp_path, 3, 2)
    config = AugmentConfig(noise=1.0, telephone=0.5, noise_snr=(5.0, 10.0))
    one, two = (Augmentation(config, clips, range(6), 0) for _ in range(2))
    one.crop(3, 16_000, 1.0, np.random.default_rng(5))
    crops = [each.crop(0, 30_000, 1.1, np.random.default_rng(7)) for each in (one, two)]  # longer than the clip
    assert np.array_equal(crops[0], crops[1]) and crops[0].shape == (30_000,)


def test_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyroomacoustics", reason="pyroomacoustics is not installed; the extra train brings it")
    rooms = augmentation.simulate_rooms(3, 1)
    samples = speech(0, 0)
    for room in rooms:
        wet = augmentation.reverberate(samples, room)
        assert wet.shape == samples.shape and np.isfinite(wet).all()
        assert np.square(wet).sum() == pytest.approx(np.square(samples).sum(), rel=1e-3)
    assert all(np.array_equal(a, b) for a, b in zip(rooms, augmentation.simulate_rooms(3, 1), strict=True))


def test_rooms_need_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyroomacoustics", None)
    with pytest.raises(MissingExtra, match=r"diarize-pipeline\[train\]"):
        Augmentation(AugmentConfig(reverberation=0.5), clips_from(tmp_path, 2, 1), (), 0)

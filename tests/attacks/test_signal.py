"""Strange sound: silence, broken samples, levels beyond reason, channels that cancel or are dead, any sample format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from diarize.audio import reading
from diarize.errors import AudioError
from tests import media
from tests.media import Track

RATE = 16_000


def tone(channels: int = 1, level: float = 0.05) -> media.Wave:
    return media.tone(media.noise(3, RATE, channels, level=level), RATE, 1, 2)


def floats(path: Path, wave: media.Wave) -> Path:
    return media.wav(path, wave.T.astype("<f4"), RATE, format=3)


def test_fault_25_broken_samples_become_silence(tmp_path: Path) -> None:
    wave = tone()
    wave[0, 100:110] = np.nan
    wave[0, 200] = np.inf
    wave[0, 201] = -np.inf
    wave[0, 300] = 1e38
    wave[0, 400:500] = 1e-42  # denormal
    recording = reading.read(floats(tmp_path / "a.wav", wave), id="r")
    (heard,) = recording.audios
    assert np.isfinite(heard.samples).all()
    assert not heard.samples[100:110].any()
    assert media.tone_span(heard) == pytest.approx((1, 2), abs=0.006)
    assert "13 samples were invalid (NaN or infinite) and were set to 0" in recording.source.notes
    assert heard.samples[1000] == pytest.approx(wave[0, 1000], rel=1e-6)


def test_fault_25_a_channel_of_nothing_but_nan(tmp_path: Path) -> None:
    wave = tone(2)
    wave[0] = np.nan
    recording = reading.read(floats(tmp_path / "a.wav", wave), id="r")
    assert recording.source.channel == "1: 0 is silent"
    assert media.tone_span(recording.audios[0]) == pytest.approx((1, 2), abs=0.006)


def test_fault_25_nothing_but_nan(tmp_path: Path) -> None:
    recording = reading.read(floats(tmp_path / "a.wav", np.full((1, RATE), np.nan)), id="r")
    assert not recording.audios[0].samples.any()
    assert recording.source.notes == ("16000 samples were invalid (NaN or infinite) and were set to 0",)


@pytest.mark.parametrize("scale", [1.5, 32_768.0])
def test_fault_26_samples_beyond_full_scale_are_scaled(scale: float, tmp_path: Path) -> None:
    wave = tone() / np.abs(tone()).max()
    recording = reading.read(floats(tmp_path / "a.wav", wave * scale), id="r")
    (heard,) = recording.audios
    assert np.abs(heard.samples).max() == pytest.approx(1)
    assert np.allclose(heard.samples, wave[0], atol=1e-4)  # nothing is cut off
    assert any("times full scale; all were scaled" in note for note in recording.source.notes)


def test_fault_26_one_mad_sample_does_not_make_the_rest_a_whisper(tmp_path: Path) -> None:
    wave = tone()
    wave[0, 8000] = 1e6
    recording = reading.read(floats(tmp_path / "a.wav", wave), id="r")
    (heard,) = recording.audios
    assert np.abs(heard.samples).max() == 1
    assert heard.samples[20_000] == pytest.approx(wave[0, 20_000], rel=1e-5)
    assert any("cut at full scale" in note for note in recording.source.notes)


def test_fault_26_clipping_and_offset_are_noted(tmp_path: Path) -> None:
    clean = reading.read(media.wav(tmp_path / "0.wav", media.pcm16(tone()), RATE), id="r").source
    assert clean.notes == ()
    hard = reading.read(media.wav(tmp_path / "1.wav", media.pcm16(np.clip(3 * tone(), -1, 1)), RATE), id="r").source
    assert any("clipped" in note for note in hard.notes)
    offset = reading.read(media.wav(tmp_path / "2.wav", media.pcm16(tone() + 0.2), RATE), id="r").source
    assert any("constant offset (DC) of 20.0%" in note for note in offset.notes)


def test_fault_21_noise_under_the_last_bit(tmp_path: Path) -> None:
    recording = reading.read(floats(tmp_path / "a.wav", media.noise(1, RATE, level=1e-7)), id="r")
    assert 0 < np.abs(recording.audios[0].samples).max() < 1e-5
    assert recording.source.notes == ()


def test_fault_27_opposed_stereo_is_heard(tmp_path: Path) -> None:
    wave = np.concatenate([tone(), -tone()])
    for path in (
        media.wav(tmp_path / "a.wav", media.pcm16(wave), RATE),
        media.write(tmp_path / "a.mp3", "mp3", Track(wave, RATE, "libmp3lame", bit_rate=64_000)),
    ):
        recording = reading.read(path, id="r")
        assert media.tone_span(recording.audios[0]) == pytest.approx((1, 2), abs=0.01)
        assert media.level(recording.audios[0].samples) > 0.9 * media.level(wave[0].astype(np.float32))
        assert "inverted" in recording.source.channel
    (mixed,) = reading.read(tmp_path / "a.wav", id="r", channel="mix").audios
    assert not mixed.samples.any()  # asked for, given


def test_fault_28_one_live_channel_of_eight_keeps_its_level(tmp_path: Path) -> None:
    wave = np.zeros((8, 3 * 44_100))
    wave[5] = media.tone(media.noise(3, 44_100), 44_100, 1, 2)[0]
    recording = reading.read(media.wav(tmp_path / "a.wav", media.pcm16(wave), 44_100), id="r")
    assert recording.source.channels == 8
    assert recording.source.channel.startswith("5: ")
    assert media.tone_span(recording.audios[0]) == pytest.approx((1, 2), abs=0.006)
    assert np.abs(recording.audios[0].samples).max() > 0.5
    assert len(reading.read(tmp_path / "a.wav", id="r", channel="per-channel").audios) == 8


@pytest.mark.parametrize(("container", "codec"), [("matroska", "ac3"), ("ipod", "aac"), ("flac", "flac")])
def test_fault_28_surround_with_talk_in_the_centre(container: str, codec: str, tmp_path: Path) -> None:
    wave = np.zeros((6, 3 * 48_000))  # FL FR FC LFE BL BR
    wave[2] = media.tone(media.noise(3, 48_000), 48_000, 1, 2)[0]
    path = media.write(tmp_path / "film", container, Track(wave, 48_000, codec, bit_rate=384_000))
    recording = reading.read(path, id="r")
    assert recording.source.channels == 6
    assert recording.source.channel.startswith("2: ")
    assert media.tone_span(recording.audios[0]) == pytest.approx((1, 2), abs=0.05)


def test_planar_sound_of_eight_channels(tmp_path: Path) -> None:
    wave = media.noise(2, 48_000, 8, level=0.001)
    wave[7] += media.tone(media.noise(2, 48_000, level=0.02), 48_000, 0.5, 1)[0]
    path = media.write(tmp_path / "a.m4a", "ipod", Track(wave, 48_000, "aac", bit_rate=512_000))
    recording = reading.read(path, id="r")
    assert recording.source.channels == 8
    assert media.tone_span(recording.audios[0]) == pytest.approx((0.5, 1), abs=0.01)


def test_fault_28_dual_mono(tmp_path: Path) -> None:
    path = media.wav(tmp_path / "a.wav", media.pcm16(np.repeat(tone(), 2, axis=0)), RATE)
    stereo = reading.read(path, id="r")
    mono = reading.read(media.wav(tmp_path / "b.wav", media.pcm16(tone()), RATE), id="r")
    assert np.array_equal(stereo.audios[0].samples, mono.audios[0].samples)
    assert stereo.source.channel == "0: 1 is a copy of 0 (correlation 1.00)"


def test_fault_29_a_channel_can_be_asked_for(tmp_path: Path) -> None:
    wave = np.concatenate([tone(), media.noise(3, RATE, seed=1)])
    path = media.wav(tmp_path / "call.wav", media.pcm16(wave), RATE)
    assert media.tone_span(reading.read(path, id="r", channel="0").audios[0]) is not None
    assert media.tone_span(reading.read(path, id="r", channel="1").audios[0]) is None
    with pytest.raises(AudioError, match="no channel 2: the recording has 2 channels"):
        reading.read(path, id="r", channel="2")


def mu_law(wave: media.Wave) -> NDArray[np.uint8]:
    """ITU-T G.711 mu-law."""
    linear = np.clip(np.round(wave[0] * 32_767), -32_635, 32_635).astype(int)
    magnitude = np.abs(linear) + 132
    exponent = np.floor(np.log2(magnitude)).astype(int) - 7
    code = (linear < 0) * 0x80 | exponent << 4 | (magnitude >> (exponent + 3)) & 0x0F
    coded: NDArray[np.uint8] = (~code & 0xFF).astype(np.uint8)
    return coded


def pcm24(wave: media.Wave) -> NDArray[np.uint8]:
    whole = np.round(np.clip(wave[0], -1, 1) * 8_388_607).astype("<i4")
    packed: NDArray[np.uint8] = np.frombuffer(whole.tobytes(), np.uint8).reshape(-1, 4)[:, :3]
    return packed


def test_fault_30_sample_formats(tmp_path: Path) -> None:
    wave = tone()
    reference = wave[0].astype(np.float32)
    kinds: list[tuple[NDArray[np.generic], int, int | None, float]] = [
        (np.round(wave.T * 127 + 128).clip(0, 255).astype(np.uint8), 1, None, 0.02),
        (media.pcm16(wave), 1, None, 1e-3),
        (pcm24(wave), 1, 24, 1e-5),
        (np.round(wave.T * (2**31 - 1)).astype("<i4"), 1, None, 1e-6),
        (wave.T.astype("<f4"), 3, None, 1e-6),
        (wave.T.astype("<f8"), 3, None, 1e-6),
        (mu_law(wave), 7, 8, 0.03),
    ]
    for samples, format, bits, tolerance in kinds:
        flat = samples if samples.ndim == 2 and bits is None else samples.reshape(-1)
        (heard,) = reading.read(media.wav(tmp_path / "a.wav", flat, RATE, format=format, bits=bits), id="r").audios
        assert len(heard.samples) == len(reference), (format, bits)
        assert np.abs(heard.samples - reference).max() < tolerance, (format, bits)


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [
        ("wav", "adpcm_ima_wav", 8_000),
        ("wav", "adpcm_ms", 11_025),
        ("wav", "pcm_alaw", 8_000),
        ("amr", "libopencore_amrnb", 8_000),
        ("wav", "g726", 8_000),
        ("voc", "pcm_u8", 8_000),
        ("caf", "pcm_s24be", 96_000),
        ("aiff", "pcm_s16be", 44_056),
    ],
)
def test_fault_30_telephone_and_dictation_codecs(container: str, codec: str, rate: int, tmp_path: Path) -> None:
    wave = media.tone(media.noise(3, rate), rate, 1, 2)
    bit_rate = {"libopencore_amrnb": 12_200, "g726": 32_000}.get(codec)
    path = media.write(tmp_path / "a", container, Track(wave, rate, codec, bit_rate=bit_rate))
    recording = reading.read(path, id="r")
    assert recording.source.rate == rate
    assert media.tone_span(recording.audios[0]) == pytest.approx((1, 2), abs=0.03)


def test_fault_30_gsm(tmp_path: Path) -> None:
    """No GSM encoder comes with PyAV: frames of silence by hand, 160 samples in 33 bytes that begin with 0xD."""
    path = tmp_path / "a.gsm"
    path.write_bytes((b"\xd8\x20\xa2\xe1\x5a" + b"\x50\x00\x49\x24\x92\x49\x24" * 4) * 100)
    recording = reading.read(path, id="r")
    assert recording.source.codec == "gsm"
    assert recording.audios[0].duration == 2.0

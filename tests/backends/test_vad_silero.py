from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diarize.backends import vad_silero
from diarize.config import VadConfig
from diarize.errors import AudioError, ModelRefused
from diarize.models.store import Store
from diarize.timeline import total
from tests.backends.sounds import RATE, audio, melody, noise, spoken, tone


@pytest.fixture(scope="module")
def model(store: Store) -> Path:
    path = store.find("silero-vad-v6")
    assert path is not None
    return path


@pytest.fixture(scope="module")
def detect(model: Path) -> vad_silero.Silero:
    return vad_silero.load(model, threads=1)


def test_a_voice_is_found_where_it_is(detect: vad_silero.Silero) -> None:
    sound = np.concatenate([np.zeros(RATE), spoken(3), np.zeros(RATE), spoken(2, seed=1), np.zeros(RATE)])
    first, second = detect(audio(sound))
    assert (first.start, first.end) == pytest.approx((1.0, 4.0), abs=0.1)
    assert (second.start, second.end) == pytest.approx((5.0, 7.0), abs=0.1)


def test_probabilities_are_those_of_the_uncut_graph(model: Path, detect: vad_silero.Silero) -> None:
    import onnxruntime

    sound = np.concatenate([spoken(9), noise(1.3)]).astype(np.float32)  # more than one block
    frames, h, c = [], np.zeros((1, 1, 128), np.float32), np.zeros((1, 1, 128), np.float32)
    whole = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    padded = np.concatenate([np.zeros(64, np.float32), sound, np.zeros(-len(sound) % 512, np.float32)])
    for start in range(0, len(padded) - 64, 512):  # frame by frame, as in a stream
        p, h, c = whole.run(None, {"input": padded[None, start : start + 576], "h": h, "c": c})
        frames.append(float(p.item()))
    assert np.abs(detect.probabilities(audio(sound)) - frames).max() < 1e-4


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_do_not_change_a_bit(model: Path, detect: vad_silero.Silero, threads: int) -> None:
    sound = audio(np.concatenate([spoken(20), noise(2), spoken(13, seed=2)]))
    other = vad_silero.load(model, threads=threads)
    assert np.array_equal(other.probabilities(sound), detect.probabilities(sound))
    assert other.name == detect.name


def test_what_follows_does_not_change_what_was_before(detect: vad_silero.Silero) -> None:
    sound = np.concatenate([spoken(7), noise(1), spoken(3)])
    long, short = detect.probabilities(audio(sound)), detect.probabilities(audio(sound[: 150 * 512]))
    assert np.array_equal(long[:150], short)


def test_a_memory_mapped_recording_gives_the_same(detect: vad_silero.Silero, tmp_path: Path) -> None:
    sound = spoken(3).astype(np.float32)
    sound.tofile(tmp_path / "samples")
    mapped = np.memmap(tmp_path / "samples", np.float32, "r")
    assert np.array_equal(detect.probabilities(audio(mapped)), detect.probabilities(audio(sound)))


def test_quiet_speech_is_found_without_bringing_it_up(detect: vad_silero.Silero) -> None:
    loud, quiet = spoken(3), spoken(3, level=0.005)  # -46 dBFS
    assert total(detect(audio(quiet))) == pytest.approx(total(detect(audio(loud))), abs=0.3)


@pytest.mark.parametrize("level", [0.0, 1e-4, 1e-3])
def test_fault_21_silence_and_faint_noise_have_no_speech(detect: vad_silero.Silero, level: float) -> None:
    assert detect(audio(noise(10, level))) == ()


def test_fault_22_tones_and_noise_have_no_speech_and_music_little(detect: vad_silero.Silero) -> None:
    assert detect(audio(tone(10))) == ()
    assert detect(audio(noise(10))) == ()
    assert total(detect(audio(melody(20)))) < 1


@pytest.mark.parametrize("samples", [0, 1, 511, 512, 513, 800, 8000])
def test_fault_23_short_recordings_of_silence(detect: vad_silero.Silero, samples: int) -> None:
    assert detect(audio(np.zeros(samples))) == ()
    assert len(detect.probabilities(audio(np.zeros(samples)))) == -(-samples // 512)


@pytest.mark.parametrize("seconds", [0.5, 5.0])
def test_fault_23_short_recordings_of_speech(detect: vad_silero.Silero, seconds: float) -> None:
    assert total(detect(audio(spoken(seconds)))) > seconds / 2


def test_the_name_says_weights_and_settings(model: Path) -> None:
    name = vad_silero.load(model, VadConfig(pad=0.02)).name
    assert "4cbf549b8326f60f" in name and "pad=0.02" in name
    assert name != vad_silero.load(model, VadConfig(pad=0.03)).name


def test_another_rate_is_refused(detect: vad_silero.Silero) -> None:
    with pytest.raises(AudioError, match="8000 Hz"):
        detect(audio(np.zeros(100), rate=8000))


def test_a_file_that_is_no_silero_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model at all")
    with pytest.raises(ModelRefused, match="silero"):
        vad_silero.load(tmp_path / "model.onnx")

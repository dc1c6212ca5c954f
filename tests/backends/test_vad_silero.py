from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diarize.backends import vad_silero
from diarize.config import VadConfig
from diarize.errors import AudioError, ModelRefused
from diarize.models.store import Store
from diarize.timeline import total
from diarize.types import Segment
from tests.backends.sounds import RATE, audio, melody, noise, spoken, tone
from tests.local_speakers import activity
from tests.shared import SHARED, needs_shared


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


class Deaf:
    """Stands for both parts of the graph: probability 0.9, and none any more `memory` frames after a new state."""

    def __init__(self, memory: int) -> None:
        self.memory = memory

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]

    def get_outputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="encoded")]

    def run(self, outputs: list[str] | None, feed: dict[str, Any]) -> list[Any]:
        if outputs is None:
            return [feed["input"][:, None, :1]]
        age = feed["c"][0, 0, 0] + np.arange(len(feed["encoded"]))
        return [np.where(age < self.memory, 0.9, 0.0), feed["h"], feed["c"] + np.float32(len(age))]


def test_where_speech_is_likely_a_state_that_denies_it_is_replaced() -> None:
    deaf = Deaf(100)
    sound = audio(np.zeros(60 * RATE))
    detect = vad_silero.Silero(deaf, deaf, "0" * 64, VadConfig(), 1)
    likely = (Segment(0.0, 20.0), Segment(40.0, 60.0))
    assert total(detect(sound)) == pytest.approx(3.2, abs=0.1)
    assert (detect.probabilities(sound, likely) > 0.5).mean() > 35 / 60
    assert detect.probabilities(sound, likely)[700:1200].max() == 0


def test_where_speech_is_likely_noise_that_a_new_state_denies_too_stays_noise(detect: vad_silero.Silero) -> None:
    t = np.arange(30 * RATE) / RATE
    swelling = audio(noise(30) * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * t)))
    assert total(detect(swelling, activity("1" * 300))) < 0.5


@needs_shared
def test_a_high_voice_on_a_telephone_line_is_found_to_the_end(detect: vad_silero.Silero) -> None:
    import soundfile
    from scipy.signal import resample_poly

    paths = sorted((SHARED / "data" / "speechocean-dev").glob("02030*.flac"))
    speech = np.concatenate([soundfile.read(path)[0] for path in paths])
    pieces = speech[: len(speech) // 1600 * 1600].reshape(-1, 1600)
    loud = pieces.std(axis=1) > 0.15 * np.percentile(pieces.std(axis=1), 95)  # no pauses
    line = np.tile(pieces[loud].ravel(), 9)
    line = resample_poly(resample_poly(line, 1, 2), 2, 1)  # nothing above 4 kHz
    sound = audio(line * 0.12 / np.sqrt(np.mean(line**2)))
    whole = (Segment(0.0, sound.duration),)
    carried, restarted = (detect.probabilities(sound, likely)[-900:] for likely in ((), whole))
    assert (carried < 0.14).mean() > 0.5
    assert (restarted < 0.14).mean() < 0.3

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diarize.backends import embedder_ge2e
from diarize.errors import AudioError, ModelRefused
from diarize.models import checkpoint
from diarize.models.store import Store
from diarize.types import Segment
from tests.backends.sounds import RATE, audio, noise, spoken


@pytest.fixture(scope="module")
def model(store: Store) -> Path:
    path = store.find("ge2e")
    assert path is not None
    return path


@pytest.fixture(scope="module")
def embed(model: Path) -> embedder_ge2e.GE2E:
    return embedder_ge2e.load(model, threads=1)


def original(model: Path, mels: np.ndarray) -> np.ndarray:
    """The network as its authors wrote it, in torch: (n, frames, 40) -> (n, 256)."""
    import torch

    tensors = {name: torch.tensor(value) for name, value in checkpoint.read_tensors(model).items()}
    lstm, linear = torch.nn.LSTM(40, 256, 3, batch_first=True), torch.nn.Linear(256, 256)
    lstm.load_state_dict({k.removeprefix("lstm."): v for k, v in tensors.items() if k.startswith("lstm.")})
    linear.load_state_dict({k.removeprefix("linear."): v for k, v in tensors.items() if k.startswith("linear.")})
    with torch.no_grad():
        raw = torch.relu(linear(lstm(torch.tensor(mels))[1][0][-1]))
        return np.asarray(raw / raw.norm(dim=1, keepdim=True))


def test_vectors_are_those_of_librosa_and_torch(model: Path, embed: embedder_ge2e.GE2E) -> None:
    import librosa

    sound = audio(spoken(6, level=0.2))  # loud enough not to be raised
    mel = librosa.feature.melspectrogram(y=sound.samples, sr=RATE, n_fft=400, hop_length=160, n_mels=40).T
    segments = [Segment(0.0, 1.6), Segment(1.2, 2.8), Segment(4.0, 5.6)]
    expected = original(model, np.stack([mel[round(s.start * 100) :][:160] for s in segments]))
    assert np.abs(embed(sound, segments).vectors - expected).max() < 1e-5


def test_the_level_of_a_quiet_recording_does_not_matter(embed: embedder_ge2e.GE2E) -> None:
    quiet, quieter = spoken(3, level=0.01), spoken(3, level=0.001)
    windows = [Segment(0.2, 1.8), Segment(1.0, 2.6)]
    assert np.abs(embed(audio(quiet), windows).vectors - embed(audio(quieter), windows).vectors).max() < 1e-4


def test_neither_batches_nor_threads_nor_order_change_a_bit(model: Path, embed: embedder_ge2e.GE2E) -> None:
    sound = audio(np.concatenate([spoken(8), noise(1), spoken(5, seed=3)]))
    segments = [Segment(0.1 * i, 0.1 * i + (1.6 if i % 3 else 0.7)) for i in range(100)]
    expected = embed(sound, segments).vectors
    for batch, threads in ((1, 1), (7, 2), (64, 3)):
        assert np.array_equal(embedder_ge2e.load(model, batch, threads=threads)(sound, segments).vectors, expected)
    assert np.array_equal(embed(sound, segments[::-1]).vectors[::-1], expected)


def test_a_memory_mapped_recording_gives_the_same(embed: embedder_ge2e.GE2E, tmp_path: Path) -> None:
    sound = spoken(4).astype(np.float32)
    sound.tofile(tmp_path / "samples")
    segments = [Segment(0.0, 1.6), Segment(2.0, 3.6)]
    mapped = audio(np.memmap(tmp_path / "samples", np.float32, "r"))
    assert np.array_equal(embed(mapped, segments).vectors, embed(audio(sound), segments).vectors)


def test_a_long_segment_is_the_mean_of_windows_over_it(embed: embedder_ge2e.GE2E) -> None:
    sound = audio(spoken(6))
    parts = embed(sound, [Segment(1.0, 2.6), Segment(1.8, 3.4), Segment(2.6, 4.2)]).vectors
    mean = parts.sum(axis=0) / np.linalg.norm(parts.sum(axis=0))
    assert np.abs(embed(sound, [Segment(1.0, 4.2)]).vectors[0] - mean).max() < 1e-6


def test_a_short_segment_is_repeated(model: Path, embed: embedder_ge2e.GE2E) -> None:
    import librosa

    sound = audio(spoken(6))
    mel = librosa.feature.melspectrogram(y=sound.samples, sr=RATE, n_fft=400, hop_length=160, n_mels=40).T
    expected = original(model, np.resize(mel[250:310], (1, 160, 40)))
    assert np.abs(embed(sound, [Segment(2.5, 3.1)]).vectors - expected).max() < 1e-5


def test_no_segments_give_no_vectors(embed: embedder_ge2e.GE2E) -> None:
    assert embed(audio(noise(1)), []).vectors.shape == (0, 256)


@pytest.mark.parametrize("level", [0.0, 1e-6])
def test_fault_21_silence_has_a_unit_vector(embed: embedder_ge2e.GE2E, level: float) -> None:
    assert np.linalg.norm(embed(audio(noise(2, level)), [Segment(0.0, 1.6)]).vectors) == pytest.approx(1)


@pytest.mark.parametrize("seconds", [0.001, 0.05, 0.5, 5.0])
def test_fault_23_short_recordings(embed: embedder_ge2e.GE2E, seconds: float) -> None:
    assert np.isfinite(
        embed(audio(spoken(seconds + 0.1)[: round(seconds * RATE)]), [Segment(0.0, seconds)]).vectors
    ).all()


def test_the_name_says_the_weights(embed: embedder_ge2e.GE2E) -> None:
    assert "39373b86598fa3da" in embed.name


def test_another_rate_is_refused(embed: embedder_ge2e.GE2E) -> None:
    with pytest.raises(AudioError, match="8000 Hz"):
        embed(audio(np.zeros(100), rate=8000), [])


def test_a_checkpoint_of_another_network_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = checkpoint.read_tensors(model)
    del tensors["linear.bias"]
    monkeypatch.setattr(checkpoint, "read_tensors", lambda path: tensors)
    with pytest.raises(ModelRefused, match=r"linear\.bias"):
        embedder_ge2e.load(model)

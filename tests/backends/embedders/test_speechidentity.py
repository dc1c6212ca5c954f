"""SpeechIdentity: the published distances, the network against one written down in NumPy, files that are refused."""

from __future__ import annotations

import zipfile
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from diarize.audio import reading
from diarize.backends.embedders import speechidentity
from diarize.backends.embedders.speechidentity import BANDS, DIMENSION, HIDDEN, NATIVE, SHAPES
from diarize.errors import AudioError, BackendError, ModelRefused
from diarize.types import Audio, Segment
from tests.backends.sounds import noise
from tests.shared import SHARED, needs_shared

FOLDER = SHARED / "models" / "speechidentity"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(5)
    path = tmp_path_factory.mktemp("weights") / "weights.npz"
    arrays = {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in SHAPES.items()}
    np.savez(path, **arrays)  # type: ignore[arg-type] # its stubs take a named array for an option
    return path


def lstm(x: NDArray[np.float64], weights: dict[str, NDArray[np.float32]], first: int) -> NDArray[np.float64]:
    """Hidden states (T, HIDDEN) of an LSTM as Keras defines it."""
    kernel, recurrent, bias = (weights[f"v{first + i}"].astype(np.float64) for i in range(3))
    h = c = np.zeros(HIDDEN)
    states = []
    for step in x:
        i, f, g, o = np.split(step @ kernel + h @ recurrent + bias, 4)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        states.append(h)
    return np.array(states)


def test_the_network_is_that_of_keras(weights: Path) -> None:
    with np.load(weights) as archive:
        arrays = {name: archive[name] for name in SHAPES}
    sound = noise(0.5, seed=2).astype(np.float32)
    x = speechidentity.spectrogram(sound).astype(np.float64)
    both = np.concatenate([lstm(x, arrays, 0), lstm(x[::-1], arrays, 3)[::-1]], axis=1)
    last = np.concatenate([lstm(both, arrays, 6)[-1], lstm(both[::-1], arrays, 9)[-1]])
    expected = last @ arrays["kernel"] + arrays["bias"]
    embed = speechidentity.load(weights, rate=NATIVE)
    vector = embed(Audio("a", sound, NATIVE), [Segment(0.0, len(sound) / NATIVE)]).vectors[0]
    assert np.abs(vector - expected / np.linalg.norm(expected)).max() < 1e-5


def test_the_spectrogram() -> None:
    time = np.arange(NATIVE) / NATIVE
    values = speechidentity.spectrogram(np.sin(2 * np.pi * 1000 * time).astype(np.float32))
    assert values.shape == (188, BANDS)  # a frame every 256 samples, the last one padded
    assert abs(values.mean()) < 1e-5 and values.std() == pytest.approx(1, abs=1e-5)
    mel = 1127 * np.log1p(np.array([80, 1000, 10_000]) / 700)
    band = (mel[1] - mel[0]) / (mel[2] - mel[0]) * (BANDS + 1) - 1
    assert abs(values[90].argmax() - band) <= 1
    assert np.isfinite(speechidentity.spectrogram(np.zeros(10, np.float32))).all()


@needs_shared
def test_the_published_distances() -> None:
    embed = speechidentity.load(FOLDER / "speech_id_110_weights.npz", rate=NATIVE)
    vectors = []
    for name in ("sample_1a", "sample_1b", "sample_2"):
        audio = reading.read(FOLDER / f"{name}.mp3", id=name, rate=NATIVE).audios[0]
        assert audio.rate == NATIVE
        vectors.append(embed(audio, [Segment(0.0, audio.duration)]).vectors[0])
    distances = [float(np.linalg.norm(a - b)) for a, b in combinations(vectors, 2)]
    assert distances == pytest.approx([0.7631306, 1.1691123, 1.3037696], abs=1e-4)


def test_audio_of_16_khz_has_vectors_of_another_identity(weights: Path) -> None:
    native, narrow = (speechidentity.load(weights, rate=rate) for rate in (NATIVE, 16_000))
    assert native.name != narrow.name and native.rate == NATIVE and narrow.rate == 16_000
    assert not native.notes and "needs sound of 48000 Hz" in narrow.notes[0]
    audio = Audio("a", noise(2).astype(np.float32))
    rows = narrow.embed_with_whole(audio, [Segment(0.0, 1.0)], [Segment(0.0, 0.7), Segment(1.0, 1.5)])
    assert rows.vectors.shape == (2, DIMENSION) and rows.segments[-1] == Segment(0.0, 1.5)
    with pytest.raises(AudioError, match="needs 48000 Hz, this is 16000 Hz"):
        native(audio, [Segment(0.0, 1.0)])
    with pytest.raises(BackendError, match="not of 44100 Hz"):
        speechidentity.load(weights, rate=44_100)


def test_long_segments_and_threads(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speechidentity, "LONGEST", 1.0)
    audio = Audio("a", noise(2.5).astype(np.float32))
    segments = [Segment(0.0, 2.5), Segment(0.2, 0.2001), Segment(1.0, 2.0)]
    one, two = (speechidentity.load(weights, threads=n)(audio, segments).vectors for n in (1, 2))
    assert np.array_equal(one, two)
    assert speechidentity.load(weights)(audio, []).vectors.shape == (0, DIMENSION)


def test_files_that_are_not_these_weights_are_refused(weights: Path, tmp_path: Path) -> None:
    with np.load(weights) as archive:
        arrays = {name: archive[name] for name in SHAPES}

    def refused(**changed: NDArray[np.generic]) -> str:
        np.savez(tmp_path / "w.npz", **{**arrays, **changed})
        with pytest.raises(ModelRefused) as caught:
            speechidentity.load(tmp_path / "w.npz")
        assert "\n" not in str(caught.value) and "diarize models import" in str(caught.value)
        return str(caught.value)

    assert "float32 (128,), not float32 (80, 512)" in refused(v0=np.zeros(128, np.float32))
    assert "pickle" in refused(v0=np.array([print], dtype=object))  # never unpickled
    for content in (b"", b"<html>", weights.read_bytes()[:50_000]):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(ModelRefused, match="not a NumPy archive"):
            speechidentity.load(tmp_path / "bad.npz")
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive_file:
        archive_file.writestr("readme.txt", "hello")
    with pytest.raises(ModelRefused, match="v0"):
        speechidentity.load(tmp_path / "other.npz")

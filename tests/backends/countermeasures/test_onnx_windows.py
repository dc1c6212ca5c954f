"""AASIST as the authors' own code computes it; any other ONNX graph of windows; files that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from diarize.backends.countermeasures import aasist_graph, onnx_windows
from diarize.backends.graphs.builder import GraphBuilder
from diarize.errors import AudioError, ModelRefused
from diarize.models import checkpoint
from diarize.models.registry import find_entry
from diarize.types import Audio, Segment
from pipelines.processes import decoding
from tests.shared import SHARED, needs_shared

FOLDER = SHARED / "models" / "aasist"
FILES = {"aasist": "AASIST.pth", "aasist-l": "AASIST-L.pth"}

# Logits (spoofed, bona fide) that the authors' code (github.com/clovaai/aasist, models/AASIST.py; torch 2.13) gives for
# the same windows.
REFERENCE = {
    "aasist": {
        "sine": (5.633414, -6.4132094),
        "sweep": (6.6023183, -7.932441),
        "zeros": (-3.0082078, 1.4435532),
        "speech": (-0.0900422, -0.7184594),
    },
    "aasist-l": {
        "sine": (8.424913, -7.323804),
        "sweep": (2.8362117, -2.624445),
        "zeros": (0.23537773, 0.25181162),
        "speech": (-1.8407584, 2.4527671),
    },
}


def sounds() -> dict[str, NDArray[np.float32]]:
    t = np.arange(aasist_graph.SAMPLES) / 16_000
    path = SHARED / "data" / "libri-cohort" / "1098-133695-0000.flac"
    speech = decoding.read(path, id="a", channel="auto", track=None).audios[0].samples
    made: dict[str, NDArray[Any]] = {
        "sine": np.sin(2 * np.pi * 220 * t) * 0.3,
        "sweep": 0.2 * np.sin(2 * np.pi * (100 * t + 400 * t * t)),
        "zeros": np.zeros(len(t)),
        "speech": speech[: len(t)],
    }
    return {name: sound.astype(np.float32) for name, sound in made.items()}


@needs_shared
@pytest.mark.parametrize("name", FILES)
def test_the_logits_are_those_of_the_authors_code(name: str) -> None:
    entry = find_entry(name)
    countermeasure = onnx_windows.load(FOLDER / FILES[name], entry.format, name)
    for which, sound in sounds().items():
        logits = countermeasure._logits(sound)
        assert np.allclose(logits, REFERENCE[name][which], rtol=1e-5, atol=1e-5), which
        score = countermeasure(Audio("a", sound), [Segment(0.0, len(sound) / 16_000)])[0]
        assert score == pytest.approx(REFERENCE[name][which][1] - REFERENCE[name][which][0], abs=3e-5)


@needs_shared
def test_the_store_recognises_the_published_files(tmp_path: Path) -> None:
    from diarize.models.store import Store

    store = Store(tmp_path, offline=True)
    results = store.import_folder(FOLDER)
    assert {result.model for result in results} == set(FILES)
    assert store.path("aasist-l").name == "AASIST-L.pth"


def test_the_filters_are_band_passes() -> None:
    filters = aasist_graph.sinc_filters()
    assert filters.shape == (70, 129) and np.allclose(filters, filters[:, ::-1], atol=1e-6)
    response = np.abs(np.fft.rfft(filters, 4096, axis=1))
    peaks = response.argmax(axis=1) / 4096 * 16_000
    assert (np.diff(peaks) >= 0).all() and peaks[0] < 400 and peaks[-1] > 7000


def tiny(path: Path, samples: int | str = 800, outputs: int = 2) -> Path:
    """Logits: 0, and the mean of the window."""
    graph = GraphBuilder()
    graph.add("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=1)
    weights = np.zeros((1, outputs), np.float32)
    weights[0, -1] = 1
    graph.add("MatMul", ["mean", graph.constant("w", weights)], ["y"])
    path.write_bytes(graph.serialise("tiny", ("x", ["N", samples]), ("y", ["N", outputs])))
    return path


def test_any_graph_of_windows_can_be_used(tmp_path: Path) -> None:
    countermeasure = onnx_windows.load(tiny(tmp_path / "tiny.onnx"), {}, "tiny")
    assert countermeasure.seconds == 0.05 and countermeasure.name.startswith("tiny@")
    assert "not known" in countermeasure.error
    sound = np.concatenate([np.full(800, 0.25), np.full(200, -0.5)]).astype(np.float32)
    scores = countermeasure(Audio("a", sound), [Segment(0.0, 0.05), Segment(0.05, 0.0625), Segment(0.0, 0.0625)])
    assert scores.tolist() == pytest.approx([0.25, -0.5, 0.25])  # the short one is repeated, the long one cut
    other = onnx_windows.load(tiny(tmp_path / "t.onnx", "n"), {"window_samples": 400, "bona_fide": 0}, "tiny")
    assert other.seconds == 0.025
    assert other(Audio("a", sound), [Segment(0.0, 0.025)])[0] == pytest.approx(-0.25)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="3 numbers, not 2"):
        onnx_windows.load(tiny(tmp_path / "tiny.onnx", outputs=3), {})
    text = tmp_path / "text.onnx"
    text.write_text("no graph")
    with pytest.raises(ModelRefused, match="not an ONNX graph"):
        onnx_windows.load(text, {})
    with pytest.raises(ModelRefused, match="cannot be read as a checkpoint"):
        onnx_windows.load(text, find_entry("aasist").format)
    with pytest.raises(AudioError, match="8000 Hz"):
        right = onnx_windows.load(tiny(tmp_path / "t.onnx"), {})
        right(Audio("a", np.zeros(800, np.float32), 8000), [Segment(0.0, 0.1)])


@needs_shared
def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    weights = checkpoint.read_archive(FOLDER / "AASIST-L.pth")
    del weights["out_layer.bias"]
    with pytest.raises(KeyError, match=r"out_layer\.bias"):
        aasist_graph.build(weights, find_entry("aasist-l").format)

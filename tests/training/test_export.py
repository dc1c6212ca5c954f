"""Smaller models compute nearly the same, and what cannot be made smaller is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

torch = pytest.importorskip("torch", reason="torch is not installed; the extra train brings it")

from diarize import files  # noqa: E402
from diarize.backends import embedder_ge2e, embedder_onnx  # noqa: E402
from diarize.backends.embedders import campplus  # noqa: E402
from diarize.backends.graphs.builder import GraphBuilder  # noqa: E402
from diarize.config import parse  # noqa: E402
from diarize.errors import ConfigError, ModelRefused  # noqa: E402
from diarize.models.registry import REGISTRY, ModelFile, own_entries  # noqa: E402
from diarize.models.store import Store  # noqa: E402
from diarize.training import card, checkpoints, exporting, shrinking, trunks  # noqa: E402
from diarize.training.architectures.building import build  # noqa: E402
from diarize.types import Audio, Segment  # noqa: E402
from pipelines import plan  # noqa: E402
from pipelines.training.export import export  # noqa: E402
from run_pipeline import main  # noqa: E402
from tests.backends.embedders.test_campplus import random_tensors  # noqa: E402
from tests.training.voices import folder_of_speakers, speech  # noqa: E402


def network(name: str = "xvector") -> Any:
    torch.manual_seed(0)
    result = build(name, 24, 16, 16)
    for _ in range(3):
        result(3 * torch.randn(8, 60, 24))  # batch norms see something
    return result.eval()


def banks(count: int = 10) -> list[Any]:
    rng = np.random.default_rng(0)
    return [(3 * rng.standard_normal((1, 100 + i, 24))).astype(np.float32) for i in range(count)]


@pytest.mark.parametrize("name", ["xvector", "resnet34"])
def test_integers_and_halves_are_near(name: str) -> None:
    original = exporting.export(network(name), 24).model
    for smaller in (shrinking.to_int8(original, banks(), name), shrinking.to_fp16(original, name)):
        assert shrinking.compare(original, smaller, banks()).is_good
        assert len(smaller) < len(original)
    assert shrinking.to_int8(original, banks(), name) == shrinking.to_int8(original, banks(), name)


def test_weights_of_an_lstm_are_stored_as_integers() -> None:
    original = exporting.export(network("speechidentity"), 24).model
    smaller = shrinking.to_int8(original, (), "lstm")
    assert not shrinking.needs_ranges(original) and len(smaller) < 0.6 * len(original)
    assert shrinking.compare(original, smaller, banks()).is_good
    # Each row has its own scale: no weight is off by more than half a step of it.
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(smaller).graph.initializer}
    weights = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(original).graph.initializer
    }
    stored = [name.removesuffix("_scale") for name in values if name.endswith("_scale")]
    assert stored
    for name in stored:
        scale = values[f"{name}_scale"]
        axis = weights[name].shape.index(len(scale))
        scale = scale.reshape([-1 if i == axis else 1 for i in range(weights[name].ndim)])
        assert (np.abs(values[f"{name}_integers"] * scale - weights[name]) <= 0.5001 * scale).all()


def test_a_model_without_weights_is_refused() -> None:
    graph = GraphBuilder()
    graph.add("ReduceMean", ["feats"], ["embs"], axes=[1], keepdims=0)
    with pytest.raises(ModelRefused, match="--fp16"):
        shrinking.to_int8(graph.serialise("mean", ("feats", ["N", "T", 24]), ("embs", ["N", 24])), (), "mean")


def test_an_export_keeps_the_features_of_its_model(tmp_path: Path) -> None:
    """A model of 3D-Speaker computes other filter banks than WeSpeaker's; so does its smaller form in the store."""
    folder = tmp_path / "models" / "campplus-zh-en"
    folder.mkdir(parents=True)
    path = folder / "campplus_cn_en_common.pt"
    torch.save({name: torch.from_numpy(value) for name, value in random_tensors().items()}, path)
    entry = REGISTRY["campplus-zh-en"]
    file = ModelFile(path.name, files.sha256(path), path.stat().st_size)
    store = Store(tmp_path / "models", registry={entry.name: replace(entry, files=(file,))}, offline=True)
    voices = folder_of_speakers(tmp_path / "voices", 3, 2)
    report = export(entry.name, tmp_path / "a.onnx", store, "int8", voices, "small")
    assert report.after < report.before
    audio, whole = Audio("a", speech(1, 0), 16_000, "0" * 64), [Segment(0, 1.5)]
    original = campplus.load(path, entry.format)
    for smaller in (
        embedder_onnx.load(tmp_path / "a.onnx"),  # by its metadata
        embedder_onnx.load(
            tmp_path / "models" / "small" / card.MODEL, own_entries(tmp_path / "models")["small"].format
        ),
    ):
        assert "povey" in smaller.name and "sample_scale=1.0" in smaller.name
        cosine = float((smaller(audio, whole).vectors[0] * original(audio, whole).vectors[0]).sum())
        assert cosine > 0.95


def test_ge2e_is_exported_and_runs_in_its_own_backend(two_embedders: Store, tmp_path: Path) -> None:
    store = Store(tmp_path / "models", offline=True)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "ge2e").symlink_to(two_embedders.path("ge2e").parent)
    report = export("ge2e", tmp_path / "int8.onnx", store, "int8", None, "ge2e-int8")
    assert report.fidelity.is_good and report.after < 0.3 * export("ge2e", tmp_path / "float.onnx", store).after
    audio, whole = Audio("a", speech(1, 0), 16_000, "0" * 64), [Segment(0, 1.5), Segment(0.2, 1.4)]
    original = embedder_ge2e.load(store.path("ge2e"))(audio, whole).vectors
    exact = embedder_onnx.load(tmp_path / "float.onnx")(audio, whole)
    assert np.abs(exact.vectors - original).max() < 1e-5
    choice = plan.make(parse({"embedder": {"backend": "ge2e-int8"}, "vad": {"backend": "energy"}}, "test"), store).embed
    assert choice is not None and choice.name == "ge2e"
    for smaller in (embedder_onnx.load(tmp_path / "int8.onnx"), choice.load(1)):
        assert ((smaller(audio, whole).vectors * original).sum(axis=1) > 0.995).all()
    (tmp_path / "cut.onnx").write_bytes((tmp_path / "int8.onnx").read_bytes()[:5000])
    with pytest.raises(ModelRefused):
        embedder_ge2e.load(tmp_path / "cut.onnx")


@pytest.mark.parametrize("name", ["ge2e", "community-1-embedding", "campplus-zh-en"])
def test_real_models_in_8_bits_run_through_process(two_embedders: Store, tmp_path: Path, name: str) -> None:
    store = two_embedders
    if store.find(name) is None:  # 81 MB to download, so only where the user has it
        pytest.skip(f"{name} is not in the model store")
    voices = folder_of_speakers(tmp_path / "voices", 6, 3)
    report = export(name, tmp_path / "int8.onnx", store, "int8", voices)
    assert (
        report.after < (1.6 if name == "community-1-embedding" else 0.35) * report.before
    )  # whose weights have 8 bits
    recording = Path(__file__).parents[2] / "examples" / "conversation.flac"
    options = ["--embedder", str(tmp_path / "int8.onnx"), "--vad", "energy", "--asr", "none", "--segmentation", "none"]
    assert main(["process", str(recording), "--out", str(tmp_path / "out"), *options, "--offline", "-q"]) == 0
    transcript = json.loads((tmp_path / "out" / "conversation" / "transcript.json").read_text())
    assert len({turn["speaker"] for turn in transcript["turns"]}) == 4


def test_export_of_a_training_and_of_its_onnx_file(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    model = {"architecture": "xvector", "channels": 16, "dimension": 16, "bins": 24}
    checkpoints.save(weights, checkpoints.flatten("network", network()), {"model": model, "licence": "MIT"})
    store = Store(tmp_path / "models", offline=True)
    report = export(str(weights), tmp_path / "a.onnx", store)
    assert report.fidelity.difference < 1e-5
    voices = folder_of_speakers(tmp_path / "voices", 3, 2)
    report = export(str(tmp_path / "a.onnx"), tmp_path / "b.onnx", store, "int8", voices, "small")
    assert report.after < report.before and report.in_store == tmp_path / "models" / "small"
    for path, format in ((tmp_path / "b.onnx", None), (store.path("small"), store.registry["small"].format)):
        embedder = embedder_onnx.load(path, format)
        rows = embedder(Audio("a", speech(1, 0), 16_000, "0" * 64), [Segment(0, 1.5)])
        assert rows.vectors.shape == (1, 16)
    with pytest.raises(ConfigError, match="--calibration"):
        export(str(tmp_path / "a.onnx"), tmp_path / "c.onnx", store, "int8")
    with pytest.raises(ModelRefused, match="no checkpoint"):
        (tmp_path / "cut.safetensors").write_bytes(weights.read_bytes()[:-9])
        export(str(tmp_path / "cut.safetensors"), tmp_path / "c.onnx", store)
    assert not (tmp_path / "c.onnx").exists()


def test_community_1_with_one_input_computes_the_same(two_embedders: Store) -> None:
    from diarize.backends import onnx_sessions
    from diarize.backends.graphs import ort_format

    path = two_embedders.path("community-1-embedding")
    inputs = (3 * np.random.default_rng(0).standard_normal((1, 96, 80))).astype(np.float32)
    whole = onnx_sessions.open_session(ort_format.load(path).SerializeToString())
    names = [value.name for value in whole.get_inputs()]
    expected = whole.run(None, dict(zip(names, (inputs, np.ones((1, 96), np.float32)), strict=True)))[0]
    actual = onnx_sessions.open_session(trunks.community1(path)).run(None, {"fbank": inputs})[0]
    assert np.abs(exporting.unit_rows(actual) - exporting.unit_rows(expected)).max() < 1e-5

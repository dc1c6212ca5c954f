"""Smaller models compute nearly the same, and what cannot be made smaller is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; the extra train brings it")

from diarize.backends import embedder_onnx  # noqa: E402
from diarize.errors import ConfigError, ModelRefused  # noqa: E402
from diarize.models.store import Store  # noqa: E402
from diarize.training import checkpoints, exporting, shrinking, trunks  # noqa: E402
from diarize.training.architectures.building import build  # noqa: E402
from diarize.types import Audio, Segment  # noqa: E402
from pipelines.training.export import export  # noqa: E402
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


def test_an_lstm_has_nothing_for_integers() -> None:
    with pytest.raises(ModelRefused, match="only convolutions are"):
        shrinking.to_int8(exporting.export(network("speechidentity"), 24).model, banks(), "lstm")


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

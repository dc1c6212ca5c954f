"""CAM++: the graph against the network written down in torch, and files that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from diarize.backends import onnx_sessions
from diarize.backends.embedders import campplus
from diarize.backends.graphs.campplus import BLOCKS, build
from diarize.errors import ModelRefused
from diarize.models.registry import REGISTRY
from diarize.types import Audio, Segment
from tests.backends.sounds import noise

torch = pytest.importorskip("torch")
from torch.nn import functional  # noqa: E402

CHANNELS, FIRST, GROWTH, HIDDEN, DIMENSION = 2, 8, 4, 6, 5


def random_tensors() -> dict[str, NDArray[np.float32]]:
    """Weights of a narrow CAM++."""
    rng = np.random.default_rng(3)
    tensors: dict[str, NDArray[np.float32]] = {}

    def weight(name: str, *shape: int, bias: bool = False) -> None:
        size = np.sqrt(np.prod(shape[1:]))
        tensors[f"{name}.weight"] = (rng.standard_normal(shape) / size).astype(np.float32)
        if bias:
            tensors[f"{name}.bias"] = rng.standard_normal(shape[0]).astype(np.float32)

    def norm(name: str, size: int, affine: bool = True) -> None:
        tensors[f"{name}.running_mean"] = rng.standard_normal(size).astype(np.float32)
        tensors[f"{name}.running_var"] = rng.uniform(0.5, 2, size).astype(np.float32)
        for part in ("weight", "bias") if affine else ():
            tensors[f"{name}.{part}"] = rng.uniform(0.5, 2, size).astype(np.float32)

    weight("head.conv1", CHANNELS, 1, 3, 3)
    norm("head.bn1", CHANNELS)
    for block in ("layer1.0", "layer1.1", "layer2.0", "layer2.1"):
        for i in (1, 2):
            weight(f"head.{block}.conv{i}", CHANNELS, CHANNELS, 3, 3)
            norm(f"head.{block}.bn{i}", CHANNELS)
        if block.endswith("0"):
            weight(f"head.{block}.shortcut.0", CHANNELS, CHANNELS, 1, 1)
            norm(f"head.{block}.shortcut.1", CHANNELS)
    weight("head.conv2", CHANNELS, CHANNELS, 3, 3)
    norm("head.bn2", CHANNELS)
    weight("xvector.tdnn.linear", FIRST, 10 * CHANNELS, 5)
    norm("xvector.tdnn.nonlinear.batchnorm", FIRST)
    width = FIRST
    for number, (layers, _) in enumerate(BLOCKS, 1):
        for layer in range(1, layers + 1):
            name = f"xvector.block{number}.tdnnd{layer}"
            norm(f"{name}.nonlinear1.batchnorm", width)
            weight(f"{name}.linear1", HIDDEN, width, 1)
            norm(f"{name}.nonlinear2.batchnorm", HIDDEN)
            weight(f"{name}.cam_layer.linear_local", GROWTH, HIDDEN, 3)
            weight(f"{name}.cam_layer.linear1", HIDDEN // 2, HIDDEN, 1, bias=True)
            weight(f"{name}.cam_layer.linear2", GROWTH, HIDDEN // 2, 1, bias=True)
            width += GROWTH
        norm(f"xvector.transit{number}.nonlinear.batchnorm", width)
        weight(f"xvector.transit{number}.linear", width // 2, width, 1)
        width //= 2
    norm("xvector.out_nonlinear.batchnorm", width)
    weight("xvector.dense.linear", DIMENSION, 2 * width, 1)
    norm("xvector.dense.nonlinear.batchnorm", DIMENSION, affine=False)
    return tensors


def reference(tensors: dict[str, Any], banks: Any) -> Any:
    """The network as its paper describes it, with the functions of torch: (N, T, 80) -> (N, d)."""
    t = {name: torch.from_numpy(value) for name, value in tensors.items()}

    def norm(x: Any, name: str) -> Any:
        parts = (t[f"{name}.running_mean"], t[f"{name}.running_var"], t.get(f"{name}.weight"), t.get(f"{name}.bias"))
        return functional.batch_norm(x, *parts)

    def residual(x: Any, name: str, stride: int) -> Any:
        y = functional.conv2d(x, t[f"{name}.conv1.weight"], None, (stride, 1), 1)
        y = functional.conv2d(norm(y, f"{name}.bn1").relu(), t[f"{name}.conv2.weight"], None, 1, 1)
        if stride > 1:
            x = norm(functional.conv2d(x, t[f"{name}.shortcut.0.weight"], None, (2, 1)), f"{name}.shortcut.1")
        return (norm(y, f"{name}.bn2") + x).relu()

    x = norm(functional.conv2d(banks.transpose(1, 2)[:, None], t["head.conv1.weight"], None, 1, 1), "head.bn1").relu()
    for name, stride in (("layer1.0", 2), ("layer1.1", 1), ("layer2.0", 2), ("layer2.1", 1)):
        x = residual(x, f"head.{name}", stride)
    x = norm(functional.conv2d(x, t["head.conv2.weight"], None, (2, 1), 1), "head.bn2").relu().flatten(1, 2)
    x = functional.conv1d(x, t["xvector.tdnn.linear.weight"], None, 2, 2)
    x = norm(x, "xvector.tdnn.nonlinear.batchnorm").relu()
    for number, (layers, dilation) in enumerate(BLOCKS, 1):
        for layer in range(1, layers + 1):
            name = f"xvector.block{number}.tdnnd{layer}"
            y = norm(x, f"{name}.nonlinear1.batchnorm").relu()
            y = norm(functional.conv1d(y, t[f"{name}.linear1.weight"]), f"{name}.nonlinear2.batchnorm").relu()
            out = functional.conv1d(y, t[f"{name}.cam_layer.linear_local.weight"], None, 1, dilation, dilation)
            means = functional.avg_pool1d(y, 100, 100, ceil_mode=True).repeat_interleave(100, 2)[..., : y.shape[2]]
            mask = y.mean(2, keepdim=True) + means
            for part in ("linear1", "linear2"):
                weights = (t[f"{name}.cam_layer.{part}.{kind}"] for kind in ("weight", "bias"))
                mask = functional.conv1d(mask, *weights)
                mask = mask.relu() if part == "linear1" else mask.sigmoid()
            x = torch.cat([x, out * mask], 1)
        x = norm(x, f"xvector.transit{number}.nonlinear.batchnorm").relu()
        x = functional.conv1d(x, t[f"xvector.transit{number}.linear.weight"])
    x = norm(x, "xvector.out_nonlinear.batchnorm").relu()
    x = torch.cat([x.mean(2), x.std(2)], 1)[..., None]
    return norm(functional.conv1d(x, t["xvector.dense.linear.weight"]), "xvector.dense.nonlinear.batchnorm")[..., 0]


@pytest.mark.parametrize("frames", [9, 199, 200, 201, 430])
def test_the_graph_computes_what_torch_computes(frames: int) -> None:
    tensors = random_tensors()
    banks = np.random.default_rng(frames).standard_normal((2, frames, 80)).astype(np.float32)
    (vectors,) = onnx_sessions.open_session(build(tensors)).run(None, {"feats": banks})
    expected = reference(tensors, torch.from_numpy(banks)).numpy()
    assert vectors.shape == (2, DIMENSION)
    assert np.abs(vectors - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_checkpoint_is_an_embedder(tmp_path: Path) -> None:
    path = tmp_path / "campplus.pt"
    tensors = {name: torch.from_numpy(value) for name, value in random_tensors().items()}
    torch.save(tensors, path)
    embed = campplus.load(path, REGISTRY["campplus-zh-en"].format)
    segments = [Segment(0.0, 2.0), Segment(0.5, 0.6), Segment(0.0, 2.0)]
    rows = embed(Audio("a", noise(2.0).astype(np.float32)), segments)
    assert rows.vectors.shape == (3, DIMENSION) and rows.model == embed.name and "povey" in embed.name
    assert np.allclose(np.linalg.norm(rows.vectors, axis=1), 1, atol=1e-5)
    assert np.allclose(rows.vectors[0], rows.vectors[2], atol=1e-6)
    torch.save({name: value for name, value in tensors.items() if "transit2.linear" not in name}, path)
    with pytest.raises(ModelRefused, match=r"lacks the tensor 'xvector\.transit2\.linear\.weight' of CAM\+\+"):
        campplus.load(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelRefused, match="checkpoint"):
        campplus.load(path)

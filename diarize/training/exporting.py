"""A network in torch -> ONNX with any number of items and frames, checked against the original."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from diarize.backends import onnx_sessions
from diarize.errors import ModelRefused

OPSET = 17
TOLERANCE = 1e-5  # largest difference of two components, of vectors of unit length
_SIZES = ((1, 98), (3, 51), (2, 400))  # (items, frames) that are compared


@dataclass(frozen=True, slots=True, eq=False)
class Exported:
    model: bytes
    difference: float  # the largest of any component, of vectors of unit length


def export(network: Any, bins: int, metadata: Mapping[str, str] | None = None) -> Exported:
    """A network with filter banks (N, T, bins) in and vectors (N, d) out, as an ONNX model.

    `metadata` is written into the file, beside the keys by which `backends.embedder_onnx` knows the filter banks.
    Raises ModelRefused where the ONNX model computes something else.
    """
    network.eval()
    memory = io.BytesIO()
    example = torch.zeros(2, 200, bins)
    axes = {"feats": {0: "N", 1: "T"}, "embs": {0: "N"}}
    with warnings.catch_warnings(), torch.inference_mode():
        # The exporter by tracing, which needs no further package; its successor needs onnxscript.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.cpu(), (example,), memory, dynamo=False, opset_version=OPSET,
            input_names=["feats"], output_names=["embs"], dynamic_axes=axes,
        )  # fmt: skip
    model = _annotate(memory.getvalue(), bins, metadata or {})
    difference = compare(network, model, bins)
    if difference > TOLERANCE:
        raise ModelRefused("the exported model", f"its vectors differ by {difference:.1e} from those of the original")
    return Exported(model, difference)


def compare(network: Any, model: bytes, bins: int, seed: int = 0) -> float:
    """Largest difference of components of unit vectors, over inputs of several sizes."""
    session = onnx_sessions.open_session(model)
    rng = np.random.default_rng(seed)
    worst = 0.0
    for size in _SIZES:
        banks = (3 * rng.standard_normal((*size, bins))).astype(np.float32)
        with torch.inference_mode():
            expected = unit_rows(network(torch.from_numpy(banks)).numpy())
        actual = unit_rows(session.run(None, {session.get_inputs()[0].name: banks})[-1])
        worst = max(worst, float(np.abs(expected - actual).max()))
    return worst


def unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)


def _annotate(model: bytes, bins: int, metadata: Mapping[str, str]) -> bytes:
    import onnx

    graph = onnx.load_from_string(model)
    values = {
        "framework": "wespeaker", "sample_rate": "16000", "feat_dim": str(bins), "normalize_samples": "0",
        "feature_normalize_type": "global-mean", "producer": "diarize-pipeline", **metadata,
    }  # fmt: skip
    for key, value in values.items():
        graph.metadata_props.add(key=key, value=value)
    return bytes(graph.SerializeToString(deterministic=True))

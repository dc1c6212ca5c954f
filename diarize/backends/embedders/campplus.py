"""CAM++ from a checkpoint of 3D-Speaker (Apache-2.0): its tensors become an ONNX graph, as PyTorch is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diarize.backends import onnx_sessions
from diarize.backends.embedder_onnx import Onnx, features_of
from diarize.backends.graphs import campplus
from diarize.errors import ModelRefused
from diarize.files import sha256
from diarize.models import checkpoint


def load(
    model: Path, format: Mapping[str, Any] | None = None, batch: int = 16, device: str = "cpu", threads: int = 0
) -> Onnx:
    """The embedder whose weights are the checkpoint `model`; `format` describes its filter banks.

    Raises ModelRefused if the file is another one, BackendError for a device that cannot be used.
    """
    session = onnx_sessions.open_session(graph(model), device, "campplus")
    features = features_of(format or {}, {"framework": "3d-speaker", "normalize_samples": "1"})
    name = f"campplus@{sha256(model)[:16]}"
    return Onnx(session, name, features, batch, onnx_sessions.count_threads(threads))


def graph(model: Path) -> bytes:
    """The ONNX graph of a checkpoint. Raises ModelRefused."""
    try:
        return campplus.build(checkpoint.read_archive(model))
    except KeyError as error:
        raise ModelRefused(str(model), f"it lacks the tensor {error} of CAM++") from error

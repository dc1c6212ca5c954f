"""Smaller files of a model: 8-bit integers, or weights in 16-bit floats. No torch is needed.

int8    convolutions in integers, one scale a channel, ranges of values measured on recordings
        (`backends.graphs.quantisation`): a quarter of the size, and faster. Of a network without convolutions, weights
        stored as integers, one scale a row, and computed in floating point: a quarter of the size, as fast as before
fp16    weights stored as 16-bit floats and computed in 32: half the size, as fast as before. Processors have no
        fast 16-bit arithmetic for it
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.backends import onnx_sessions
from diarize.backends.graphs import quantisation, ranges
from diarize.errors import ModelRefused

LEAST_HALVED = 256  # numbers of a constant; smaller ones stay as they are
_MOVES = {"Flatten", "Gemm", "Identity", "MatMul", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
LARGEST_HALF = 65_504.0
LEAST_COSINE = 0.995  # of a vector to that of the original, mean over recordings, for a model to be good
MOST_DRIFT = 0.02  # mean change of the similarity of two recordings

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How near the vectors of a smaller model are to those of the original."""

    difference: float  # the largest of a component, of unit vectors
    cosine: float  # mean
    lowest: float  # cosine
    drift: float  # mean change of the similarities of two inputs

    @property
    def is_good(self) -> bool:
        return self.cosine >= LEAST_COSINE and self.drift <= MOST_DRIFT


def to_int8(
    model: bytes,
    banks: Iterable[Floats],
    name: str,
    known: Mapping[str, quantisation.Range] | None = None,
    exact: Collection[str] = (),
) -> bytes:
    """A model of one input in 8-bit integers, with `known` ranges, or measured on `banks`, inputs (n, T, bins) of it.

    Convolutions with the weights `exact` (names) stay in floating point.
    Of a network without convolutions the weights of LSTMs and linear layers. Raises ModelRefused where it has none of
    them, or another form.
    """
    import onnx

    graph = onnx.load_from_string(model)
    if len(graph.graph.input) != 1:
        raise ModelRefused(name, f"it has {len(graph.graph.input)} inputs; a model of one input can be quantised")
    if not quantisation.ranges_needed(graph):
        return _integer_weights(graph, name)
    if known is None:
        histograms = ranges.measure(graph, banks, onnx_sessions.open_session, exact)
        known = {value: histogram.range(ranges.TAIL) for value, histogram in histograms.items()}
    result = onnx.load_from_string(quantisation.quantise(graph, _not_below_zero(graph, known), name, exact))
    result.metadata_props.extend(graph.metadata_props)
    return bytes(result.SerializeToString(deterministic=True))


def needs_ranges(model: bytes) -> bool:
    """Whether values of a model are computed in integers, so that recordings or known ranges are needed."""
    import onnx

    return bool(quantisation.ranges_needed(onnx.load_from_string(model)))


def _integer_weights(graph: Any, name: str) -> bytes:
    """The weights of LSTMs and linear layers as integers from -127 to 127, with one scale for each row of a gate or an
    output. Runtimes turn them back when they open the file. Layers that read the input itself stay as they are: its
    range is wide, and they are small. Raises ModelRefused where there are none."""
    from onnx import helper, numpy_helper

    raw = {value.name for value in graph.graph.input}  # the input, moved and projected
    axes: dict[str, int] = {}  # name of a weight -> the axis of its rows
    for node in graph.graph.node:
        if node.op_type in _MOVES and raw.intersection(node.input):
            raw.update(node.output)
        elif node.op_type == "LSTM":  # (directions, 4 H, inputs); a scale serves both directions
            axes |= dict.fromkeys(node.input[2 if node.input[0] in raw else 1 : 3], 1)
        elif node.op_type == "Gemm":
            rows = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            axes[node.input[1]] = 0 if rows else 1
        elif node.op_type == "MatMul":
            axes[node.input[1]] = 1
    stored = []
    for tensor in [t for t in graph.graph.initializer if t.name in axes]:
        values, axis = numpy_helper.to_array(tensor), axes[tensor.name]
        if not np.isfinite(values).all():
            raise ModelRefused(name, f"its weights {tensor.name!r} are not finite")
        others = tuple(i for i in range(values.ndim) if i != axis)
        scale = np.maximum(np.abs(values).max(axis=others, keepdims=True) / 127, 1e-12).astype(np.float32)
        integers = np.rint(values / scale).astype(np.int8)
        parts = (("integers", integers), ("scale", scale.ravel()))
        names = [f"{tensor.name}_{part}" for part, _ in parts]
        stored.append(helper.make_node("DequantizeLinear", names, [tensor.name], axis=axis))
        graph.graph.initializer.extend(numpy_helper.from_array(value, f"{tensor.name}_{part}") for part, value in parts)
        graph.graph.initializer.remove(tensor)
    if not stored:
        raise ModelRefused(name, "none of its layers is computed or stored in 8-bit integers", "Use --fp16.")
    nodes = [*stored, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    return bytes(graph.SerializeToString(deterministic=True))


def _not_below_zero(graph: Any, measured: Mapping[str, quantisation.Range]) -> dict[str, quantisation.Range]:
    """The ranges, of results of ReLUs from exactly zero on."""
    relus = {node.output[0] for node in graph.graph.node if node.op_type == "Relu"}
    return {name: (max(low, 0.0), high) if name in relus else (low, high) for name, (low, high) in measured.items()}


def to_fp16(model: bytes, name: str) -> bytes:
    """A model whose weights are stored as 16-bit floats. Raises ModelRefused where one is too large for that."""
    import onnx
    from onnx import helper, numpy_helper

    graph = onnx.load_from_string(model)
    casts = []
    for tensor in graph.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < LEAST_HALVED:
            continue
        if not np.isfinite(values).all() or np.abs(values).max() > LARGEST_HALF:
            raise ModelRefused(name, f"its weights {tensor.name!r} are too large for 16 bits")
        stored = f"{tensor.name}_fp16"
        casts.append(helper.make_node("Cast", [stored], [tensor.name], to=onnx.TensorProto.FLOAT))
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
    nodes = [*casts, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    return bytes(graph.SerializeToString(deterministic=True))


def with_metadata(model: bytes, values: Mapping[str, str]) -> bytes:
    """The model with `values` in its metadata, by which `backends.embedder_onnx` knows its input."""
    import onnx

    graph = onnx.load_from_string(model)
    for key, value in values.items():
        graph.metadata_props.add(key=key, value=value)
    return bytes(graph.SerializeToString(deterministic=True))


def compare(original: bytes, smaller: bytes, banks: Sequence[Floats]) -> Fidelity:
    """Fidelity over inputs; the vector of an input of several items is their mean."""
    a, b = (_vectors(model, banks) for model in (original, smaller))
    cosines = (a * b).sum(axis=1)
    drift = np.abs(a @ a.T - b @ b.T)[np.triu_indices(len(a), 1)] if len(a) > 1 else np.zeros(1)
    return Fidelity(float(np.abs(a - b).max()), float(cosines.mean()), float(cosines.min()), float(drift.mean()))


def milliseconds(model: bytes, banks: Floats, seconds: float, threads: int = 1, repeats: int = 10) -> float:
    """ms for a second of audio, without features: the best of some runs on `banks`, of `seconds`, in each thread."""
    session = onnx_sessions.open_session(model)
    name = session.get_inputs()[0].name
    times = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(repeats):
            begun = time.perf_counter()
            list(pool.map(lambda _: session.run(None, {name: banks}), range(threads)))
            times.append(time.perf_counter() - begun)
    return 1000 * min(times) / seconds / threads


def _vectors(model: bytes, banks: Sequence[Floats]) -> Floats:
    session = onnx_sessions.open_session(model)
    name = session.get_inputs()[0].name
    rows = np.stack([session.run(None, {name: each})[-1].mean(axis=0) for each in banks])
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)

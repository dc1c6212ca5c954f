"""Models of the store in other forms, as ONNX with one input: filter banks (N, T, 80) -> vectors (N, d)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from diarize.backends import onnx_sessions
from diarize.backends.embedder_community1 import BIAS, FRAMES, WEIGHT
from diarize.backends.graphs import ort_format
from diarize.errors import ModelRefused


def community1(path: Path) -> bytes:
    """The embedding of community-1: its convolutions, and mean and unbiased deviation over all frames, each counting
    the same. `process` itself weights frames by who talks, and computes them once for all windows: with the exported
    model that is not done. Raises ModelRefused."""
    import onnx
    from onnx import helper, numpy_helper

    source = ort_format.load(path)
    model = onnx.load_from_string(ort_format.extract(source, str(path), [FRAMES]))
    (weight,) = onnx_sessions.open_session(ort_format.extract(source, str(path), [WEIGHT])).run(None, {})
    bias = next((tensor for tensor in source.graph.initializer if tensor.name == BIAS), None)
    if bias is None:
        raise ModelRefused(str(path), f"it has no weights called {BIAS!r}")
    graph = model.graph

    def constant(name: str, value: Any, kind: Any = np.float32) -> str:
        graph.initializer.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def add(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        graph.node.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    # Statistics over the last axis, time: mean, and the root of sum of squares / (count - 1).
    mean = add("ReduceMean", [FRAMES], "pool_mean", axes=[2], keepdims=1)
    squares = add("Mul", [add("Sub", [FRAMES, mean], "pool_centred"), "pool_centred"], "pool_squares")
    total = add("ReduceSum", [squares, constant("pool_axis", [2], np.int64)], "pool_total", keepdims=0)
    length = add("Gather", [add("Shape", [FRAMES], "pool_shape"), constant("pool_last", 2, np.int64)], "pool_length")
    freedom = add("Sub", [add("Cast", [length], "pool_count", to=1), constant("pool_one", 1.0)], "pool_freedom")
    deviation = add("Sqrt", [add("Div", [total, freedom], "pool_variance")], "pool_deviation")
    flat = add("Squeeze", [mean, "pool_axis"], "pool_flat")
    joined = add("Concat", [flat, deviation], "pool_joined", axis=1)
    add("Gemm", [joined, constant("pool_weight", weight), constant("pool_bias", numpy_helper.to_array(bias))],
        "embs", transB=1)  # fmt: skip
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("embs", onnx.TensorProto.FLOAT, ["N", len(weight)]))
    del graph.input[0].type.tensor_type.shape.dim[:]
    for size in ("N", "T", 80):
        dim = graph.input[0].type.tensor_type.shape.dim.add()
        if isinstance(size, str):
            dim.dim_param = size
        else:
            dim.dim_value = size
    return bytes(model.SerializeToString(deterministic=True))

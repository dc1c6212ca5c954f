"""ONNX graphs that this project writes itself, node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class GraphBuilder:
    """An ONNX graph with one input and one output, node by node."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant; returns its name."""
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, kind: str, inputs: Sequence[str], outputs: Sequence[str] = (), **attributes: Any) -> str:
        """Add a node; returns the name of its first output."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, outputs or [f"{kind}{len(self.nodes)}"], **attributes))
        return str(self.nodes[-1].output[0])

    def serialise(self, name: str, input: tuple[str, list[Any]], output: tuple[str, list[Any]]) -> bytes:
        """The graph as a model file's bytes. `input` and `output` are (name, shape), both float32."""
        import onnx
        from onnx import helper

        values = [[helper.make_tensor_value_info(key, onnx.TensorProto.FLOAT, shape)] for key, shape in (input, output)]
        graph = helper.make_graph(self.nodes, name, *values, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        return bytes(model.SerializeToString())

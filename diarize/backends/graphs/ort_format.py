"""ONNX graphs from files in ONNX Runtime's own format (`.ort`), which only ONNX Runtime can run and nothing can change.

The format is a flatbuffer: https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/flatbuffers/schema/ort.fbs
It holds the nodes, attributes and initializers of a graph that was optimized once. The Python code that reads the
buffer is part of onnxruntime; it checks nothing, so all sizes are checked here.

Rebuilt as ONNX, a graph can show inner values as outputs, and ONNX Runtime optimizes it again for this processor:
weights that are stored as 8-bit integers become floating point once, not in each run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from diarize.errors import BackendError, ModelRefused

IDENTIFIER = b"ORTM"  # bytes 4 to 8 of each such file
DEEPEST = 8  # graphs inside graphs
LARGEST = 1 << 30  # bytes of a file; the largest that this project reads has 30 MB
_DIMENSIONS = 64  # of one tensor
_BINDINGS = "ort_flatbuffers_py"  # the name under which the modules of the bindings import each other


def load(path: Path) -> Any:
    """The model of an `.ort` file as an onnx.ModelProto.

    Memory is at most a few times the size of the file. Raises ModelRefused for any other file.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ModelRefused(str(path), f"it has more than {LARGEST >> 20} MiB")
        data = path.read_bytes()
    except OSError as error:
        raise ModelRefused(str(path), f"it cannot be read ({error.strerror})") from error
    return convert(data, str(path))


def is_ort(path: Path) -> bool:
    """Whether a file says at its beginning that it is in this format. Raises OSError if it cannot be read."""
    with path.open("rb") as file:
        return file.read(8)[4:] == IDENTIFIER


def convert(data: bytes, name: str) -> Any:
    """As `load`, of the content of a file; `name` is for the error message."""
    if data[4:8] != IDENTIFIER:
        raise ModelRefused(name, "it is not a model in ORT format", "Use a file that ends in .ort")
    _import_bindings()
    try:
        return _Reader(data).model()
    except _Refused as error:
        raise ModelRefused(name, str(error)) from error
    except Exception as error:  # the bindings read positions and sizes unchecked: any error is possible
        raise ModelRefused(name, "it is truncated, or damaged in another way", "Copy or download it again.") from error


def cut(model: Any, name: str, outputs: Sequence[str] = (), branch: str = "") -> bytes:
    """A serialized model with other outputs and without alternatives; `model` does not change.

    `outputs` are names of inner values that become outputs, after those of the graph. `branch` ("then_branch",
    "else_branch"): the one If node of the graph is replaced by this branch of it, and inputs of the graph that nothing
    uses any more are left out. Raises ModelRefused, about the model
    called `name`, if the graph has no such node or value.
    """
    import onnx

    result = onnx.ModelProto()
    result.CopyFrom(model)
    try:
        if branch:
            _keep_branch(result.graph, branch)
        _add_outputs(result.graph, outputs)
    except _Refused as error:
        raise ModelRefused(name, str(error)) from error
    return bytes(result.SerializeToString())


def extract(model: Any, name: str, outputs: Sequence[str], branch: str = "") -> bytes:
    """As `cut`, but `outputs` become the only outputs: nodes, weights and inputs that they do not need are left out."""
    import onnx

    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    try:
        if branch:
            _keep_branch(graph, branch)
        del graph.output[:]
        _add_outputs(graph, outputs)
    except _Refused as error:
        raise ModelRefused(name, str(error)) from error
    used, nodes = set(outputs), []
    for node in reversed(graph.node):  # each stands after those whose outputs it uses
        if used.intersection(node.output):
            nodes.append(node)
            used |= _used_names(onnx.GraphProto(node=[node])) - {""}  # "": an optional input that is left out
    for values, chosen in (
        (graph.node, nodes[::-1]),
        (graph.initializer, [tensor for tensor in graph.initializer if tensor.name in used]),
        (graph.input, [value for value in graph.input if value.name in used]),
    ):
        del values[:]
        values.extend(chosen)
    return bytes(result.SerializeToString())


class _Refused(Exception):
    """The buffer is well-formed and holds what this reader refuses."""


def _import_bindings() -> None:
    """Make the bindings that onnxruntime carries importable.

    Its own module for this, onnxruntime.tools.ort_format_model, imports torch where torch is installed: seconds, and
    hundreds of megabytes. Raises BackendError if this onnxruntime has no bindings.
    """
    if _BINDINGS in sys.modules:
        return
    runtime = find_spec("onnxruntime")
    for root in (runtime.submodule_search_locations or ()) if runtime else ():
        folder = Path(root) / "tools" / "ort_format_model" / _BINDINGS
        spec = spec_from_file_location(_BINDINGS, folder / "__init__.py", submodule_search_locations=[str(folder)])
        if folder.is_dir() and spec is not None and spec.loader is not None:
            sys.modules[_BINDINGS] = module_from_spec(spec)
            return spec.loader.exec_module(sys.modules[_BINDINGS])
    raise BackendError("This onnxruntime cannot read .ort files. Install the package onnxruntime as PyPI has it.")


class _Reader:
    """Reads one buffer.

    Tables of a flatbuffer may be shared, so a small file can describe very much. Elements and bytes that were read are
    counted, and a model has no more of either than its file has bytes.
    """

    def __init__(self, data: bytes) -> None:
        self._fbs = import_module(f"{_BINDINGS}.fbs.InferenceSession")
        self._data = data
        self._elements = self._bytes = len(data)
        self._domains: set[str] = set()

    def model(self) -> Any:
        """The ModelProto. Raises any exception if the buffer is damaged."""
        import onnx

        session = self._fbs.InferenceSession.GetRootAs(self._data, 0)
        model = session.Model()
        if model is None or model.Graph() is None:
            raise _Refused("it holds no graph")
        graph = self._graph(model.Graph(), 0)
        result = onnx.ModelProto(ir_version=min(max(model.IrVersion(), 3), 10), producer_name="diarize", graph=graph)
        versions = {
            _text(entry.Domain()): entry.Version() for entry in self._list(model.OpsetImport, model.OpsetImportLength())
        }
        for domain in sorted(self._domains):
            if domain not in versions:
                raise _Refused(f"it uses operators of {domain or 'ONNX'!r} in no version")
            result.opset_import.add(domain=domain, version=versions[domain])
        return result

    def _list(self, element: Callable[[int], Any], length: int) -> Iterator[Any]:
        self._elements -= length
        if length < 0 or self._elements < 0:
            raise _Refused("it describes more than its size allows")
        return (element(i) for i in range(length))

    def _names(self, element: Callable[[int], Any], length: int) -> list[str]:
        names = [_text(name) for name in self._list(element, length)]
        self._count_bytes(sum(map(len, names)))
        return names

    def _count_bytes(self, size: int) -> None:
        self._bytes -= size
        if self._bytes < 0:
            raise _Refused("it describes more than its size allows")

    def _graph(self, graph: Any, depth: int) -> Any:
        import onnx

        if depth > DEEPEST:
            raise _Refused(f"it has graphs in graphs, more than {DEEPEST} deep")
        if graph.SparseInitializersLength():
            raise _Refused("it has sparse weights")
        result = onnx.GraphProto(name="graph")
        result.initializer.extend(
            [self._tensor(tensor) for tensor in self._list(graph.Initializers, graph.InitializersLength())]
        )
        # ONNX Runtime infers the types of all other values again.
        inputs = self._names(graph.Inputs, graph.InputsLength())
        outputs = self._names(graph.Outputs, graph.OutputsLength())
        values = self._list(graph.NodeArgs, graph.NodeArgsLength())
        types = {name: value for value in values if (name := _text(value.Name())) in {*inputs, *outputs}}
        result.input.extend([self._value(name, types.get(name)) for name in inputs])
        result.output.extend([self._value(name, types.get(name)) for name in outputs])
        nodes = [self._node(node, depth) for node in self._list(graph.Nodes, graph.NodesLength())]
        outer = [*(tensor.name for tensor in result.initializer), *(value.name for value in result.input)]
        result.node.extend(_sorted_nodes(nodes, outer))
        return result

    def _node(self, node: Any, depth: int) -> tuple[Any, list[str]]:
        """A NodeProto, and the names of outer values that its graphs use."""
        import onnx

        if node.Type() != 0:
            raise _Refused("it holds a node that was compiled for another runtime")
        domain = _text(node.Domain())
        self._domains.add(domain)
        result = onnx.NodeProto(name=_text(node.Name()), op_type=_text(node.OpType()), domain=domain)
        result.input.extend(self._names(node.Inputs, node.InputsLength()))
        result.output.extend(self._names(node.Outputs, node.OutputsLength()))
        result.attribute.extend(
            [self._attribute(attribute, depth) for attribute in self._list(node.Attributes, node.AttributesLength())]
        )
        return result, self._names(node.ImplicitInputs, node.ImplicitInputsLength())

    def _attribute(self, attribute: Any, depth: int) -> Any:
        import onnx

        kind = attribute.Type()  # numbered as onnx.AttributeProto's
        result = onnx.AttributeProto(name=_text(attribute.Name()), type=kind)
        kinds = onnx.AttributeProto
        if kind == kinds.FLOAT:
            result.f = attribute.F()
        elif kind == kinds.INT:
            result.i = attribute.I()
        elif kind == kinds.STRING:
            result.s = self._string(attribute.S())
        elif kind == kinds.TENSOR:
            result.t.CopyFrom(self._tensor(attribute.T()))
        elif kind == kinds.GRAPH:
            result.g.CopyFrom(self._graph(attribute.G(), depth + 1))
        elif kind == kinds.FLOATS:
            result.floats.extend(self._list(attribute.Floats, attribute.FloatsLength()))
        elif kind == kinds.INTS:
            result.ints.extend(self._list(attribute.Ints, attribute.IntsLength()))
        elif kind == kinds.STRINGS:
            result.strings.extend(
                [self._string(text) for text in self._list(attribute.Strings, attribute.StringsLength())]
            )
        else:
            raise _Refused(f"it has an attribute of the unknown kind {kind}")
        return result

    def _string(self, text: bytes | None) -> bytes:
        self._count_bytes(len(text or b""))
        return text or b""

    def _tensor(self, tensor: Any) -> Any:
        import onnx

        if tensor.ExternalDataOffset() >= 0:
            raise _Refused("its weights are in another file")
        kind = tensor.DataType()
        dims = list(self._list(tensor.Dims, tensor.DimsLength()))
        if len(dims) > _DIMENSIONS or any(size < 0 for size in dims):
            raise _Refused("it has a tensor of an impossible shape")
        result = onnx.TensorProto(name=_text(tensor.Name()), data_type=kind, dims=dims)
        if kind == onnx.TensorProto.STRING:
            texts = [self._string(text) for text in self._list(tensor.StringData, tensor.StringDataLength())]
            if len(texts) != prod(dims):
                raise _Refused("it has a tensor with more or fewer values than its shape")
            result.string_data.extend(texts)
            return result
        values = tensor.RawDataAsNumpy() if tensor.RawDataLength() else np.zeros(0, dtype=np.uint8)
        self._count_bytes(values.nbytes)
        if prod(dims) * onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize != values.nbytes:
            raise _Refused("it has a tensor with more or fewer values than its shape")
        result.raw_data = values.tobytes()
        return result

    def _value(self, name: str, value: Any) -> Any:
        """Name, and type if it is that of a tensor."""
        import onnx

        result = onnx.ValueInfoProto(name=name)
        type_info = value.Type() if value is not None else None
        if type_info is None or type_info.ValueType() != 1:  # TypeInfoValue.tensor_type
            return result
        table = type_info.Value()
        tensor = import_module(f"{_BINDINGS}.fbs.TensorTypeAndShape").TensorTypeAndShape()
        tensor.Init(table.Bytes, table.Pos)
        result.type.tensor_type.elem_type = tensor.ElemType()
        shape = tensor.Shape()
        if shape is None:
            return result
        result.type.tensor_type.shape.SetInParent()
        for dimension in self._list(shape.Dim, shape.DimLength()):
            size, entry = dimension.Value(), result.type.tensor_type.shape.dim.add()
            if size is not None and size.DimType() == 1:
                entry.dim_value = size.DimValue()
            elif size is not None and size.DimType() == 2:
                entry.dim_param = _text(size.DimParam())
                self._count_bytes(len(entry.dim_param))
        return result


def _text(value: bytes | None) -> str:
    return (value or b"").decode()


def _sorted_nodes(nodes: Sequence[tuple[Any, Sequence[str]]], outer: Sequence[str]) -> list[Any]:
    """The nodes, each after those whose outputs it uses, as ONNX demands; else in their order.

    Values that no node of this graph computes belong to it (`outer`) or to a graph around it.
    """
    producers = {name: i for i, (node, _) in enumerate(nodes) for name in node.output if name}
    for name in outer:
        producers.pop(name, None)
    needed = [
        sorted({producers[name] for name in (*node.input, *implicit) if name in producers}, reverse=True)
        for node, implicit in nodes
    ]
    result: list[Any] = []
    state = [0] * len(nodes)  # 0: not visited, 1: waits for its inputs, 2: in the result
    for first in range(len(nodes)):
        stack = [first]
        while stack:
            node = stack[-1]
            waiting = [other for other in needed[node] if state[other] != 2] if state[node] != 2 else []
            if state[node] == 2 or not waiting:
                if state[node] != 2:
                    result.append(nodes[node][0])
                state[node] = 2
                stack.pop()
            elif state[node] == 1:
                raise _Refused("its nodes form a cycle")
            else:
                state[node] = 1
                stack += waiting
    return result


def _add_outputs(graph: Any, outputs: Sequence[str]) -> None:
    import onnx

    computed = {output for node in graph.node for output in node.output}
    for output in outputs:
        if output not in computed:
            raise _Refused(f"it computes no value called {output!r}")
        graph.output.append(onnx.ValueInfoProto(name=output))


def _keep_branch(graph: Any, branch: str) -> None:
    """Put the nodes of one branch in the place of the If node that has it."""
    import onnx

    choices = [
        (i, attribute.g)
        for i, node in enumerate(graph.node)
        for attribute in node.attribute
        if attribute.name == branch and attribute.type == onnx.AttributeProto.GRAPH
    ]
    if len(choices) != 1:
        raise _Refused(f"it has {len(choices)} nodes with a {branch}, not one")
    position, chosen = choices[0]
    names = list(graph.node[position].output)
    inner = [value.name for value in chosen.output]
    if len(names) != len(inner):
        raise _Refused(f"its {branch} has other outputs than the node")
    nodes = [*graph.node[:position], *chosen.node]
    # The branch has its own names for the outputs of the node.
    nodes += [
        onnx.NodeProto(op_type="Identity", input=[a], output=[b]) for a, b in zip(inner, names, strict=True) if a != b
    ]
    nodes += graph.node[position + 1 :]
    body = onnx.GraphProto(node=nodes, initializer=chosen.initializer)
    del graph.node[:]
    graph.initializer.extend(body.initializer)
    graph.node.extend(body.node)
    used = _used_names(graph)
    inputs = [value for value in graph.input if value.name in used]
    del graph.input[:]
    graph.input.extend(inputs)


def _used_names(graph: Any) -> set[str]:
    """All values that nodes of a graph, and of graphs inside it, use, and its outputs."""
    inner = (attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g"))
    return {name for node in graph.node for name in node.input}.union(
        (value.name for value in graph.output), *(_used_names(other) for other in inner)
    )

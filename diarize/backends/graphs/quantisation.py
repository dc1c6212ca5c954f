"""Convolution networks in 8-bit integers, from a float ONNX graph and the ranges of its values: no calibration audio.

A value x is stored as an unsigned byte q with x = scale * (q - zero_point) (Jacob et al. 2018, arXiv 1712.05877,
equation 1), with one scale and zero point for a tensor. Weights are signed, without a zero point, with one scale for
each output channel. Products are summed as integers of 32 bits, so sums are exact (equations 4 and 7 there).

Processors with AVX2 but without VNNI add two products in 16 bits and saturate (instruction vpmaddubsw): 8-bit weights
may give other sums there. Here, a pair of neighbouring weights of the same sign sums to at most 128, so the largest sum
is 255 * 128 = 32,640 < 2^15. Nothing saturates and the sums are the same on every processor. Only a few pairs are
that large; to restrict all weights to 7 bits instead costs far more accuracy (docs/method/quantisation.md). A sum is
then multiplied by one float32 and rounded, half to even. What stays in floating point, such as the first layer, may
differ in the last bit between processors, and a value on the border between two bytes with it.

The result has operators on integers (QLinearConv; QLinearAdd of ONNX Runtime), not float operators between
QuantizeLinear and DequantizeLinear: what it computes does not depend on which of those the runtime fuses. A ReLU costs
nothing: the range of its result begins at zero, and numbers below are clipped when they are stored.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.errors import ModelRefused

Range = tuple[float, float]

LARGEST = 127  # weight, and sum of a pair before rounding; see above
STRETCH = 1.25  # largest scale of weights that is tried, relative to the smallest
# A convolution that sums fewer products stays in floating point: it is cheap, and so is the first layer of most
# networks, whose input has a wide range.
LEAST_PRODUCTS = 16
_MOVES = {"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}  # change no value
# A layer behind the pooling over all frames, as the last one, runs once a vector: it is cheap in floating point, and
# its input, of means and deviations, has a wide range (docs/method/quantisation.md).
_POOLING = {"GlobalAveragePool", "ReduceMean", "ReduceSum"}
_ARITHMETIC = {"Add": np.add, "Mul": np.multiply, "Sub": np.subtract}


def quantise(model: Any, ranges: Mapping[str, Range], name: str = "a model", exact: Collection[str] = ()) -> bytes:
    """A serialized model with the inputs and outputs of `model` (an onnx.ModelProto) that computes in 8-bit integers.

    `ranges`: name of a value in the graph -> its lowest and highest number (`ranges_needed` lists the names; numbers
    beyond a range are clipped to it). Convolutions with constant weights, sums of two values and what only moves values
    compute in integers, all else in floating point. So do convolutions with the weights `exact` (names), and layers
    behind the pooling over all frames. The same arguments give the same bytes. Raises ModelRefused, about the model
    called `name`, if a range is missing or no range, if weights are not finite, or if the graph is in a form that this
    function does not know.
    """
    writer = _Writer(model.graph, ranges, name, exact)
    for node in model.graph.node:
        writer.write(node)
    return writer.serialise(model)


def ranges_needed(model: Any, exact: Collection[str] = ()) -> tuple[str, ...]:
    """Names of the values of which `quantise` needs ranges, in the order of the graph."""

    class Anything(dict[str, Range]):
        def __missing__(self, name: str) -> Range:
            self[name] = (0.0, 1.0)
            return self[name]

    ranges = Anything()
    quantise(model, ranges, exact=exact)
    return tuple(ranges)


def integers_of(name: str) -> str:
    """The name, in the graph that `quantise` writes, of the bytes of a value with a range of its own or moved from one.

    As an output of the graph (`ort_format.cut`) they need a quarter of the memory of floats and lose nothing.
    """
    return f"{name}_integers"


def read_ranges(path: Path) -> dict[str, Range]:
    """The ranges of a JSON file, an object of [lowest, highest], as benchmarks/activation_ranges.py writes it."""
    return {name: (float(low), float(high)) for name, (low, high) in json.loads(path.read_text("utf-8")).items()}


def parameters(range: Range) -> tuple[np.float32, np.uint8]:
    """(scale, zero point) of a value with this range, which is extended to hold zero.

    Zero is represented exactly, as padding with zeros demands. Raises ValueError if the ends are not finite or not in
    order.
    """
    low, high = range
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise ValueError(f"{range} is not a range of numbers")
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max(np.float32((high - low) / 255), np.float32(1e-20))
    return scale, np.uint8(min(round(-low / float(scale)), 255))


def quantise_weights(
    weights: NDArray[np.float32], bias: NDArray[np.float32], scale: np.float32
) -> tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.int32]]:
    """(weights, their scales, bias) in integers, of a convolution whose input has `scale`.

    `weights` (channels, inputs, ...) have the scales (channels,); the scale of the bias (channels,) is that of the
    input times that of the weights, as of the sums to which it is added. Each channel has, of several scales, the one
    with the smallest squared error: from the smallest with which no pair is too large to `STRETCH` times that, and the
    step between weights that were integers before, with which they are exact.
    """
    rows = weights.reshape(len(weights), -1)
    least = np.maximum(_smallest_scales(weights), np.abs(bias) / (scale * np.float32(2**30)))  # a bias has 32 bits
    least = np.maximum(least, np.float32(1e-20))
    steps = np.diff(np.unique(rows[: 1 + 2048 // rows.shape[1]]))
    candidates = [least * np.float32(factor) for factor in np.linspace(1, STRETCH, 6)]
    if len(steps):
        candidates.append(np.maximum(least, steps.min()))
    best = np.full(len(rows), np.inf, np.float32)
    result, scales = np.zeros(rows.shape, np.int8), least.copy()
    for candidate in candidates:
        scaled = rows / candidate[:, None]
        rounded = np.rint(scaled)
        scaled -= rounded
        error = np.einsum("ij,ij->i", scaled, scaled) * candidate * candidate
        better = error < best
        best[better], scales[better], result[better] = error[better], candidate[better], rounded[better]
    integer_bias = np.rint(bias.astype(np.float64) / (np.float64(scale) * scales)).astype(np.int32)
    return result.reshape(weights.shape), scales, integer_bias


def _smallest_scales(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """The smallest scale of each channel with which no weight and no sum of a pair is above `LARGEST`.

    A runtime sums over inputs, then over the kernel, or the reverse; pairs of both orders count. Rounding adds at most
    1 to a pair.
    """
    peaks = np.abs(weights.reshape(len(weights), -1)).max(axis=1)
    for order in (weights, np.moveaxis(weights, 1, -1)):
        rows = order.reshape(len(weights), -1)
        first, second = rows[:, : rows.shape[1] // 2 * 2 : 2], rows[:, 1::2]
        for larger in (np.maximum, np.minimum):  # sums of positive weights, and of negative ones
            sums = larger(first, 0) + larger(second, 0)
            peaks = np.maximum(peaks, np.abs(sums).max(axis=1, initial=0))
    scales: NDArray[np.float32] = peaks / np.float32(LARGEST)
    return scales


class _Writer:
    """Writes the new graph node by node; a value exists in floating point, in integers, or in both."""

    def __init__(self, graph: Any, ranges: Mapping[str, Range], name: str, exact: Collection[str]) -> None:
        from onnx import numpy_helper

        self._graph, self._ranges, self._name, self._exact = graph, ranges, name, exact
        self._constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self._nodes: list[Any] = []
        self._floats = {value.name for value in graph.input}
        self._integers: dict[str, str] = {}  # value -> the value whose range its integers have
        users = Counter(name for node in graph.node for name in node.input)
        users.update(value.name for value in graph.output)
        self._relus = {
            node.input[0]: node.output[0]
            for node in graph.node
            if node.op_type == "Relu" and users[node.input[0]] == 1  # nothing else sees the value before it
        }
        self._merged: set[str] = set()  # results of ReLUs that are part of the node before
        self._pooled = self._values_of_pooling()

    def _values_of_pooling(self) -> set[str]:
        """Values computed from means or sums over all frames, and from sizes, alone: one for a whole input."""
        pooled: set[str] = set()
        for node in self._graph.node:
            computed = [name for name in node.input if name and name not in self._constants]
            if node.op_type in {"Shape", *_POOLING} or (computed and pooled.issuperset(computed)):
                pooled.update(node.output)
        return pooled

    def write(self, node: Any) -> None:
        inputs, kind = list(node.input), node.op_type
        computed = [name for name in inputs if name and name not in self._constants]
        if inputs and not computed:
            self._fold(node)
        elif kind in {"Conv", "Add"} and (self._pooled.issuperset(computed) or inputs[1] in self._exact):
            self._copy(node, computed)
        elif kind == "Conv" and computed == inputs[:1] and self._products(inputs[1]) >= LEAST_PRODUCTS:
            self._convolve(node)
        elif kind == "Add" and len(computed) == 2:
            self._add(node)
        elif kind in _MOVES and inputs[0] in self._integers:
            self._emit(node, [integers_of(inputs[0]), *inputs[1:]], [integers_of(node.output[0])])
            self._integers[node.output[0]] = self._integers[inputs[0]]
        elif kind == "Shape" and inputs[0] in self._integers:
            self._emit(node, [integers_of(inputs[0])], node.output)
            self._floats.update(node.output)
        elif node.output[0] not in self._merged:
            self._copy(node, computed)

    def _copy(self, node: Any, computed: Iterable[str]) -> None:
        """The node as it is, in floating point."""
        for name in computed:
            self._to_float(name)
        self._emit(node, node.input, node.output)
        self._floats.update(node.output)

    def serialise(self, model: Any) -> bytes:
        import onnx
        from onnx import numpy_helper

        for value in self._graph.output:
            self._to_float(value.name)
        used = {name for node in self._nodes for name in node.input}
        constants = [numpy_helper.from_array(value, name) for name, value in self._constants.items() if name in used]
        graph = onnx.GraphProto(
            name=self._graph.name,
            node=self._nodes,
            initializer=constants,
            input=[value for value in self._graph.input if value.name in used],
            output=self._graph.output,
        )
        result = onnx.ModelProto(ir_version=model.ir_version, producer_name="diarize", graph=graph)
        versions = {"com.microsoft": 1} | {opset.domain: opset.version for opset in model.opset_import}
        for domain in sorted(versions):
            result.opset_import.add(domain=domain, version=versions[domain])
        return bytes(result.SerializeToString(deterministic=True))

    def _products(self, weights: str) -> int:
        return int(np.prod(self._constants[weights].shape[1:]))

    def _fold(self, node: Any) -> None:
        """Compute a node with constant inputs; this is how stored integers become weights."""
        from onnx import helper

        values = [self._constants[name] for name in node.input]
        if node.op_type == "Cast":
            self._constants[node.output[0]] = values[0].astype(helper.tensor_dtype_to_np_dtype(node.attribute[0].i))
        elif node.op_type in _ARITHMETIC:
            self._constants[node.output[0]] = _ARITHMETIC[node.op_type](*values)
        else:  # rare, and the runtime computes it once
            self._emit(node, node.input, node.output)
            self._floats.update(node.output)

    def _convolve(self, node: Any) -> None:
        source, scale = self._to_integers(node.input[0])
        weights = self._constants[node.input[1]]
        bias = self._constants[node.input[2]] if len(node.input) > 2 else np.zeros(len(weights), np.float32)
        if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
            raise ModelRefused(self._name, f"weights of the node {node.name or node.output[0]!r} are not finite")
        values, scales, integer_bias = quantise_weights(weights, bias, scale)
        label = node.output[0]
        kernel = [
            self._constant(f"{label}_weights", values),
            self._constant(f"{label}_weights_scale", scales),
            self._constant(f"{label}_weights_zero_point", np.zeros(len(values), np.int8)),
        ]
        result, *parts = self._result(node)
        inputs = [*source, *kernel, *parts, self._constant(f"{label}_bias", integer_bias)]
        self._emit(node, inputs, [result], "QLinearConv")

    def _add(self, node: Any) -> None:
        (first, _), (second, _) = self._to_integers(node.input[0]), self._to_integers(node.input[1])
        result, *parts = self._result(node)
        self._emit(node, [*first, *second, *parts], [result], "QLinearAdd", "com.microsoft")

    def _result(self, node: Any) -> list[str]:
        """Names of the result of a node in integers, or of the ReLU after it, and of its scale and zero point."""
        name = node.output[0]
        if name in self._relus:
            name = self._relus[name]
            self._merged.add(name)
            if self._range(name)[0] < 0:
                raise ModelRefused(self._name, f"the range of {name!r}, which a ReLU computes, begins below zero")
        self._integers[name] = name
        return [integers_of(name), *self._parameters(name)[0]]

    def _to_integers(self, name: str) -> tuple[list[str], np.float32]:
        """Names of a value in integers, of its scale and of its zero point; and the scale."""
        if name not in self._integers:
            self._integers[name] = name
            names, _ = self._parameters(name)
            self._emit(None, [name, *names], [integers_of(name)], "QuantizeLinear")
        names, scale = self._parameters(self._integers[name])
        return [integers_of(name), *names], scale

    def _to_float(self, name: str) -> None:
        if name not in self._floats and name in self._integers:
            names, _ = self._parameters(self._integers[name])
            self._emit(None, [integers_of(name), *names], [name], "DequantizeLinear")
            self._floats.add(name)

    def _range(self, name: str) -> Range:
        try:
            return self._ranges[name]
        except KeyError:
            raise ModelRefused(self._name, f"no range of its value {name!r} is known") from None

    def _parameters(self, name: str) -> tuple[list[str], np.float32]:
        try:
            scale, zero_point = parameters(self._range(name))
        except ValueError as error:
            raise ModelRefused(self._name, f"the range of {name!r}: {error}") from error
        names = [
            self._constant(f"{name}_scale", np.asarray(scale)),
            self._constant(f"{name}_zero_point", np.asarray(zero_point)),
        ]
        return names, scale

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self._constants[name] = value
        return name

    def _emit(
        self, node: Any, inputs: Iterable[str], outputs: Sequence[str], kind: str = "", domain: str | None = None
    ) -> None:
        """Append a node of another kind or with other names, with the attributes of `node`."""
        import onnx

        new = onnx.NodeProto(op_type=kind or node.op_type, input=inputs, output=outputs, name=node.name if node else "")
        new.domain = domain if domain is not None else node.domain if node else ""
        new.attribute.extend(node.attribute if node else ())
        self._nodes.append(new)

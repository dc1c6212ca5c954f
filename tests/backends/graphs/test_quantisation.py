"""Networks in 8-bit integers: near the float network, exact sums on every processor, the same bytes each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import diarize.backends
from diarize.backends.graphs import ort_format, quantisation
from diarize.errors import ModelRefused

Arrays = dict[str, Any]
OPTIMISATIONS = [
    onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,  # channels first
    onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,  # channels last
]


def model(nodes: list[Any], constants: Arrays, output: str, shape: list[Any]) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "net", [x], [y], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def residual_net(seed: int = 5) -> onnx.ModelProto:
    """A block of a ResNet after a first layer, with weights stored as integers, and frames as the result."""
    rng = np.random.default_rng(seed)
    constants: Arrays = {
        "first": rng.normal(0, 0.4, (8, 1, 3, 3)).astype(np.float32),
        "w1_stored": rng.integers(-127, 128, (8, 8, 3, 3)).astype(np.int8),
        "w1_step": np.array([0.002], np.float32),
        "w1_offset": np.array([0.006], np.float32),
        "b1": rng.normal(0, 0.1, 8).astype(np.float32),
        "w2": rng.normal(0, 0.15, (8, 8, 3, 3)).astype(np.float32),
        "axis": np.array([1], np.int64),
        "shape": np.array([0, -1], np.int64),
        "ends": np.array([0, 1], np.int64),
        "length": np.array([3], np.int64),
    }
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Cast", ["w1_stored"], ["w1_float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["w1_float", "w1_step"], ["w1_scaled"]),
        helper.make_node("Add", ["w1_scaled", "w1_offset"], ["w1"]),
        helper.make_node("Unsqueeze", ["x", "axis"], ["image"]),
        helper.make_node("Conv", ["image", "first"], ["first_result"], **pads),
        helper.make_node("Relu", ["first_result"], ["stem"]),
        helper.make_node("Conv", ["stem", "w1", "b1"], ["conv1"], **pads),
        helper.make_node("Relu", ["conv1"], ["relu1"]),
        helper.make_node("Conv", ["relu1", "w2"], ["conv2"], **pads),
        helper.make_node("Add", ["conv2", "stem"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["relu2"]),
        helper.make_node("Shape", ["relu2"], ["size"]),
        helper.make_node("Gather", ["size", "ends"], ["front"]),
        helper.make_node("Gather", ["size", "length"], ["back"]),
        helper.make_node("Concat", ["front", "back"], ["unused"], axis=0),
        helper.make_node("Reshape", ["relu2", "shape"], ["y"]),
    ]
    return model(nodes, constants, "y", ["batch", 12, "frames"])


def session(serialized: bytes, level: Any = OPTIMISATIONS[-1]) -> Any:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(serialized, options, providers=["CPUExecutionProvider"])


def measured_ranges(net: onnx.ModelProto, x: Any) -> dict[str, tuple[float, float]]:
    names = quantisation.ranges_needed(net)
    shown = onnx.ModelProto()
    shown.CopyFrom(net)
    shown.graph.output.extend([onnx.ValueInfoProto(name=name) for name in names])
    values = session(shown.SerializeToString()).run(list(names), {"x": x})
    return {name: (float(value.min()), float(value.max())) for name, value in zip(names, values, strict=True)}


@pytest.mark.parametrize("level", OPTIMISATIONS)
def test_a_quantised_network_computes_nearly_what_the_float_one_does(level: Any) -> None:
    net, x = residual_net(), np.random.default_rng(1).normal(size=(2, 12, 40)).astype(np.float32)
    expected = session(net.SerializeToString()).run(None, {"x": x})[0]
    quantised = quantisation.quantise(net, measured_ranges(net, x))
    result = session(quantised, level).run(None, {"x": x})[0]
    assert result.shape == expected.shape
    assert np.sqrt(np.mean((result - expected) ** 2)) < 0.02 * expected.std()


def test_all_but_the_first_layer_computes_in_integers() -> None:
    net = residual_net()
    ranges = dict.fromkeys(quantisation.ranges_needed(net), (0.0, 4.0))
    assert list(ranges) == ["stem", "relu1", "conv2", "relu2"]
    kinds = [node.op_type for node in onnx.load_from_string(quantisation.quantise(net, ranges)).graph.node]
    assert kinds.count("Conv") == 1 and kinds.count("QLinearConv") == 2 and kinds.count("QLinearAdd") == 1
    assert kinds.count("Relu") == 1  # of the first layer
    assert not {"Cast", "Mul", "Add"} & set(kinds)
    assert kinds[-2:] == ["Reshape", "DequantizeLinear"]


def test_the_bytes_of_the_result_can_be_an_output() -> None:
    net, x = residual_net(), np.random.default_rng(2).normal(size=(1, 12, 24)).astype(np.float32)
    ranges = measured_ranges(net, x)
    quantised = onnx.load_from_string(quantisation.quantise(net, ranges))
    shown = ort_format.cut(quantised, "net", [quantisation.integers_of("y")])
    floats, integers = session(shown).run(None, {"x": x})
    scale, zero = quantisation.parameters(ranges["relu2"])
    assert integers.dtype == np.uint8 and zero == 0
    assert np.array_equal(integers * scale, floats)


def test_the_input_model_does_not_change_and_the_result_has_the_same_bytes_each_time() -> None:
    net = residual_net()
    before = net.SerializeToString(deterministic=True)
    ranges = dict.fromkeys(quantisation.ranges_needed(net), (0.0, 4.0))
    assert quantisation.quantise(net, ranges) == quantisation.quantise(residual_net(), dict(reversed(ranges.items())))
    assert net.SerializeToString(deterministic=True) == before


def single_convolution(weights: Any, bias: Any) -> onnx.ModelProto:
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"])
    return model([node], {"w": weights, "b": bias}, "y", [1, weights.shape[1], 9, 9])


@pytest.mark.parametrize("level", OPTIMISATIONS)
@pytest.mark.parametrize("kind", ["one sign", "alternating", "random", "heavy tails", "odd"])
def test_the_largest_inputs_and_weights_saturate_nothing(level: Any, kind: str) -> None:
    """The network's integers are those of exact arithmetic. With 16-bit sums that saturate they would not be."""
    rng = np.random.default_rng(3)
    inputs = 15 if kind == "odd" else 16
    weights = np.ones((32, inputs, 3, 3), np.float32)
    if kind == "alternating":
        weights[:, ::2] = -1
    elif kind == "heavy tails":
        weights = rng.standard_t(2, weights.shape).astype(np.float32)
    elif kind != "one sign":
        weights = rng.choice(np.array([-1, 1], np.float32), weights.shape)
    bias = rng.normal(size=32).astype(np.float32)
    peak = float(np.abs(weights).sum(axis=(1, 2, 3)).max())
    net = single_convolution(weights, bias)
    ranges = {"x": (0.0, 255.0), "y": (-255 * peak, 255 * peak)}
    quantised = quantisation.quantise(net, ranges)
    x = rng.choice(np.array([0, 255, 255, 255], np.float32), (1, inputs, 9, 9))
    result = session(quantised, level).run(None, {"x": x})[0]

    integers, scales, integer_bias = quantisation.quantise_weights(weights, bias, np.float32(1))
    patches = np.lib.stride_tricks.sliding_window_view(x[0].astype(np.int64), (3, 3), axis=(1, 2))
    sums = np.einsum("chwij,ocij->ohw", patches, integers.astype(np.int64)) + integer_bias[:, None, None]
    scale, zero = quantisation.parameters(ranges["y"])
    rounded = np.rint(sums.astype(np.float32) * (scales / scale)[:, None, None]) + zero
    expected = (rounded.clip(0, 255) - zero) * scale
    assert np.array_equal(result[0], expected.astype(np.float32))


def test_no_pair_of_neighbouring_weights_is_too_large() -> None:
    rng = np.random.default_rng(4)
    weights = (rng.standard_t(2, (64, 6, 3, 3)) * rng.uniform(1e-3, 10, (64, 1, 1, 1))).astype(np.float32)
    integers = quantisation.quantise_weights(weights, np.zeros(64, np.float32), np.float32(0.1))[0].astype(int)
    for rows in (integers.reshape(64, -1), integers.transpose(0, 2, 3, 1).reshape(64, -1)):
        for sign in (1, -1):
            pairs = np.maximum(sign * rows, 0).reshape(64, -1, 2).sum(axis=2)
            assert 255 * pairs.max() < 2**15
    assert np.abs(integers).max() > 100  # and yet weights have 8 bits


def test_weights_that_were_integers_are_exact() -> None:
    stored = np.random.default_rng(6).integers(-60, 61, (16, 8, 3, 3))
    weights = (stored * np.float32(0.0123)).astype(np.float32)
    integers, scales, _ = quantisation.quantise_weights(weights, np.zeros(16, np.float32), np.float32(1))
    assert np.allclose(integers * scales[:, None, None, None], weights, atol=1e-6)


def test_channels_without_weights_give_their_bias() -> None:
    weights = np.zeros((3, 16, 3, 3), np.float32)
    net = single_convolution(weights, np.array([0, 1, -2], np.float32))
    quantised = quantisation.quantise(net, {"x": (-1.0, 1.0), "y": (-2.0, 2.0)})
    result = session(quantised).run(None, {"x": np.ones((1, 16, 9, 9), np.float32)})[0]
    assert np.allclose(result[0, :, 0, 0], [0, 1, -2], atol=4 / 255)


@pytest.mark.parametrize("range", [(0.0, 1.0), (-3.0, 5.0), (-2.0, -1.0), (1.0, 2.0), (0.0, 0.0)])
def test_zero_is_exact_and_the_ends_of_a_range_are_near(range: tuple[float, float]) -> None:
    scale, zero = quantisation.parameters(range)
    for value in (*range, 0.0):
        stored = np.clip(np.rint(value / scale) + zero, 0, 255)
        assert abs(float((stored - zero) * scale) - value) <= (abs(scale) * 0.51 if value else 0)


def test_layers_behind_the_pooling_and_those_that_are_named_stay_in_floating_point() -> None:
    """They are cheap, and what they take and give has a wide range."""
    rng = np.random.default_rng(7)
    constants: Arrays = {
        f"w{i}": rng.normal(0, 0.2, (16, 16, 1)).astype(np.float32) for i in range(3)
    } | {"last": rng.normal(0, 0.2, (4, 16, 1)).astype(np.float32)}  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"]),
        helper.make_node("Conv", ["a", "w1"], ["b"]),
        helper.make_node("ReduceMean", ["b"], ["mean"], axes=[2], keepdims=1),
        helper.make_node("Conv", ["mean", "w2"], ["gate"]),  # of one frame
        helper.make_node("Mul", ["b", "gate"], ["c"]),  # of all frames again
        helper.make_node("Conv", ["c", "w1"], ["d"]),
        helper.make_node("ReduceMean", ["d"], ["e"], axes=[2], keepdims=1),
        helper.make_node("Add", ["e", "gate"], ["f"]),
        helper.make_node("Conv", ["f", "last"], ["y"]),
    ]
    net = model(nodes, constants, "y", ["batch", 16, "frames"])
    assert quantisation.ranges_needed(net) == ("x", "a", "b", "c", "d")
    assert quantisation.ranges_needed(net, {"w0"}) == ("a", "b", "c", "d")
    x = rng.normal(size=(2, 16, 30)).astype(np.float32)
    result = onnx.load_from_string(quantisation.quantise(net, measured_ranges(net, x), exact=["w0"]))
    inexact = [node.input[3] for node in result.graph.node if node.op_type == "QLinearConv"]
    assert inexact == ["b_weights", "d_weights"]
    assert [node.input[1] for node in result.graph.node if node.op_type == "Conv"] == ["w0", "w2", "last"]
    expected = session(net.SerializeToString()).run(None, {"x": x})[0]
    actual = session(result.SerializeToString()).run(None, {"x": x})[0]
    assert np.sqrt(np.mean((actual - expected) ** 2)) < 0.02 * expected.std()


def test_a_missing_range_is_named() -> None:
    net = residual_net()
    ranges = dict.fromkeys(quantisation.ranges_needed(net), (0.0, 4.0))
    del ranges["relu1"]
    with pytest.raises(ModelRefused, match=r"'net\.onnx'.*no range of its value 'relu1'"):
        quantisation.quantise(net, ranges, "net.onnx")


@pytest.mark.parametrize("range", [(0.0, np.inf), (np.nan, 1.0), (2.0, 1.0), (-1.0, 1.0)])
def test_an_impossible_range_is_refused(range: tuple[float, float]) -> None:
    net = residual_net()
    ranges = dict.fromkeys(quantisation.ranges_needed(net), (0.0, 4.0)) | {"relu1": range}
    with pytest.raises(ModelRefused, match="the range of 'relu1'"):
        quantisation.quantise(net, ranges)


def test_the_supplied_ranges_can_be_used() -> None:
    ranges = quantisation.read_ranges(Path(diarize.backends.__file__).parent / "community1.ranges.json")
    assert len(ranges) == 52  # 33 ReLUs, the last convolutions of 16 blocks, 3 shortcuts
    for name, range in ranges.items():
        scale, zero = quantisation.parameters(range)
        assert 0 < scale < 0.1 and (zero == 0) == ("Relu" in name)


def test_weights_that_are_not_finite_are_refused() -> None:
    weights = np.ones((4, 16, 3, 3), np.float32)
    weights[1, 2] = np.nan
    with pytest.raises(ModelRefused, match="not finite"):
        quantisation.quantise(single_convolution(weights, np.zeros(4, np.float32)), {"x": (0.0, 1.0), "y": (0.0, 1.0)})

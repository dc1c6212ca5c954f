"""Models in ONNX Runtime's own format, rebuilt as ONNX: they compute the same, and no damaged file does harm."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from diarize.backends import onnx_sessions
from diarize.backends.graphs import ort_format
from diarize.errors import ModelRefused

GENERATOR = np.random.default_rng(11)


def weights(*shape: int) -> Any:
    return GENERATOR.normal(size=shape).astype(np.float32)


def small_model() -> onnx.ModelProto:
    """An encoder with attributes of several kinds and a node of com.microsoft, and a branch with inner values."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])
    flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, [1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])
    branches = {}
    for name, scale in (("then", 2.0), ("else", -3.0)):
        result = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, None)
        inner = [
            helper.make_node("Gemm", ["hidden", "w"], [f"{name}_gemm"], alpha=scale, transB=1),
            helper.make_node("Softmax", [f"{name}_gemm"], [f"{name}_soft"], axis=-1),
            helper.make_node("Add", [f"{name}_soft", f"{name}_bias"], [f"{name}_y"]),
        ]
        bias = numpy_helper.from_array(weights(3), f"{name}_bias")
        branches[f"{name}_branch"] = helper.make_graph(inner, name, [], [result], [bias])
    nodes = [
        helper.make_node("LayerNormalization", ["x", "gain"], ["normal"], epsilon=1e-3),
        helper.make_node("FusedMatMul", ["normal", "v"], ["hidden"], domain="com.microsoft", alpha=0.5),
        helper.make_node("If", ["flag"], ["y"], **branches),
    ]
    constants = {"gain": weights(4), "v": weights(4, 5), "w": weights(3, 5)}
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "small", [x, flag], [y], initializers)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


@pytest.fixture(scope="module")
def ort_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model in ORT format, as ONNX Runtime itself saves it."""
    path = tmp_path_factory.mktemp("ort") / "small.ort"
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    onnxruntime.InferenceSession(small_model().SerializeToString(), options)
    return path


def inputs(flag: bool) -> dict[str, Any]:
    return {"x": weights(6, 4), "flag": np.array([flag])}


@pytest.mark.parametrize("flag", [True, False])
def test_the_rebuilt_model_computes_the_same(ort_file: Path, flag: bool) -> None:
    original = onnx_sessions.open_session(ort_file)
    rebuilt = onnx_sessions.open_session(ort_format.cut(ort_format.load(ort_file), "small"))
    assert [value.name for value in rebuilt.get_inputs()] == [value.name for value in original.get_inputs()]
    assert [value.shape for value in rebuilt.get_inputs()] == [value.shape for value in original.get_inputs()]
    feed = inputs(flag)
    np.testing.assert_allclose(rebuilt.run(None, feed)[0], original.run(None, feed)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("branch", ["then", "else"])
def test_a_branch_with_an_inner_value_as_output(ort_file: Path, branch: str) -> None:
    model = ort_format.load(ort_file)
    before = model.SerializeToString()
    cut = onnx_sessions.open_session(ort_format.cut(model, "small", [f"{branch}_soft"], f"{branch}_branch"))
    assert [value.name for value in cut.get_inputs()] == ["x"]  # the condition is no input any more
    assert [value.name for value in cut.get_outputs()] == ["y", f"{branch}_soft"]
    feed = inputs(branch == "then")
    (expected,) = onnx_sessions.open_session(ort_file).run(None, feed)
    y, soft = cut.run(None, {"x": feed["x"]})
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-5)
    assert model.SerializeToString() == before


def test_an_inner_value_as_the_only_output(ort_file: Path) -> None:
    model = ort_format.load(ort_file)
    before = model.SerializeToString()
    part = onnx.load_from_string(ort_format.extract(model, "small", ["normal"]))
    assert [node.op_type for node in part.graph.node] == ["LayerNormalization"]
    assert [value.name for value in part.graph.input] == ["x"]
    assert [tensor.name for tensor in part.graph.initializer] == ["gain"]
    feed = inputs(True)
    whole = onnx_sessions.open_session(ort_format.cut(model, "small", ["normal"]))
    (normal,) = onnx_sessions.open_session(part.SerializeToString()).run(None, {"x": feed["x"]})
    np.testing.assert_array_equal(normal, whole.run(["normal"], feed)[0])
    assert model.SerializeToString() == before


def test_what_a_branch_needs_stays_in_an_extract(ort_file: Path) -> None:
    model = ort_format.load(ort_file)
    feed = inputs(True)
    (expected,) = onnx_sessions.open_session(ort_file).run(None, feed)
    for branch in ("", "then_branch"):
        part = onnx_sessions.open_session(ort_format.extract(model, "small", ["y"], branch))
        names = [value.name for value in part.get_inputs()]
        assert names == (["x"] if branch else ["x", "flag"])
        result = part.run(None, {name: feed[name] for name in names})[0]
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5)


def test_reading_a_file_imports_no_torch(ort_file: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from diarize.backends.graphs import ort_format; "
        f"ort_format.load(Path({str(ort_file)!r})); "
        "assert not {'torch', 'onnxruntime.tools'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_same_file_gives_the_same_bytes(ort_file: Path) -> None:
    first, second = (ort_format.cut(ort_format.load(ort_file), "small", (), "then_branch") for _ in range(2))
    assert first == second


def test_a_value_or_branch_that_is_not_there(ort_file: Path) -> None:
    model = ort_format.load(ort_file)
    with pytest.raises(ModelRefused, match="'small' is refused: it computes no value called 'gone'"):
        ort_format.cut(model, "small", ["gone"])
    with pytest.raises(ModelRefused, match="'small' is refused: it computes no value called 'gone'"):
        ort_format.extract(model, "small", ["normal", "gone"])
    with pytest.raises(ModelRefused, match="no value called 'x'"):  # an input
        ort_format.extract(model, "small", ["x"])
    with pytest.raises(ModelRefused, match="0 nodes with a body"):
        ort_format.cut(model, "small", (), "body")


@pytest.mark.parametrize("content", [b"", b"ORTM", b"\0" * 100, b"PK\3\4" * 20, b"\xff\xff\xff\xffORTM" + b"\xff" * 99])
def test_fault_59_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.ort"
    path.write_bytes(content)
    with pytest.raises(ModelRefused, match=r"model\.ort"):
        ort_format.load(path)
    path.write_bytes(small_model().SerializeToString())
    with pytest.raises(ModelRefused, match="not a model in ORT format"):
        ort_format.load(path)


def test_fault_59_a_file_that_is_missing_or_too_large(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="cannot be read"):
        ort_format.load(tmp_path / "gone.ort")
    huge = tmp_path / "huge.ort"
    with huge.open("wb") as file:
        file.truncate(ort_format.LARGEST + 1)
    with pytest.raises(ModelRefused, match="more than 1024 MiB"):
        ort_format.load(huge)


def test_fault_59_a_truncated_file_never_gives_other_weights(ort_file: Path) -> None:
    data = ort_file.read_bytes()
    whole = ort_format.convert(data, "small").SerializeToString()
    for size in range(0, len(data), 61):
        try:
            assert ort_format.convert(data[:size], "small").SerializeToString() == whole
        except ModelRefused:
            continue


def test_fault_59_mutations_raise_only_one_error_and_stay_small(ort_file: Path) -> None:
    """Bytes, words and stretches of the file replaced: what is read has no more bytes than the file, or is refused."""
    data, chance = ort_file.read_bytes(), random.Random(7)
    refused = 0
    for _ in range(1500):
        mutated = bytearray(data)
        for _ in range(chance.choice((1, 1, 2, 8))):
            at = chance.randrange(8, len(data) - 8)
            if chance.random() < 0.5:
                mutated[at] ^= 1 << chance.randrange(8)
            else:  # sizes and offsets
                at -= at % 4
                value = chance.choice((0, 1, 4, len(data), 1 << 16, (1 << 31) - 1, (1 << 32) - 1))
                mutated[at : at + 4] = struct.pack("<I", value)
        began = time.process_time()
        try:
            model = ort_format.convert(bytes(mutated), "mutated")
            assert model.ByteSize() < 4 * len(data)
            ort_format.cut(model, "mutated", ["then_soft"], "then_branch")
        except ModelRefused:
            refused += 1
        assert time.process_time() - began < 5
    assert 100 < refused < 1500

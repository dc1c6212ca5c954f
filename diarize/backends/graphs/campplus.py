"""The network of CAM++ as an ONNX graph, from its tensors.

Wang et al. 2023, "CAM++: A fast and efficient network for speaker verification using context-aware masking",
arXiv:2303.00332, with the names of tensors of 3D-Speaker's checkpoints. Convolutions over frequency and time come
first, then densely connected time-delay layers, each masked by the context of its segment of 100 frames and of the
whole; mean and deviation over time and a linear layer give the vector. Batch norms that follow a convolution are part
of its weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.backends.graphs.builder import GraphBuilder

Tensors = Mapping[str, NDArray[np.float32]]

BINS = 80
BLOCKS = ((12, 1), (24, 2), (16, 2))  # layers and dilation of each dense block, section 2.2
SEGMENT = 100  # frames of a segment of the context, section 2.3
EPSILON = 1e-5  # of batch norms
SENSITIVE = "xvector.tdnn.linear.weight"  # a hundredth of the work; in 8 bits it costs a quarter of the accuracy lost


def build(tensors: Tensors) -> bytes:
    """`feats` (N, T, 80), filter banks minus their mean, T >= 3 -> `embs` (N, d), not of unit length.

    Raises KeyError for a tensor that is missing.
    """
    net = _Network(tensors)
    bands = net.add("Transpose", ["feats"], perm=[0, 2, 1])
    x = net.convolve(net.add("Unsqueeze", [bands, net.ints([1])]), "head.conv1", "head.bn1", pads=[1, 1, 1, 1])
    x = net.add("Relu", [x])
    for part in ("head.layer1", "head.layer2"):
        x = net.residual(net.residual(x, f"{part}.0", 2), f"{part}.1", 1)
    x = net.add("Relu", [net.convolve(x, "head.conv2", "head.bn2", pads=[1, 1, 1, 1], strides=[2, 1])])
    width = tensors["xvector.tdnn.linear.weight"].shape[1]
    x = net.add("Reshape", [x, net.ints([0, width, -1])])
    x = net.convolve(x, "xvector.tdnn.linear", "xvector.tdnn.nonlinear.batchnorm", pads=[2, 2], strides=[2])
    x = net.add("Relu", [x])
    net.index_segments(x)
    for number, (layers, dilation) in enumerate(BLOCKS, 1):
        for layer in range(1, layers + 1):
            out = net.dense_layer(x, f"xvector.block{number}.tdnnd{layer}", dilation)
            x = net.add("Concat", [x, out], axis=1)
        x = net.normalise(x, f"xvector.transit{number}.nonlinear.batchnorm")
        x = net.convolve(x, f"xvector.transit{number}.linear")
    x = net.statistics(net.normalise(x, "xvector.out_nonlinear.batchnorm"))
    x = net.convolve(x, "xvector.dense.linear", "xvector.dense.nonlinear.batchnorm")
    net.add("Squeeze", [x, net.ints([2])], ["embs"])
    dimension = len(tensors["xvector.dense.linear.weight"])
    return net.serialise("campplus", ("feats", ["N", "T", BINS]), ("embs", ["N", dimension]))


class _Network(GraphBuilder):
    def __init__(self, tensors: Tensors) -> None:
        super().__init__()
        self._tensors = tensors
        self._segments = ("", "")  # the segment of each frame; the number of frames

    def ints(self, values: Sequence[int]) -> str:
        name = "ints" + "_".join(map(str, values))
        return name if any(each.name == name for each in self.constants) else self.constant(name, np.array(values))

    def _norm(self, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scale and shift (C,) of a batch norm."""
        mean, variance = self._tensors[f"{name}.running_mean"], self._tensors[f"{name}.running_var"]
        scale = self._tensors.get(f"{name}.weight", np.float32(1)) / np.sqrt(variance + np.float32(EPSILON))
        return scale, self._tensors.get(f"{name}.bias", np.float32(0)) - mean * scale

    def convolve(self, x: str, name: str, norm: str | None = None, **attributes: Any) -> str:
        """A convolution, and the batch norm after it."""
        weight = self._tensors[f"{name}.weight"]
        bias = self._tensors.get(f"{name}.bias", np.zeros(len(weight), np.float32))
        if norm is not None:
            scale, shift = self._norm(norm)
            weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
            bias = bias * scale + shift
        inputs = [x, self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias)]
        return self.add("Conv", inputs, **attributes)

    def normalise(self, x: str, name: str) -> str:
        """A batch norm that no convolution precedes, and ReLU."""
        scale, shift = (self.constant(f"{name}.{i}", each[:, None]) for i, each in enumerate(self._norm(name)))
        return self.add("Relu", [self.add("Add", [self.add("Mul", [x, scale]), shift])])

    def residual(self, x: str, name: str, stride: int) -> str:
        """A block of two convolutions over frequency and time; the stride is one over frequency."""
        strides = [stride, 1]
        y = self.add("Relu", [self.convolve(x, f"{name}.conv1", f"{name}.bn1", pads=[1, 1, 1, 1], strides=strides)])
        y = self.convolve(y, f"{name}.conv2", f"{name}.bn2", pads=[1, 1, 1, 1])
        if stride != 1:
            x = self.convolve(x, f"{name}.shortcut.0", f"{name}.shortcut.1", strides=strides)
        return self.add("Relu", [self.add("Add", [y, x])])

    def index_segments(self, x: str) -> None:
        """Which segment each frame of (N, C, T) lies in: used by all dense layers."""
        count = self.add("Gather", [self.add("Shape", [x]), self.constant("last", np.array(2))])
        zero, one = self.constant("zero", np.array(0)), self.constant("one", np.array(1))
        frames = self.add("Range", [zero, count, one])
        self._segments = self.add("Div", [frames, self.constant("segment", np.array(SEGMENT))]), count

    def dense_layer(self, x: str, name: str, dilation: int) -> str:
        """What a layer adds to (N, C, T): equations 4 to 8."""
        hidden = self.normalise(x, f"{name}.nonlinear1.batchnorm")
        hidden = self.add("Relu", [self.convolve(hidden, f"{name}.linear1", f"{name}.nonlinear2.batchnorm")])
        local = f"{name}.cam_layer.linear_local"
        out = self.convolve(hidden, local, pads=[dilation, dilation], dilations=[dilation])
        whole = self.add("ReduceMean", [hidden], axes=[2], keepdims=1)
        means = self.add("AveragePool", [hidden], kernel_shape=[SEGMENT], strides=[SEGMENT], ceil_mode=1)
        # The mask is that of a segment: it is computed once for each, and then repeated for its frames.
        context = self.add("Relu", [self.convolve(self.add("Add", [means, whole]), f"{name}.cam_layer.linear1")])
        mask = self.add("Sigmoid", [self.convolve(context, f"{name}.cam_layer.linear2")])
        return self.add("Mul", [out, self.add("Gather", [mask, self._segments[0]], axis=2)])

    def statistics(self, x: str) -> str:
        """(N, C, T) -> (N, 2 C, 1): mean and unbiased deviation over time."""
        mean = self.add("ReduceMean", [x], axes=[2], keepdims=1)
        difference = self.add("Sub", [x, mean])
        total = self.add("ReduceSum", [self.add("Mul", [difference, difference]), self.ints([2])], keepdims=1)
        freedom = self.add(
            "Sub", [self.add("Cast", [self._segments[1]], to=1), self.constant("unit", np.ones(1, np.float32))]
        )
        return self.add("Concat", [mean, self.add("Sqrt", [self.add("Div", [total, freedom])])], axis=1)

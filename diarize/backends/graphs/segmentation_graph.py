"""A quantised pyannote/segmentation-3.0, restored to floating point with the filters that it was trained with.

The published 8-bit graph also quantises the products from which its first layer's filters are computed: 2 pi n / 16000
Hz times the cut-off frequencies. This leaves frequencies exact to 31 Hz and times to a quarter of a sample: phases are
off by up to a radian, and the filters differ from those of training. It also rounds the sound between layers to 256
steps of its loudest peak. Reverberant recordings suffer most (docs/method/turns.md).

The file still holds the original values: cut-offs and window are in floating point, n is known, and the other weights
lose little in 8 bits. So the graph is built again: filters from M. Ravanelli, Y. Bengio, "Speaker recognition
from raw waveform with SincNet", 2018, arXiv:1808.00158, in the even and odd pairs of asteroid's `ParamSincFB`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.backends.graphs.builder import GraphBuilder
from diarize.units import RATE

HALF = 125  # taps left of a filter's middle
LOWEST = 50.0  # Hz, least cut-off and least bandwidth
HIDDEN = 128
QUANTISED = "DynamicQuantizeLSTM"
EPSILON = 1e-5  # of every normalisation
SLOPE = 0.01  # of every leaky ReLU
# For each LSTM the initializers of its input weights, recurrent weights and biases; for each linear layer, weights and
# bias: the names that the exporter gave them.
LSTMS = ((784, 785, 783), (827, 828, 826), (870, 871, 869), (913, 914, 912))
LINEAR = ((915, "linear.0.bias"), (916, "linear.1.bias"), (917, "classifier.bias"))

Tensors = dict[str, NDArray[Any]]


def restore(model: Path) -> bytes | None:
    """The graph in floating point, `x` (N, 1, samples) -> `y` (N, frames, 7) log-probabilities; None: it already is.

    Raises KeyError if a quantised graph has other tensors.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(model)).graph
    if all(node.op_type != QUANTISED for node in graph.node):
        return None
    return _build({tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer})


def filters(low: NDArray[Any], band: NDArray[Any], window: NDArray[Any]) -> NDArray[np.float32]:
    """Band-pass filters (2 k, 1, 251) from raw cut-offs and bandwidths (k, 1) in Hz and half a window (125,).

    The first k are even (cosine), the others odd (sine); each has a gain of one.
    """
    lowest = LOWEST + np.abs(low.astype(np.float64))
    highest = np.clip(lowest + LOWEST + np.abs(band.astype(np.float64)), LOWEST, RATE / 2)
    width = highest - lowest
    n = 2 * np.pi * np.arange(-HALF, 0) / RATE
    even = (np.sin(highest * n) - np.sin(lowest * n)) / (n / 2) * window
    odd = (np.cos(lowest * n) - np.cos(highest * n)) / (n / 2) * window
    left = np.concatenate([even, odd])
    middle = np.concatenate([2 * width, np.zeros_like(width)])
    right = np.concatenate([even, -odd])[:, ::-1]
    scale = 2 * np.concatenate([width, width])
    return np.asarray(np.concatenate([left, middle, right], axis=1) / scale, dtype=np.float32)[:, None]


def _weights(tensors: Tensors, name: str) -> NDArray[np.float32]:
    """Dequantised weights (q - zero point) * scale (ONNX DequantizeLinear), for the tensor or along its first axis."""
    values = tensors[f"{name}_quantized"].astype(np.float32)
    zero, scale = tensors[f"{name}_zero_point"].astype(np.float32), tensors[f"{name}_scale"]
    shape = (-1,) + (1,) * (values.ndim - 1) if scale.ndim else ()
    return np.asarray((values - zero.reshape(shape)) * scale.reshape(shape), dtype=np.float32)


def _build(tensors: Tensors) -> bytes:
    """The network of `sincnet`, `lstm`, `linear` and `classifier` (pyannote.audio, models/segmentation/PyanNet.py)."""
    graph = GraphBuilder()
    constant, add = graph.constant, graph.add

    def normalise(at: str, name: str) -> str:
        parts = [constant(f"{name}.{part}", tensors[f"{name}.{part}"]) for part in ("weight", "bias")]
        return add("InstanceNormalization", [at, *parts], epsilon=EPSILON)

    # SincNet: three convolutions, the first with the restored filters.
    bank = "sincnet.conv1d.0.filterbank."
    kernels = filters(tensors[f"{bank}low_hz_"], tensors[f"{bank}band_hz_"], tensors[f"{bank}window_"])
    at = normalise("x", "sincnet.wav_norm1d")
    at = add("Abs", [add("Conv", [at, constant("filters", kernels)], strides=[10])])
    for i in range(3):
        if i > 0:
            name = f"sincnet.conv1d.{i}"
            kernel = constant(f"{name}.weight", _weights(tensors, f"{name}.weight"))
            at = add("Conv", [at, kernel, constant(f"{name}.bias", tensors[f"{name}.bias"])])
        at = add("MaxPool", [at], kernel_shape=[3], strides=[3])
        at = add("LeakyRelu", [normalise(at, f"sincnet.norm1d.{i}")], alpha=SLOPE)

    # Bidirectional LSTMs; both directions are joined after each.
    at = add("Transpose", [at], perm=[2, 0, 1])  # time first, as ONNX's LSTM expects it
    joined = constant("joined", np.array([0, 0, -1]))
    for names in LSTMS:
        inputs, recurrent, bias = (f"onnx::LSTM_{number}" for number in names)
        weights = [constant(name, _weights(tensors, name).transpose(0, 2, 1)) for name in (inputs, recurrent)]
        parts = [at, *weights, constant(bias, tensors[bias])]
        at = add("LSTM", parts, direction="bidirectional", hidden_size=HIDDEN)
        at = add("Reshape", [add("Transpose", [at], perm=[0, 2, 1, 3]), joined])

    # Linear layers and the classifier.
    for number, bias in LINEAR:
        name = f"onnx::MatMul_{number}"
        at = add("MatMul", [at, constant(name, _weights(tensors, name))])
        at = add("Add", [at, constant(bias, tensors[bias])])
        if bias != LINEAR[-1][1]:
            at = add("LeakyRelu", [at], alpha=SLOPE)
    add("Transpose", [add("LogSoftmax", [at], axis=-1)], ["y"], perm=[1, 0, 2])
    return graph.serialise("segmentation", ("x", ["N", 1, "samples"]), ("y", ["N", "frames", 7]))

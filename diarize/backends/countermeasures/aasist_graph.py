"""AASIST (Jung et al. 2022, arXiv 2110.01200) as an ONNX graph, from the weights that its authors publish.

Fixed sinc filters over the samples and six residual blocks (section 2.1 of the paper) give a map of channels, bands and
frames. Its maxima over frames and over bands are the nodes of a spectral and a temporal graph (2.2); each goes through
graph attention and pooling (2.3). Two branches of heterogeneous stacking graph attention with a stack node (3.1, 3.2)
read both graphs; their element-wise maximum (3.3) is read out by maximum and mean, and a linear layer gives two logits:
spoofed, bona fide.

Two facts of the published network that the paper does not tell: the first normalisation of a residual block has no
effect, and filters are symmetric with 129 taps where the configuration says 128.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.backends.graphs.builder import GraphBuilder
from diarize.units import RATE

Floats = NDArray[np.float32]

SAMPLES = 64_600  # of a window, 4.04 s
BLOCKS = 6  # residual
TAPS = 129  # of a sinc filter
FILTERS = 70
_EPSILON = 1e-5  # of batch normalisation, torch's default
_BANDS = 23  # nodes of the spectral graph


def build(weights: Mapping[str, Floats], format: Mapping[str, Any]) -> bytes:
    """The network as a serialized graph: `samples` (N, 64600) -> `logits` (N, 2), spoofed and bona fide.

    `format`: `pool_ratios` (4), the share of nodes that each pooling leaves, and `temperatures` (3) of the attentions,
    of the published configuration. Raises KeyError where a tensor is missing, ValueError for one of another shape.
    """
    return _Network(weights, tuple(format["pool_ratios"]), tuple(format["temperatures"])).build()


def sinc_filters() -> Floats:
    """The filters (70, 129): band passes between edges that are equally far apart on the mel scale, Hamming windows."""
    highest = 2595 * np.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, highest, FILTERS + 1) / 2595) - 1)  # Hz
    taps = np.arange(-(TAPS // 2), TAPS // 2 + 1, dtype=np.float32)

    def low_pass(edge: float) -> NDArray[np.float64]:
        sinc: NDArray[np.float64] = np.sinc(np.float32(2 * edge) * taps / np.float32(RATE)).astype(np.float64)
        return sinc * (2 * edge / RATE)

    ideal = np.stack([low_pass(high) - low_pass(low) for low, high in pairwise(edges)])
    return np.hamming(TAPS).astype(np.float32) * ideal.astype(np.float32)


@dataclass
class _Network:
    weights: Mapping[str, Floats]
    ratios: tuple[float, ...]
    temperatures: tuple[float, ...]
    graph: GraphBuilder = field(default_factory=GraphBuilder)

    def build(self) -> bytes:
        add = self.graph.add
        features = self._encode()

        # The two graphs: maxima over frames and over bands.
        magnitudes = add("Abs", [features])
        bands = add("ReduceMax", [magnitudes], axes=[3], keepdims=0)
        spectral = add("Add", [add("Transpose", [bands], perm=[0, 2, 1]), self._constant("pos_S")])
        frames = add("ReduceMax", [magnitudes], axes=[2], keepdims=0)
        temporal = add("Transpose", [frames], perm=[0, 2, 1])
        frame_count = self._frames()
        spectral = self._pool("pool_S", self._attend("GAT_layer_S", spectral, self.temperatures[0]), _BANDS, 0)
        temporal = self._pool("pool_T", self._attend("GAT_layer_T", temporal, self.temperatures[1]), frame_count, 1)
        nodes = _share(frame_count, self.ratios[1]), _share(_BANDS, self.ratios[0])  # temporal, spectral

        # Two branches, their maximum, and the readout.
        branches = [self._branch(number, temporal, spectral, nodes) for number in (1, 2)]
        joined = [add("Max", [a, b]) for a, b in zip(*branches, strict=True)]
        parts = []
        for part in joined[:2]:
            parts.append(add("ReduceMax", [add("Abs", [part])], axes=[1], keepdims=0))
            parts.append(add("ReduceMean", [part], axes=[1], keepdims=0))
        parts.append(add("ReduceMean", [joined[2]], axes=[1], keepdims=0))  # of one node
        hidden = add("Concat", parts, axis=1)
        weight, bias = self._constant("out_layer.weight"), self._constant("out_layer.bias")
        add("Gemm", [hidden, weight, bias], ["logits"], transB=1)
        return self.graph.serialise("aasist", ("samples", ["N", SAMPLES]), ("logits", ["N", 2]))

    def _encode(self) -> str:
        """Samples -> features (N, channels, bands, frames)."""
        add, constant = self.graph.add, self.graph.constant
        axis = constant("second", np.array([1]))
        filters = constant("filters", sinc_filters()[:, None, :])
        filtered = add("Conv", [add("Unsqueeze", ["samples", axis]), filters])
        image = add("Abs", [add("Unsqueeze", [filtered, axis])])
        at = add("MaxPool", [image], kernel_shape=[3, 3], strides=[3, 3])
        at = add("Selu", [self._normalise("first_bn", at)])
        for block in range(BLOCKS):
            at = self._block(f"encoder.{block}.0", at)
        return at

    def _block(self, name: str, at: str) -> str:
        add = self.graph.add
        out = self._convolve(f"{name}.conv1", at, [1, 1, 1, 1])
        out = add("Selu", [self._normalise(f"{name}.bn2", out)])
        out = self._convolve(f"{name}.conv2", out, [0, 1, 0, 1])
        if f"{name}.conv_downsample.weight" in self.weights:
            at = self._convolve(f"{name}.conv_downsample", at, [0, 1, 0, 1])
        return add("MaxPool", [add("Add", [out, at])], kernel_shape=[1, 3], strides=[1, 3])

    def _branch(self, number: int, temporal: str, spectral: str, nodes: tuple[int, int]) -> tuple[str, str, str]:
        """One branch -> (temporal nodes, spectral nodes, stack node)."""
        add = self.graph.add
        first, second = f"HtrgGAT_layer_ST{number}1", f"HtrgGAT_layer_ST{number}2"
        at = self._attend_both(first, temporal, spectral, self._constant(f"master{number}"), nodes)
        temporal = self._pool(f"pool_hT{number}", at[0], nodes[0], 2)
        spectral = self._pool(f"pool_hS{number}", at[1], nodes[1], 2)
        fewer = _share(nodes[0], self.ratios[2]), _share(nodes[1], self.ratios[2])
        again = self._attend_both(second, temporal, spectral, at[2], fewer)
        return (
            add("Add", [temporal, again[0]]),
            add("Add", [spectral, again[1]]),
            add("Add", [at[2], again[2]]),
        )

    def _attend(self, name: str, nodes: str, temperature: float) -> str:
        """Graph attention of (N, nodes, d): equations 1 to 4."""
        pairs = self._linear(f"{name}.att_proj", self._pairs(nodes))
        values = self.graph.add("MatMul", [self.graph.add("Tanh", [pairs]), self._constant(f"{name}.att_weight")])
        return self._project(name, nodes, self._soften(values, temperature, 2))

    def _attend_both(
        self, name: str, temporal: str, spectral: str, stack: str, count: tuple[int, int]
    ) -> tuple[str, str, str]:
        """Heterogeneous stacking graph attention: (temporal, spectral, stack node) of the next layer."""
        add, constant = self.graph.add, self.graph.constant
        temporal = self._linear(f"{name}.proj_type1", temporal)
        spectral = self._linear(f"{name}.proj_type2", spectral)
        nodes = add("Concat", [temporal, spectral], axis=1)

        # A pair of nodes has the weight of its kind: both temporal, both spectral, one of each.
        pairs = add("Tanh", [self._linear(f"{name}.att_proj", self._pairs(nodes))])
        of_kind = [self._tensor(f"{name}.att_weight{kind}") for kind in ("11", "22", "12")]
        values = add("MatMul", [pairs, constant(f"{name}.kinds", np.concatenate(of_kind, axis=1))])
        is_temporal = np.arange(sum(count)) < count[0]
        both, none = np.outer(is_temporal, is_temporal), np.outer(~is_temporal, ~is_temporal)
        kinds = np.stack([both, none, ~(both | none)], axis=-1).astype(np.float32)[None]
        chosen = add("Mul", [values, constant(f"{name}.kind", kinds)])
        last = constant(f"{name}.last", np.array([3]))
        temperature = self.temperatures[2]
        attention = self._soften(add("ReduceSum", [chosen, last], keepdims=1), temperature, 2)

        # The stack node reads all nodes, and none reads it.
        read = add("Tanh", [self._linear(f"{name}.att_projM", add("Mul", [nodes, stack]))])
        weights = self._soften(add("MatMul", [read, self._constant(f"{name}.att_weightM")]), temperature, 1)
        summed = add("MatMul", [add("Transpose", [weights], perm=[0, 2, 1]), nodes])
        own = self._linear(f"{name}.proj_without_attM", stack)
        stack = add("Add", [self._linear(f"{name}.proj_with_attM", summed), own])

        out = self._project(name, nodes, attention)
        split = constant(f"{name}.split", np.array(count))
        halves = [f"{name}.temporal", f"{name}.spectral"]
        add("Split", [out, split], halves, axis=1)
        return halves[0], halves[1], stack

    def _pairs(self, nodes: str) -> str:
        """(N, n, d) -> (N, n, n, d), products of every two nodes."""
        add = self.graph.add
        rows = add("Unsqueeze", [nodes, self.graph.constant(f"{nodes}.rows", np.array([2]))])
        columns = add("Unsqueeze", [nodes, self.graph.constant(f"{nodes}.columns", np.array([1]))])
        return add("Mul", [rows, columns])

    def _soften(self, values: str, temperature: float, axis: int) -> str:
        scale = self.graph.constant(f"{values}.temperature", np.array(temperature, np.float32))
        return self.graph.add("Softmax", [self.graph.add("Div", [values, scale])], axis=axis)

    def _project(self, name: str, nodes: str, attention: str) -> str:
        """The next layer's nodes: attended and own parts, normalised over all nodes."""
        add, constant = self.graph.add, self.graph.constant
        map_ = add("Squeeze", [attention, constant(f"{name}.squeezed", np.array([3]))])
        attended = self._linear(f"{name}.proj_with_att", add("MatMul", [map_, nodes]))
        out = add("Add", [attended, self._linear(f"{name}.proj_without_att", nodes)])
        scale = self._tensor(f"{name}.bn.weight") / np.sqrt(self._tensor(f"{name}.bn.running_var") + _EPSILON)
        shift = self._tensor(f"{name}.bn.bias") - self._tensor(f"{name}.bn.running_mean") * scale
        scaled = add("Mul", [out, constant(f"{name}.bn.scale", scale.astype(np.float32))])
        return add("Selu", [add("Add", [scaled, constant(f"{name}.bn.shift", shift.astype(np.float32))])])

    def _pool(self, name: str, nodes: str, count: int, ratio: int) -> str:
        """The nodes with the highest scores, each times its score, best first."""
        add, constant = self.graph.add, self.graph.constant
        scores = add("Sigmoid", [self._linear(f"{name}.proj", nodes)])
        most = constant(f"{name}.most", np.array([_share(count, self.ratios[ratio])]))
        add("TopK", [scores, most], [f"{name}.best", f"{name}.order"], axis=1)
        width = self._tensor(f"{name}.proj.weight").shape[1]
        order = add("Expand", [f"{name}.order", constant(f"{name}.width", np.array([1, 1, width]))])
        return add("GatherElements", [add("Mul", [nodes, scores]), order], axis=1)

    def _linear(self, name: str, at: str) -> str:
        weight = self.graph.constant(f"{name}.{at}.weight", self._tensor(f"{name}.weight").T)
        product = self.graph.add("MatMul", [at, weight])
        return self.graph.add("Add", [product, self.graph.constant(f"{name}.{at}.bias", self._tensor(f"{name}.bias"))])

    def _convolve(self, name: str, at: str, pads: list[int]) -> str:
        weights = [self._constant(f"{name}.weight"), self._constant(f"{name}.bias")]
        return self.graph.add("Conv", [at, *weights], pads=pads)

    def _normalise(self, name: str, at: str) -> str:
        statistics = ("weight", "bias", "running_mean", "running_var")
        constants = [self._constant(f"{name}.{each}") for each in statistics]
        return self.graph.add("BatchNormalization", [at, *constants], epsilon=_EPSILON)

    def _constant(self, name: str) -> str:
        return self.graph.constant(name, self._tensor(name))

    def _tensor(self, name: str) -> Floats:
        return self.weights[name]

    def _frames(self) -> int:
        """Nodes of the temporal graph."""
        frames = (SAMPLES - TAPS + 1) // 3
        for _ in range(BLOCKS):
            frames //= 3
        return frames


def _share(count: int, ratio: float) -> int:
    """How many of `count` nodes pooling leaves."""
    return max(int(count * ratio), 1)

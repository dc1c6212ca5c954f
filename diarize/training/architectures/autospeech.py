"""AutoSpeech (Ding et al. 2020, arXiv:2005.03215): eight cells of an architecture that a search has chosen.

A cell is a small graph in the manner of DARTS (Liu et al. 2018, arXiv:1806.09055): nodes 0 and 1 are the outputs of the
two cells before, each further node is the sum of two operations on earlier nodes, and the output is nodes 2 to 5 side
by side. Cells 2 and 5 of eight halve bands and frames (reduction cells). A genotype names the operations.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

CELLS = 8
PUBLISHED = (  # of the paper
    "Genotype(normal=[('dil_conv_5x5', 1), ('dil_conv_3x3', 0), ('dil_conv_5x5', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 2), ('dil_conv_3x3', 2), ('max_pool_3x3', 1)], normal_concat=range(2, 6), "
    "reduce=[('max_pool_3x3', 1), ('max_pool_3x3', 0), ('dil_conv_5x5', 2), ('max_pool_3x3', 1), ('dil_conv_5x5', 3), "
    "('dil_conv_3x3', 2), ('dil_conv_5x5', 4), ('dil_conv_5x5', 2)], reduce_concat=range(2, 6))"
)
OPERATIONS = (
    "none", "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3",
    "dil_conv_5x5",
)  # fmt: skip
Edges = tuple[tuple[str, int], ...]  # (operation, node it reads), two a node


def parse_genotype(text: str) -> tuple[Edges, Edges]:
    """(normal, reduction) edges of a genotype as the search prints it. Nothing is executed. Raises ValueError."""
    problem = f"no genotype, as the search prints it: {text[:80]!r}"
    try:
        call = ast.parse(text.strip(), mode="eval").body
        assert isinstance(call, ast.Call)
        values = {word.arg: word.value for word in call.keywords}
        edges = [ast.literal_eval(values[name]) for name in ("normal", "reduce")]
        result = tuple(tuple((str(name), int(node)) for name, node in part) for part in edges)
    except (SyntaxError, ValueError, TypeError, KeyError, AssertionError, RecursionError, MemoryError) as error:
        raise ValueError(problem) from error
    for part in result:
        for i, (name, node) in enumerate(part):
            if name not in OPERATIONS or not 0 <= node < 2 + i // 2:
                raise ValueError(f"{problem}: ({name!r}, {node})")
    if any(len(part) != 8 for part in result):
        raise ValueError(f"{problem}: a cell has eight operations")
    return result[0], result[1]


def _normalised(inputs: int, outputs: int, stride: int = 1) -> Any:
    return nn.Sequential(nn.ReLU(), nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class _HalvingReduction(nn.Module):
    """Halves bands and frames without leaving out every second value: two grids, moved by one, side by side."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs // 2, 1, 2, bias=False)
        self.second = nn.Conv2d(inputs, outputs - outputs // 2, 1, 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Any) -> Any:
        x = torch.relu(x)
        moved = nn.functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        return self.norm(torch.cat([self.first(x), self.second(moved)], dim=1))


class _Zero(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Any) -> Any:
        return x[:, :, :: self.stride, :: self.stride] * 0


def _operation(name: str, channels: int, stride: int) -> Any:
    """One of OPERATIONS on (N, channels, bands, frames)."""
    if name == "none":
        return _Zero(stride)
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else _HalvingReduction(channels, channels)
    kind, _, size = name.rpartition("_")
    kernel = int(size[0])
    if kind == "max_pool":
        return nn.MaxPool2d(kernel, stride, 1)
    if kind == "avg_pool":
        return nn.AvgPool2d(kernel, stride, 1, count_include_pad=False)

    def separable(stride: int, dilation: int) -> list[Any]:
        padding = dilation * (kernel - 1) // 2
        return [
            nn.ReLU(),
            nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False),
            nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels),
        ]  # fmt: skip

    layers = separable(stride, 2) if kind == "dil_conv" else [*separable(stride, 1), *separable(1, 1)]
    return nn.Sequential(*layers)


class _Cell(nn.Module):
    def __init__(
        self, edges: Edges, inputs: Sequence[int], channels: int, reduces: bool, reduced_before: bool
    ) -> None:  # fmt: skip
        super().__init__()
        before = _HalvingReduction if reduced_before else _normalised
        self.first, self.second = before(inputs[0], channels), _normalised(inputs[1], channels)
        self.nodes = [node for _, node in edges]
        self.operations = nn.ModuleList(
            _operation(name, channels, 2 if reduces and node < 2 else 1) for name, node in edges
        )

    def forward(self, first: Any, second: Any) -> Any:
        states = [self.first(first), self.second(second)]
        for i in range(0, len(self.nodes), 2):
            states.append(self.operations[i](states[self.nodes[i]]) + self.operations[i + 1](states[self.nodes[i + 1]]))
        return torch.cat(states[2:], dim=1)


class AutoSpeech(nn.Module):
    """Filter banks in place of the spectrogram of the paper; the mean over bands and frames, then a linear layer."""

    def __init__(self, bins: int, channels: int = 16, dimension: int = 256, genotype: str | None = None) -> None:
        super().__init__()
        normal, reduction = parse_genotype(genotype or PUBLISHED)
        self.stem0 = nn.Sequential(
            nn.Conv2d(1, channels // 2, 3, 2, 1, bias=False), nn.BatchNorm2d(channels // 2), nn.ReLU(),
            nn.Conv2d(channels // 2, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels),
        )  # fmt: skip
        self.stem1 = nn.Sequential(
            nn.ReLU(), nn.Conv2d(channels, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels)
        )
        self.cells = nn.ModuleList()
        widths, reduced = (channels, channels), True  # the second stem halves
        for i in range(CELLS):
            reduces = i in (CELLS // 3, 2 * CELLS // 3)
            channels *= 2 if reduces else 1
            self.cells.append(_Cell(reduction if reduces else normal, widths, channels, reduces, reduced))
            widths, reduced = (widths[1], 4 * channels), reduces
        self.head = nn.Linear(widths[1], dimension)

    def forward(self, x: Any) -> Any:
        """(N, T, bins) -> (N, d)."""
        first = self.stem0(x.transpose(1, 2).unsqueeze(1))
        second = self.stem1(first)
        for cell in self.cells:
            first, second = second, cell(first, second)
        return self.head(second.mean((2, 3)))

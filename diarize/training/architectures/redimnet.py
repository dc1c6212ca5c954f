"""A small network after ReDimNet (Yakovlev et al. 2024, arXiv:2407.18223): not its published sizes or weights.

Its idea, section 2.1: two-dimensional blocks (channels x bands x frames) and one-dimensional ones (channels * bands x
frames) take turns; the product of channels and bands stays the same, so a reshape leads from one to the other, and each
block can see a weighted sum of the outputs of all before it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from diarize.training.architectures.pooling import AttentiveStatistics

STAGES = ((2, 1), (2, 2), (2, 2), (2, 2))  # (two-dimensional blocks, stride over bands)
REDUCTION = 4  # of the width inside one-dimensional blocks


class _Block2d(nn.Module):
    """Depthwise and pointwise convolution with a residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False), nn.BatchNorm2d(channels),
            nn.ReLU(), nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        return torch.relu(x + self.body(x))


class _Block1d(nn.Module):
    """Context over time: narrow, a depthwise convolution of 7 frames, wide again, with a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        narrow = width // REDUCTION
        self.body = nn.Sequential(
            nn.Conv1d(width, narrow, 1), nn.BatchNorm1d(narrow), nn.ReLU(),
            nn.Conv1d(narrow, narrow, 7, padding=3, groups=narrow, bias=False), nn.BatchNorm1d(narrow), nn.ReLU(),
            nn.Conv1d(narrow, width, 1), nn.BatchNorm1d(width),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        return x + self.body(x)


class ReDimNet(nn.Module):
    def __init__(self, bins: int, channels: int = 12, dimension: int = 192) -> None:
        super().__init__()
        if bins % 8:
            raise ValueError(f"redimnet: bins must be a multiple of 8, got {bins}")
        self.width = channels * bins
        self.stem = nn.Sequential(nn.Conv2d(1, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        self.stages, self.contexts, self.bands = nn.ModuleList(), nn.ModuleList(), []
        # Weights of the outputs so far, one a value: equation 1.
        self.sums = nn.ParameterList(nn.Parameter(torch.ones(i + 1, self.width, 1)) for i in range(len(STAGES) + 1))
        height = bins
        for count, stride in STAGES:
            inner = channels * stride
            down = nn.Conv2d(channels, inner, (stride, 3), (stride, 1), (0, 1), bias=False)
            layers = [down, nn.BatchNorm2d(inner), nn.ReLU(), *(_Block2d(inner) for _ in range(count))]
            self.bands.append((channels, height))
            self.stages.append(nn.Sequential(*layers))
            self.contexts.append(_Block1d(self.width))
            channels, height = inner, height // stride
        self.pool = AttentiveStatistics(self.width)
        self.head = nn.Sequential(nn.BatchNorm1d(2 * self.width), nn.Linear(2 * self.width, dimension))

    def _sum(self, i: int, outputs: list[Any]) -> Any:
        weights = self.sums[i].softmax(0)
        return sum(weight * output for weight, output in zip(weights, outputs, strict=True))

    def forward(self, x: Any) -> Any:
        """(N, T, bins) -> (N, d)."""
        outputs = [self.stem(x.transpose(1, 2).unsqueeze(1)).flatten(1, 2)]
        for i, (stage, context) in enumerate(zip(self.stages, self.contexts, strict=True)):
            joined = self._sum(i, outputs).unflatten(1, self.bands[i])
            outputs.append(context(stage(joined).flatten(1, 2)))
        return self.head(self.pool(self._sum(len(STAGES), outputs)))

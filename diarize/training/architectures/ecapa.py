"""ECAPA-TDNN (Desplanques et al. 2020, arXiv:2005.07143)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from diarize.training.architectures.pooling import AttentiveStatistics

SCALE = 8  # groups of channels of Res2Net


class _Convolution(nn.Sequential):
    """Convolution, ReLU, batch norm; as many frames as before."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> None:
        padding = dilation * (kernel - 1) // 2
        super().__init__(
            nn.Conv1d(inputs, outputs, kernel, dilation=dilation, padding=padding), nn.ReLU(), nn.BatchNorm1d(outputs)
        )


class _Block(nn.Module):
    """SE-Res2Block: dense layer, dilated convolutions of groups that add up, dense layer, squeeze-excitation."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        width = channels // SCALE
        self.first, self.last = _Convolution(channels, channels), _Convolution(channels, channels)
        self.groups = nn.ModuleList(_Convolution(width, width, 3, dilation) for _ in range(SCALE - 1))
        self.gate = nn.Sequential(
            nn.Linear(channels, channels // 4), nn.ReLU(), nn.Linear(channels // 4, channels), nn.Sigmoid()
        )

    def forward(self, x: Any) -> Any:
        parts = list(torch.chunk(self.first(x), SCALE, dim=1))
        outputs = [parts[0]]
        for i, (group, part) in enumerate(zip(self.groups, parts[1:], strict=True)):
            outputs.append(group(part + outputs[-1] if i else part))
        y = self.last(torch.cat(outputs, dim=1))
        return x + y * self.gate(y.mean(-1)).unsqueeze(-1)


class Ecapa(nn.Module):
    def __init__(self, bins: int, channels: int = 512, dimension: int = 192) -> None:
        super().__init__()
        if channels % SCALE:
            raise ValueError(f"ecapa: channels must be a multiple of {SCALE}, got {channels}")
        self.first = _Convolution(bins, channels, 5)
        self.blocks = nn.ModuleList(_Block(channels, dilation) for dilation in (2, 3, 4))
        joined = 3 * channels
        self.join = nn.Sequential(nn.Conv1d(joined, joined, 1), nn.ReLU())
        self.pool = AttentiveStatistics(joined)
        self.head = nn.Sequential(nn.BatchNorm1d(2 * joined), nn.Linear(2 * joined, dimension))

    def forward(self, x: Any) -> Any:
        """(N, T, bins) -> (N, d)."""
        total = self.first(x.transpose(1, 2))
        outputs = []
        for block in self.blocks:  # each block sees the sum of all before it
            outputs.append(block(total))
            total = total + outputs[-1]
        return self.head(self.pool(self.join(torch.cat(outputs, dim=1))))

"""The x-vector network (Snyder et al. 2018, "X-vectors: robust DNN embeddings for speaker recognition", table 1)."""

from __future__ import annotations

from typing import Any

from torch import nn

from diarize.training.architectures.pooling import statistics


class XVector(nn.Module):
    """Five time-delay layers (contexts 5, 3 every second, 3 every third, 1, 1), statistics, two linear layers."""

    def __init__(self, bins: int, channels: int = 512, dimension: int = 512) -> None:
        super().__init__()
        layers: list[Any] = []
        width = bins
        for out, kernel, dilation in (
            (channels, 5, 1), (channels, 3, 2), (channels, 3, 3), (channels, 1, 1), (3 * channels, 1, 1),
        ):  # fmt: skip
            # Padded, so that short speech has frames too.
            padding = dilation * (kernel - 1) // 2
            layers += [nn.Conv1d(width, out, kernel, dilation=dilation, padding=padding), nn.ReLU()]
            layers.append(nn.BatchNorm1d(out))
            width = out
        self.frames = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Linear(2 * width, dimension), nn.BatchNorm1d(dimension), nn.ReLU(), nn.Linear(dimension, dimension)
        )

    def forward(self, x: Any) -> Any:
        """(N, T, bins) -> (N, d)."""
        return self.head(statistics(self.frames(x.transpose(1, 2))))

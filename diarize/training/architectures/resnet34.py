"""ResNet34 with statistics pooling, as in WeSpeaker (arXiv:2210.17016; He et al. 2015, arXiv:1512.03385, table 1)."""

from __future__ import annotations

from typing import Any

from torch import nn

from diarize.training.architectures.pooling import statistics

BLOCKS = (3, 4, 6, 3)


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        changed = stride != 1 or inputs != outputs
        self.shortcut = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            if changed else nn.Identity()
        )  # fmt: skip
        self.relu = nn.ReLU()

    def forward(self, x: Any) -> Any:
        return self.relu(self.body(x) + self.shortcut(x))


class ResNet34(nn.Module):
    def __init__(self, bins: int, channels: int = 32, dimension: int = 256) -> None:
        super().__init__()
        layers: list[Any] = [nn.Conv2d(1, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
        width = channels
        for stage, count in enumerate(BLOCKS):
            for i in range(count):
                layers.append(_Block(width, channels << stage, 2 if stage and not i else 1))
                width = channels << stage
        self.body = nn.Sequential(*layers)
        height = bins
        for _ in range(len(BLOCKS) - 1):
            height = -(-height // 2)
        self.head = nn.Linear(2 * width * height, dimension)

    def forward(self, x: Any) -> Any:
        """(N, T, bins) -> (N, d)."""
        return self.head(statistics(self.body(x.transpose(1, 2).unsqueeze(1)).flatten(1, 2)))

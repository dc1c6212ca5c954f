"""The network of SpeechIdentity (github.com/douglas125/SpeechIdentity): two bidirectional LSTMs and a linear layer.

The first layer gives sequences, the second its last states of both directions. Here it takes the filter banks that all
networks of this room take, not that project's mel spectrogram at 48 kHz.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class SpeechIdentity(nn.Module):
    def __init__(self, bins: int, channels: int = 128, dimension: int = 128) -> None:
        super().__init__()
        self.first = nn.LSTM(bins, channels, batch_first=True, bidirectional=True)
        self.second = nn.LSTM(2 * channels, channels, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * channels, dimension)

    def forward(self, x: Any) -> Any:
        """(N, T, bins) -> (N, d)."""
        _, (states, _) = self.second(self.first(x)[0])
        return self.head(torch.cat([states[0], states[1]], dim=1))

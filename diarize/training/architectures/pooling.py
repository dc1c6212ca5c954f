"""Frames -> one vector: statistics over time, plain and weighted by attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

SMALLEST = 1e-5  # variance under the root: its derivative must stay finite


def statistics(x: Any, weights: Any = None) -> Any:
    """(N, C, T), and weights that sum to 1 over T -> (N, 2 C): mean and standard deviation over time.

    Snyder et al. 2018, "X-vectors: robust DNN embeddings for speaker recognition", section 2.1; with weights: Okabe et
    al. 2018, arXiv:1803.10963, equations 5 and 6.
    """
    mean = x.mean(-1) if weights is None else (weights * x).sum(-1)
    square = (x - mean.unsqueeze(-1)).square()
    variance = square.mean(-1) if weights is None else (weights * square).sum(-1)
    return torch.cat([mean, variance.clamp(min=SMALLEST).sqrt()], dim=1)


class AttentiveStatistics(nn.Module):
    """(N, C, T) -> (N, 2 C), a weight for each channel and frame that depends on all frames.

    Desplanques et al. 2020, "ECAPA-TDNN", arXiv:2005.07143, section 3.1.
    """

    def __init__(self, channels: int, hidden: int = 128) -> None:
        super().__init__()
        self.score = nn.Sequential(
            nn.Conv1d(3 * channels, hidden, 1), nn.Tanh(), nn.Conv1d(hidden, channels, 1), nn.Softmax(dim=2)
        )

    def forward(self, x: Any) -> Any:
        context = statistics(x).unsqueeze(-1).expand(-1, -1, x.shape[-1])
        return statistics(x, self.score(torch.cat([x, context], dim=1)))

"""Which channels of a recording to listen to, decided from what is in them (docs/method/decoding.md).

A blind average of the channels turns anti-phase stereo into silence, and one live channel of eight into a whisper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log10

import numpy as np
from numpy.typing import NDArray

LIVE = 1e-3  # a channel is live when its loudest second has this share (-30 dB) of the power of the loudest channel's
SILENT = 1e-10  # power (-100 dB of full scale) under which nothing was recorded: below the noise of 16-bit samples
SAME = 0.95  # correlation from which two channels are the same sound: lossy coding keeps copies above it
OPPOSED = -0.3  # correlation under which adding two channels would cancel more than it gains


class ChannelStatistics:
    """Powers and correlations of the channels, gathered block by block."""

    def __init__(self, channels: int) -> None:
        self.count = 0  # samples
        self.sums = np.zeros(channels)
        self.products = np.zeros((channels, channels))
        self.loudest = np.zeros(channels)  # power of the loudest block, without its mean

    def add(self, block: NDArray[np.float32]) -> None:
        """Take in (n, channels) samples; n about a second."""
        if not len(block):
            return
        wide = block.astype(np.float64)
        sums, products = wide.sum(axis=0), wide.T @ wide
        self.count += len(block)
        self.sums += sums
        self.products += products
        self.loudest = np.maximum(self.loudest, np.diag(products) / len(block) - (sums / len(block)) ** 2)

    @property
    def means(self) -> NDArray[np.float64]:
        """(channels,): the constant offset of each."""
        return self.sums / max(self.count, 1)

    @property
    def correlations(self) -> NDArray[np.float64]:
        """(channels, channels) Pearson correlations in [-1, 1]; 0 with a channel that never moves."""
        covariance = self.products / max(self.count, 1) - np.outer(self.means, self.means)
        deviation = np.sqrt(np.maximum(np.diag(covariance), 0))
        scale = np.outer(deviation, deviation)
        ratio: NDArray[np.float64] = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
        return np.clip(ratio, -1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class ChannelSelection:
    """`weights` (outputs, channels): what to add up for each output; `reason` says it in words."""

    weights: NDArray[np.float32] = field(repr=False)
    reason: str


def select_channels(statistics: ChannelStatistics, wanted: str) -> ChannelSelection:
    """The channels to use: `wanted` is auto, mix, per-channel, or a number from 0.

    Raises ValueError where the number is not one of the channels.
    """
    n = len(statistics.sums)
    unit = np.eye(n, dtype=np.float32)
    if wanted == "per-channel":
        return ChannelSelection(unit, f"per-channel: each of {n}")
    if wanted == "mix":
        return ChannelSelection(np.full((1, n), 1 / n, np.float32), f"mix: mean of all {n}")
    if wanted != "auto":
        if int(wanted) >= n:
            raise ValueError(f"there is no channel {wanted}: the recording has {_count(n, 'channel')}, counted from 0")
        return ChannelSelection(unit[[int(wanted)]], f"{int(wanted)}: asked for")
    if n == 1:
        return ChannelSelection(unit, "0: the only one")
    return _auto(statistics)


def _auto(statistics: ChannelStatistics) -> ChannelSelection:
    n = len(statistics.sums)
    loudest = statistics.loudest
    live = [c for c in range(n) if loudest[c] >= max(LIVE * loudest.max(), SILENT)]
    if not live:
        return ChannelSelection(np.eye(n, dtype=np.float32)[:1], f"0: all {n} are silent")
    # Loudest first, in steps of 3 dB: of two copies the lower number is kept.
    live.sort(key=lambda c: (-round(10 * log10(loudest[c]) / 3), c))
    correlations = statistics.correlations
    kept: dict[int, int] = {}  # channel -> sign
    reasons = [f"{_these([c for c in range(n) if c not in live])} silent"] if len(live) < n else []
    for c in live:
        twin = next((k for k in kept if abs(correlations[c, k]) >= SAME), None)
        if twin is not None:
            what = "a copy" if correlations[c, twin] > 0 else "the same inverted"
            reasons.append(f"{c} {what} of {twin} (correlation {correlations[c, twin]:.2f})")
        else:
            strongest = next(iter(kept), c)
            kept[c] = -1 if correlations[c, strongest] <= OPPOSED else 1
    weights = np.zeros((1, n), np.float32)
    for c, sign in kept.items():
        weights[0, c] = sign / len(kept)
    chosen = sorted(kept)
    text = str(chosen[0]) if len(chosen) == 1 else f"mean of {_list(chosen)}"
    if flipped := [c for c in chosen if kept[c] < 0]:
        reasons.append(f"{_these(flipped)} inverted first, being opposed")
    return ChannelSelection(weights, f"{text}: {'; '.join(reasons) if reasons else 'each holds a sound of its own'}")


def _list(channels: Sequence[int]) -> str:
    return ", ".join(str(c) for c in channels[:-1]) + f" and {channels[-1]}" if len(channels) > 1 else str(channels[0])


def _these(channels: Sequence[int]) -> str:
    return f"{_list(channels)} {'is' if len(channels) == 1 else 'are'}"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"

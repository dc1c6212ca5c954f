"""Selects the channels of a recording by their power and correlation (docs/method/decoding.md).

A plain average of the channels turns anti-phase stereo into silence, and makes one live channel of eight 18 dB quieter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log10

import numpy as np
from numpy.typing import NDArray

from diarize.text import counted

LIVE = 1e-3  # a channel is live when its loudest second has this share (-30 dB) of the power of the loudest channel's
SILENT = 1e-10  # power (-100 dB of full scale) under which nothing was recorded: below the noise of 16-bit samples
SAME = 0.95  # correlation from which two channels are the same sound: lossy coding keeps copies above it
OPPOSED = -0.3  # correlation below which the sum of two channels cancels more than it gains


class ChannelStatistics:
    """Powers and correlations of the channels, collected block by block."""

    def __init__(self, channels: int) -> None:
        self.count = 0  # samples
        self.sums = np.zeros(channels)
        self.products = np.zeros((channels, channels))
        self.loudest = np.zeros(channels)  # power of the loudest block, without its mean

    def add(self, block: NDArray[np.float32]) -> None:
        """Add (n, channels) samples; n about a second."""
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
        """(channels, channels) Pearson correlations in [-1, 1]; 0 with a constant channel."""
        covariance = self.products / max(self.count, 1) - np.outer(self.means, self.means)
        deviation = np.sqrt(np.maximum(np.diag(covariance), 0))
        scale = np.outer(deviation, deviation)
        ratio: NDArray[np.float64] = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
        return np.clip(ratio, -1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class ChannelSelection:
    """`weights` (outputs, channels): each output is a weighted sum of channels; `reason` explains the selection."""

    weights: NDArray[np.float32] = field(repr=False)
    reason: str


def select_channels(statistics: ChannelStatistics, channel: str) -> ChannelSelection:
    """The channels to use: `channel` is auto, mix, per-channel, or a number from 0.

    Raises ValueError if there is no channel of that number.
    """
    n = len(statistics.sums)
    unit = np.eye(n, dtype=np.float32)
    if channel == "per-channel":
        return ChannelSelection(unit, f"per-channel: each of {n}")
    if channel == "mix":
        return ChannelSelection(np.full((1, n), 1 / n, np.float32), f"mix: mean of all {n}")
    if channel != "auto":
        if int(channel) >= n:
            raise ValueError(
                f"there is no channel {channel}: the recording has {counted(n, 'channel')}, numbered from 0"
            )
        return ChannelSelection(unit[[int(channel)]], f"{int(channel)}: set by the user")
    if n == 1:
        return ChannelSelection(unit, "0: the only one")
    return _select_automatically(statistics)


def name_lines(statistics: ChannelStatistics, selection: ChannelSelection) -> tuple[str, ...]:
    """What of the recording each output is: "channel 1" of a channel that has a sound of its own, else "".

    A channel that all live channels are copies of is the whole recording. Of several copies the first one names them.
    """
    live, correlations = _live(statistics), np.abs(statistics.correlations)
    lines = []
    for row in selection.weights:
        used = np.flatnonzero(row)
        first = int(used[0]) if len(used) else 0
        copies = {first} | {c for c in live if correlations[c, first] >= SAME}
        whole = len(used) != 1 or len(row) == 1 or (first in live and copies >= set(live))
        lines.append("" if whole else f"channel {min(copies)}")
    return tuple(lines)


def _live(statistics: ChannelStatistics) -> list[int]:
    loudest = statistics.loudest
    return [c for c in range(len(loudest)) if loudest[c] >= max(LIVE * loudest.max(), SILENT)]


def _select_automatically(statistics: ChannelStatistics) -> ChannelSelection:
    n = len(statistics.sums)
    loudest = statistics.loudest
    live = _live(statistics)
    if not live:
        return ChannelSelection(np.eye(n, dtype=np.float32)[:1], f"0: all {n} are silent")
    # Loudest first, in steps of 3 dB: of two copies the lower number is selected.
    live.sort(key=lambda c: (-round(10 * log10(loudest[c]) / 3), c))
    correlations = statistics.correlations
    signs: dict[int, int] = {}  # selected channel -> 1, or -1 if it is inverted
    reasons = [f"{_subject([c for c in range(n) if c not in live])} silent"] if len(live) < n else []
    for c in live:
        twin = next((k for k in signs if abs(correlations[c, k]) >= SAME), None)
        if twin is not None:
            kind = "a copy" if correlations[c, twin] > 0 else "an inverted copy"
            reasons.append(f"{c} is {kind} of {twin} (correlation {correlations[c, twin]:.2f})")
        else:
            strongest = next(iter(signs), c)
            signs[c] = -1 if correlations[c, strongest] <= OPPOSED else 1
    weights = np.zeros((1, n), np.float32)
    for c, sign in signs.items():
        weights[0, c] = sign / len(signs)
    selected = sorted(signs)
    text = str(selected[0]) if len(selected) == 1 else f"mean of {_list(selected)}"
    if inverted := [c for c in selected if signs[c] < 0]:
        reasons.append(f"{_subject(inverted)} inverted before the sum (negative correlation)")
    return ChannelSelection(weights, f"{text}: {'; '.join(reasons) if reasons else 'their sounds differ'}")


def _list(channels: Sequence[int]) -> str:
    return ", ".join(str(c) for c in channels[:-1]) + f" and {channels[-1]}" if len(channels) > 1 else str(channels[0])


def _subject(channels: Sequence[int]) -> str:
    return f"{_list(channels)} {'is' if len(channels) == 1 else 'are'}"

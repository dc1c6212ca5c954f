"""Votes of labelled windows on who speaks at an instant (docs/method/turns.md)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike, NDArray

from diarize.types import Labels, Segment


class WindowVotes:
    """Windows that vote for their labels 0..k-1: most at their middle, falling linearly to their ends.

    So two neighbouring windows with different labels part at the middle of what they share.
    """

    def __init__(self, windows: Sequence[Segment], labels: Labels, least: float, dtype: DTypeLike = np.float64) -> None:
        """`least` is added to each vote, so that a window has one at its very ends too."""
        order = sorted(range(len(windows)), key=lambda i: (windows[i].start, windows[i].end))
        self._starts = np.array([windows[i].start for i in order])
        self._ends = np.array([windows[i].end for i in order])
        self._labels = np.asarray(labels, dtype=np.int64)[order]
        self._longest = float((self._ends - self._starts).max(initial=0.0))
        self._least, self._dtype = least, dtype
        self.clusters = int(self._labels.max(initial=-1)) + 1

    def at(self, times: NDArray[np.float64]) -> NDArray[np.floating]:
        """(m, k) votes at `times` (m,), which rise. Where no window lies, the nearest one has the only vote."""
        near = slice(*np.searchsorted(self._starts, (times[0] - self._longest, times[-1])))
        starts, ends, labels = self._starts[near], self._ends[near], self._labels[near]
        first, last = np.searchsorted(times, starts), np.searchsorted(times, ends)
        votes = np.zeros((len(times), self.clusters), self._dtype)
        for a, b, middle, half, label in zip(
            first, last, (starts + ends) / 2, (ends - starts) / 2, labels, strict=True
        ):
            votes[a:b, label] += 1 - np.abs(times[a:b] - middle) / half + self._least
        outside = np.flatnonzero(~votes.any(1))
        if len(outside):
            votes[outside, self._labels[self._nearest(times[outside])]] = 1
        return votes

    def _nearest(self, times: NDArray[np.float64]) -> NDArray[np.int64]:
        """The window nearest to each of `times` (m,), none of which is in a window; the earlier of two equally near."""
        reach = np.maximum.accumulate(self._ends)  # the latest end of a window and all before it: windows may nest
        place = np.searchsorted(self._starts, times)
        before = np.searchsorted(reach, reach[(place - 1).clip(0)])
        after = place.clip(0, len(self._starts) - 1)
        gap_before = np.where(place > 0, times - self._ends[before], np.inf)
        gap_after = np.where(place < len(self._starts), self._starts[after] - times, np.inf)
        return np.asarray(np.where(gap_before <= gap_after, before, after), dtype=np.int64)

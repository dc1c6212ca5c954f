"""Set algebra on stretches of time: sorted, disjoint segments in, the same out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from diarize.types import Segment


def union(segments: Iterable[Segment], gap: float = 0.0) -> tuple[Segment, ...]:
    """Sorted, disjoint segments covering `segments`; neighbours at most `gap` seconds apart become one."""
    merged: list[Segment] = []
    for segment in sorted(segments, key=lambda s: (s.start, s.end)):
        if merged and segment.start - merged[-1].end <= gap:
            if segment.end > merged[-1].end:
                merged[-1] = Segment(merged[-1].start, segment.end)
        else:
            merged.append(Segment(segment.start, segment.end))
    return tuple(merged)


def gaps(segments: Sequence[Segment], duration: float) -> tuple[Segment, ...]:
    """The parts of [0, duration) that `segments` (any order, may overlap) do not cover."""
    free: list[Segment] = []
    at = 0.0
    for segment in union(segments):
        if segment.start >= duration:
            break
        if segment.start > at:
            free.append(Segment(at, segment.start))
        at = segment.end
    if at < duration:
        free.append(Segment(at, duration))
    return tuple(free)


def intersect(left: Sequence[Segment], right: Sequence[Segment]) -> tuple[Segment, ...]:
    """The parts covered by both of two sorted, disjoint sequences."""
    common: list[Segment] = []
    i = j = 0
    while i < len(left) and j < len(right):
        start, end = max(left[i].start, right[j].start), min(left[i].end, right[j].end)
        if start < end:
            common.append(Segment(start, end))
        if left[i].end < right[j].end:
            i += 1
        else:
            j += 1
    return tuple(common)


def total(segments: Iterable[Segment]) -> float:
    """Seconds covered by `segments`; shared parts count once."""
    return sum((segment.duration for segment in union(segments)), 0.0)


def shares(segments: Sequence[Segment]) -> NDArray[np.float64]:
    """(n,) seconds of each segment, where an instant that several share is divided evenly among them.

    They sum to `total`.
    """
    starts, ends = (np.array([getattr(s, side) for s in segments], dtype=np.float64) for side in ("start", "end"))
    times = np.unique(np.concatenate([starts, ends]))
    if not len(times):
        return np.zeros(0)
    open_segments = np.searchsorted(np.sort(starts), times, "right") - np.searchsorted(np.sort(ends), times, "right")
    parts = np.diff(times) / np.maximum(open_segments[:-1], 1)
    summed = np.concatenate([[0.0], np.cumsum(np.where(open_segments[:-1] > 0, parts, 0.0))])
    return np.asarray(summed[np.searchsorted(times, ends)] - summed[np.searchsorted(times, starts)], dtype=np.float64)

"""Speech probabilities of frames -> speech segments: hysteresis, joining, dropping, padding (docs/method/speech.md)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diarize.config import VadConfig
from diarize.timeline import union
from diarize.types import Segment
from diarize.units import round_time

_TOLERANCE = 1e-6  # s; differences of times are not exact


def segments(
    probabilities: NDArray[np.floating],
    step: float,
    duration: float,
    config: VadConfig | None = None,
    lag: float = 0.0,
) -> tuple[Segment, ...]:
    """Sorted, disjoint speech segments of a recording of `duration` seconds.

    `probabilities` (n,): that somebody speaks in the `step` seconds from i * step - lag. In this order:

    1. speech begins at `threshold` and lasts until a probability is below `off_threshold`;
    2. pauses shorter than `min_silence` are filled;
    3. segments shorter than `min_speech` are dropped;
    4. the rest is extended by `pad` at both ends, and segments that then touch become one.
    """
    config = config or VadConfig()
    active = hysteresis(probabilities, config.threshold, config.off_threshold)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]]))).reshape(-1, 2)
    runs = [_clipped(first * step - lag, end * step - lag, duration) for first, end in edges.tolist()]
    if runs and active[0]:  # speech in the first frame begins with the recording
        runs[0] = _clipped(0.0, edges[0, 1] * step - lag, duration)
    if runs and active[-1]:  # speech in the last frame lasts to the end of the recording
        runs[-1] = _clipped(edges[-1, 0] * step - lag if edges[-1, 0] else 0.0, duration, duration)
    joined = union((run for run in runs if run), gap=max(0.0, config.min_silence - _TOLERANCE))
    long_enough = [run for run in joined if run.duration >= config.min_speech - _TOLERANCE]
    padded = (_clipped(run.start - config.pad, run.end + config.pad, duration) for run in long_enough)
    return union(run for run in padded if run)


def frames_of(segments: Sequence[Segment], count: int, step: float, lag: float) -> NDArray[np.bool_]:
    """(count,): which frames are in `segments`; frame i is the `step` seconds from i * step - lag."""
    inside = np.zeros(count, dtype=np.bool_)
    for segment in segments:
        a, b = (max(0, round((time + lag) / step)) for time in (segment.start, segment.end))
        inside[a:b] = True
    return inside


def _clipped(start: float, end: float, duration: float) -> Segment | None:
    """The part within the recording, to the millisecond; None if it is empty."""
    start, end = round_time(max(0.0, start)), round_time(min(end, duration))
    return Segment(start, end) if start < end else None


def hysteresis(probabilities: NDArray[np.floating], on: float, off: float) -> NDArray[np.bool_]:
    """(n,) -> (n,): true from the first value >= `on` until the next value < `off`."""
    decided = (probabilities >= on) | (probabilities < off)
    last = np.maximum.accumulate(np.where(decided, np.arange(len(probabilities)), -1))  # the last decided frame
    return (last >= 0) & (probabilities[last] >= on)

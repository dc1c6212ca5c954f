"""Speech probabilities of frames -> speech segments: hysteresis, joining, dropping, padding (docs/vad.md)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diarize.config import VadConfig
from diarize.timeline import union
from diarize.types import Segment
from diarize.units import round_time

_TOLERANCE = 1e-6  # s; differences of times are not exact


def segments(
    probabilities: NDArray[np.floating], step: float, duration: float, config: VadConfig | None = None
) -> tuple[Segment, ...]:
    """Sorted, disjoint speech segments of a recording of `duration` seconds.

    `probabilities` (n,): that somebody speaks in [i * step, (i + 1) * step) seconds. In this order: speech begins at
    `threshold` and lasts until a probability falls under `off_threshold`; pauses shorter than `min_silence` are
    filled; what is then shorter than `min_speech` is dropped; the rest grows by `pad` at both ends, and what then
    touches becomes one.
    """
    config = config or VadConfig()
    active = hysteresis(probabilities, config.threshold, config.off_threshold)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]])))
    runs = [
        Segment(start * step, min(end * step, duration))
        for start, end in edges.reshape(-1, 2)
        if start * step < duration
    ]
    joined = union(runs, gap=config.min_silence - _TOLERANCE) if config.min_silence > 0 else tuple(runs)
    kept = [run for run in joined if run.duration >= config.min_speech - _TOLERANCE]
    padded = (
        Segment(round_time(max(0.0, run.start - config.pad)), round_time(min(duration, run.end + config.pad)))
        for run in kept
        if round_time(min(duration, run.end + config.pad)) > round_time(max(0.0, run.start - config.pad))
    )
    return union(padded)


def hysteresis(probabilities: NDArray[np.floating], on: float, off: float) -> NDArray[np.bool_]:
    """(n,) -> (n,): true from the first value >= `on` until the next value < `off`."""
    decided = (probabilities >= on) | (probabilities < off)
    last = np.maximum.accumulate(np.where(decided, np.arange(len(probabilities)), -1))  # the frame that decides
    return (last >= 0) & (probabilities[last] >= on)

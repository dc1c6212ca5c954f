"""A stretch of a recording that may reach beyond its ends, where there is silence."""

from __future__ import annotations

import numpy as np

from diarize.types import Samples


def cut(samples: Samples, start: int, end: int) -> Samples:
    """A copy of samples start .. end, (end - start,); zeros where `start` is negative or `end` beyond the recording."""
    found = np.zeros(end - start, np.float32)
    inside = samples[max(start, 0) : max(0, min(end, len(samples)))]
    found[max(-start, 0) : max(-start, 0) + len(inside)] = inside
    return found

"""One vector for each speaker of a recording, to compare with enrolled voices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diarize.intervals import SpanIndex
from diarize.types import Embeddings, Speaker, Turn, Vectors


def pool(speakers: Sequence[Speaker], turns: Sequence[Turn], voices: Embeddings) -> Vectors:
    """One unit vector a speaker (k, d): the mean of the windows in which they speak longest, weighted by seconds.

    A speaker who does not speak longest in any window gets the mean of the windows they share with others. Raises
    ValueError for a speaker without a window.
    """
    position = {speaker.id: i for i, speaker in enumerate(speakers)}
    index = SpanIndex(turns)
    seconds = np.zeros((len(voices.segments), len(speakers)), dtype=np.float64)  # s that speaker k talks in window n
    for n, window in enumerate(voices.segments):
        for i in index.overlapping(window):
            seconds[n, position[turns[i].speaker]] += turns[i].overlap(window)
    longest = seconds.max(axis=1, keepdims=True, initial=0.0)
    own = np.where((seconds == longest) & (seconds > 0), seconds, 0.0)
    weights = np.where(own.any(axis=0), own, seconds)
    if silent := [speaker.id for i, speaker in enumerate(speakers) if not weights[:, i].any()]:
        raise ValueError(f"no window holds speech of {', '.join(silent)}")
    means = weights.T @ voices.vectors.astype(np.float64)
    vectors: Vectors = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)
    return vectors

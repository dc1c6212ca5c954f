"""Times of words from the cross attention of a recognizer, by dynamic time warping (docs/method/words.md).

The method is that of Whisper (openai/whisper, `whisper/timing.py`): the attention of some heads is normalised over the
tokens, smoothed over time, and averaged; the monotonic path of greatest attention gives each token its frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from diarize.types import Segment

MEDIAN = 7  # frames of the median filter, as in Whisper
_FLAT = 1e-9  # standard deviation added to one that may be zero


def first_frames(attention: NDArray[np.floating]) -> NDArray[np.int64]:
    """The first frame of each token, increasing, from its attention (tokens, heads, frames).

    Each frame belongs to one token, in their order, and each token has at least one frame: the sum of attention over
    the frames is the greatest possible. Raises ValueError if there are more tokens than frames.
    """
    tokens, _, frames = attention.shape
    if tokens > frames:
        raise ValueError(f"{tokens} tokens cannot each have one of {frames} frames")
    weights = attention.astype(np.float64)
    weights = (weights - weights.mean(axis=0)) / (weights.std(axis=0) + _FLAT)
    weights = ndimage.median_filter(weights, (1, 1, MEDIAN), mode="reflect").mean(axis=1)
    # Viterbi search: `best` is the greatest sum of a path that is at a token in this frame.
    best = np.full(tokens, -np.inf)
    best[0] = weights[0, 0]
    advances = np.zeros((frames, tokens), dtype=bool)  # the path came from the token before
    for frame in range(1, frames):
        before = np.concatenate([[-np.inf], best[:-1]])
        advances[frame] = before > best
        best = np.maximum(before, best) + weights[:, frame]
    starts = np.zeros(tokens, dtype=np.int64)
    token = tokens - 1
    for frame in range(frames - 1, 0, -1):
        if advances[frame, token]:
            starts[token] = frame
            token -= 1
    return starts


def fit_to_speech(start: float, end: float, speech: Sequence[Segment]) -> tuple[float, float]:
    """The part of start .. end in the speech segment that shares most time with it; unchanged if none does.

    The frames of a pause belong to the word before or after it, as there is no other; the detector knows better.
    """
    parts = [(max(start, segment.start), min(end, segment.end)) for segment in speech]
    return max((part for part in parts if part[0] < part[1]), key=lambda part: part[1] - part[0], default=(start, end))

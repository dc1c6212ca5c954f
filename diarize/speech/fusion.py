"""One probability of speech from a detector's and a segmentation model's (docs/method/speech.md#two-models).

A logistic regression over each frame's log odds by both models, their surroundings, and the rise of the level above its
minimum nearby. The models fail in different places: the segmentation fills short pauses, as the references do that it
was trained on; the detector misses quiet and distant voices, and then most of them. So the share of the segmentation's
speech of which the detector is certain, within a minute, moves weight from one model to the other.

The weights come from `benchmarks/speech_weights.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, minimum_filter1d, uniform_filter1d

from diarize.activity import LocalActivity

Floats = NDArray[np.float32]

WEIGHTS = {
    "constant": -0.065,
    "clear": 4.029,
    "own": 0.437,
    "own near": -0.170,
    "own wide": -0.215,
    "own lowest": 0.725,
    "own 50 ms ago": 0.225,
    "own 100 ms ago": -0.130,
    "own, clear": 0.202,
    "own near, clear": 1.549,
    "other": 0.697,
    "other near": -0.080,
    "other wide": 0.118,
    "other lowest": -0.175,
    "other 50 ms ago": 0.294,
    "other 100 ms ago": -0.235,
    "other, clear": 0.425,
    "other near, clear": -2.105,
    "rise": 0.560,
    "rise near": 0.655,
}
_FLOOR = 0.003  # probability that stands for all lower ones, and 1 - it for all higher ones
_NEAR, _WIDE, _AROUND = 0.3, 1.0, 60.0  # s before and after a frame that count as its surroundings
_LIKELY = 0.6  # probability of speech by the segmentation, from which the share of certain speech is measured
_CERTAIN = 0.93  # probability of speech by the detector that many frames of clear speech reach
_CLEAR = 0.4  # share of certain speech at which neither model has more weight than its own
_CLEAREST, _LEAST_CLEAR = 0.7, 0.1  # shares beyond these count as these
_DENIED = 0.05  # probability by the detector; where none nearby reaches it, it is not speech: music, swelling noise
_RISE = 3.0  # B (10 dB); a higher rise counts as this: after digital silence, any noise is one


def fuse(own: NDArray[np.floating], step: float, lag: float, levels: Floats, activity: LocalActivity) -> Floats:
    """(n,): the probability of speech in each of the first n frames of `activity`.

    `own` (m,) are probabilities of a detector, the i-th for the `step` seconds from i * step - lag; `levels` (n,)
    are those of the frames, in B (`diarize.audio.excerpts.frame_levels`). The result is
    shifted so that the thresholds of `VadConfig` suit it as they suit the detector alone.
    """
    score = np.zeros(0, np.float32)
    for name, values in terms(own, step, lag, levels, activity):
        score = values * np.float32(WEIGHTS[name]) + (score if len(score) else np.float32(WEIGHTS["constant"]))
    denied = maximum_filter1d(_own_odds(own, step, lag, activity, len(score)), _size(_NEAR, activity)) < _odds(_DENIED)
    return np.where(denied, 0, 1 / (1 + np.exp(-np.clip(score, -30, 30)))).astype(np.float32)


def terms(
    own: NDArray[np.floating], step: float, lag: float, levels: Floats, activity: LocalActivity
) -> Iterator[tuple[str, Floats]]:
    """(name, values (n,)) of each term of the regression, one at a time: ten hours have two million frames."""
    count = len(levels)
    silent = activity.counts()[:count, 0]
    near, wide = _size(_NEAR, activity), _size(_WIDE, activity)
    frames_100ms, frames_50ms = round(0.1 / activity.step), round(0.05 / activity.step)

    odds = {"own": _own_odds(own, step, lag, activity, count), "other": _odds(1 - silent)}
    clear = _clarity(odds["own"], silent, activity) - np.float32(_CLEAR)
    yield "clear", clear
    for model, values in odds.items():
        mean = _mean(values, near)
        yield model, values
        yield f"{model} near", mean
        yield f"{model} wide", _mean(values, wide)
        yield f"{model} lowest", minimum_filter1d(values, near)
        yield f"{model} 50 ms ago", _delayed(values, frames_50ms)
        yield f"{model} 100 ms ago", _delayed(values, frames_100ms)
        yield f"{model}, clear", values * clear
        yield f"{model} near, clear", mean * clear

    lowest = minimum_filter1d(levels, near)
    yield "rise", np.minimum(levels - lowest, np.float32(_RISE))
    yield "rise near", np.minimum(_mean(levels, near) - lowest, np.float32(_RISE))


def _own_odds(own: NDArray[np.floating], step: float, lag: float, activity: LocalActivity, count: int) -> Floats:
    """(count,): the log odds of the detector in the middles of the frames of `activity`."""
    if not len(own):
        return np.full(count, _odds(0.0), np.float32)
    times = (np.arange(len(own)) + 0.5) * step - lag
    return np.asarray(np.interp(activity.middles(0, count), times, _odds(own)), dtype=np.float32)


def _odds(probabilities: NDArray[np.floating] | float) -> Floats:
    """Logarithm of p / (1 - p)."""
    clipped = np.clip(probabilities, _FLOOR, 1 - _FLOOR)
    return np.asarray(np.log(clipped / (1 - clipped)), dtype=np.float32)


def _clarity(own: Floats, silent: Floats, activity: LocalActivity) -> Floats:
    """(n,): within a minute, the share of the segmentation's speech of which the detector is certain."""
    likely = silent < 1 - _LIKELY
    size = _size(_AROUND, activity)
    certain, all_likely = (
        uniform_filter1d(marked.astype(np.float64), size, mode="constant")
        for marked in (likely & (own > _odds(_CERTAIN)), likely)
    )
    share = np.where(all_likely > 1e-4, certain / np.maximum(all_likely, 1e-4), _CLEAR)
    return np.clip(share, _LEAST_CLEAR, _CLEAREST).astype(np.float32)


def _mean(values: Floats, size: int) -> Floats:
    return np.asarray(uniform_filter1d(values.astype(np.float64), size, mode="nearest"), dtype=np.float32)


def _delayed(values: Floats, frames: int) -> Floats:
    """Each value `frames` later; the first one before it."""
    if not frames:
        return values
    return np.concatenate([np.repeat(values[:1], min(frames, len(values))), values[:-frames]])


def _size(seconds: float, activity: LocalActivity) -> int:
    """Frames from `seconds` before a frame to `seconds` after it."""
    return 2 * round(seconds / activity.step) + 1

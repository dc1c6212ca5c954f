"""Speech cut where another person begins: stretches of one speaker, as a segmentation model hears them.

A window that lies across a change of speaker gets a vector of two voices, which is neither's. See
docs/method/windows.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from diarize.activity import LOCAL_SPEAKERS, LocalActivity
from diarize.types import Segment
from diarize.units import round_time

SHORTEST = 0.3  # s; a shorter stretch does not describe a voice
_ACTIVE = 0.5  # probability above which a local speaker speaks in a frame
_SAME_SHARE = 0.5  # of the frames in which one of two local speakers speaks: if both do in as many, they are one
_SAME_SECONDS = 0.25  # that both speak at least
_OVERLAP, _NOBODY = -2, -1  # in place of a local speaker


def of_one_speaker(speech: Sequence[Segment], activity: LocalActivity) -> tuple[Segment, ...]:
    """The parts of `speech` (sorted, disjoint) in which one and the same local speaker of `activity` talks alone.

    Where the segmentation hears nobody, the nearest local speaker counts. Parts shorter than 0.3 s are left out; a
    segment of speech in which it hears nobody at all stays as it is.
    """
    middles, speakers = activity.middles(0, activity.frames), _speakers(activity)
    half = activity.step / 2
    parts: list[Segment] = []
    for segment in speech:
        first, last = np.searchsorted(middles, (segment.start, segment.end))
        own = _fill(speakers[first:last])
        if not len(own) or (own == _NOBODY).all():
            parts.append(segment)
            continue
        edges = [0, *(np.flatnonzero(np.diff(own)) + 1).tolist(), len(own)]
        for a, b in pairwise(edges):
            start = segment.start if a == 0 else round_time(float(middles[first + a]) - half)
            end = segment.end if b == len(own) else round_time(float(middles[first + b - 1]) + half)
            if own[a] != _OVERLAP and end - start >= SHORTEST:
                parts.append(Segment(start, end))
    return tuple(parts)


def _speakers(activity: LocalActivity) -> NDArray[np.int64]:
    """(frames of the recording,): who speaks, by the window in which a frame lies farthest from both ends.

    A number for each local speaker, one for those of neighbouring windows that are the same; -2 where two speak, -1
    where nobody does.
    """
    speakers = np.full(activity.frames, _NOBODY, dtype=np.int64)
    nearest = np.full(activity.frames, -1.0, dtype=np.float32)
    weights, numbers = activity.weights(), _numbers(activity)
    for i in range(activity.windows):
        span = slice(i * activity.hop, i * activity.hop + activity.length)
        here = weights > nearest[span]
        classes = activity.window(i).argmax(1)
        alone = numbers[i][activity.speaking(i).argmax(1)]
        own = np.where(classes == 0, _NOBODY, np.where(classes > LOCAL_SPEAKERS, _OVERLAP, alone))
        speakers[span][here] = own[here]
        nearest[span][here] = weights[here]
    return speakers


def _numbers(activity: LocalActivity) -> NDArray[np.int64]:
    """(windows, 3) numbers of local speakers, one for those of neighbouring windows who speak in the same frames."""
    numbers = np.arange(activity.windows * LOCAL_SPEAKERS).reshape(-1, LOCAL_SPEAKERS)
    shared = activity.length - activity.hop
    for i in range(1, activity.windows if shared > 0 else 0):
        before = (activity.speaking(i - 1)[activity.hop :] > _ACTIVE).astype(np.float64)
        after = (activity.speaking(i)[:shared] > _ACTIVE).astype(np.float64)
        both = before.T @ after
        share = both / np.maximum(before.sum(0)[:, None] + after.sum(0) - both, 1)
        share[both * activity.step < _SAME_SECONDS] = 0
        while share.max() >= _SAME_SHARE:  # the pair that agrees most comes first
            a, b = np.unravel_index(share.argmax(), share.shape)
            numbers[i, b] = numbers[i - 1, a]
            share[a], share[:, b] = 0, 0
    return numbers


def _fill(speakers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Frames (n,) in which nobody speaks get the nearest one in which somebody does, the later of two."""
    known = np.flatnonzero(speakers != _NOBODY)
    if not len(known):
        return speakers
    frames = np.arange(len(speakers))
    after = known[np.searchsorted(known, frames).clip(0, len(known) - 1)]
    before = known[(np.searchsorted(known, frames, "right") - 1).clip(0)]
    nearest = np.where(np.abs(after - frames) <= np.abs(frames - before), after, before)
    return np.asarray(speakers[nearest], dtype=np.int64)

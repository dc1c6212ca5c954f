"""Signs of edits that samples can show: jumps, digital silence, repeated sound. An edit without them stays unseen.

    jump     the second difference stands far above its surroundings: two parts were joined without a fade
    silence  samples of exactly one value inside a recording: sound was blanked
    repeat   the same samples, bit for bit, at two places: noise never repeats, a copied part does

A cross-fade, a cut in silence, and every edit before a lossy codec can leave none of these. Copied parts: after
Christlein et al. 2012, "An evaluation of popular copy-move forgery detection approaches", with exact instead of similar
blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diarize.types import Audio

EditKind = Literal["jump", "silence", "repeat"]
JUMP = 100.0  # a second difference this many times the mean of its surroundings; none in 19 minutes of speech
AUDIBLE = 0.002  # of full scale; a smaller jump is no join that anybody could show
SILENCE = 0.02  # s of one value
MOST = 50  # of a kind; more are a property of the recording (gated noise, a codec), not edits
_NEAR = 160  # samples (10 ms) on each side that are a jump's surroundings
_SKIP = 4  # samples beside a jump that belong to it
_BLOCK = 128  # samples of a block that is compared bit for bit
_ANCHORS = 4  # blocks in a row that must repeat at one distance
_REACH = 400  # samples on each side among which an anchor is the largest


@dataclass(frozen=True, slots=True)
class EditSign:
    """A sign of an edit at `time` (s); of a repeat, `other` (s) is the first occurrence."""

    kind: EditKind
    time: float
    size: float  # jump: times its surroundings; silence and repeat: s
    other: float | None = None


def signs(audio: Audio) -> tuple[EditSign, ...]:
    """All signs in decoded audio, in order of time; lost spans, which are silent, are left out."""
    samples = np.asarray(audio.samples, np.float32)
    everything = [*jumps(samples, audio.rate), *silences(samples, audio.rate), *repeats(samples, audio.rate)]
    outside = [s for s in everything if not any(lost.start - 0.05 <= s.time <= lost.end + 0.05 for lost in audio.lost)]
    return tuple(sorted(outside, key=lambda sign: (sign.time, sign.kind)))


def jumps(samples: NDArray[np.float32], rate: int) -> list[EditSign]:
    """Joins without a fade in samples (n,)."""
    if len(samples) < 4 * _NEAR:
        return []
    second = np.abs(np.diff(samples.astype(np.float64), 2))
    sums = np.concatenate([[0.0], np.cumsum(second)])
    at = np.arange(len(second))

    def mean(low: NDArray[np.int64], high: NDArray[np.int64]) -> NDArray[np.float64]:
        low, high = np.clip(low, 0, len(second)), np.clip(high, 0, len(second))
        return np.asarray((sums[high] - sums[low]) / np.maximum(high - low, 1))

    # A join is above both sides: an onset is above the side before it alone.
    before, after = mean(at - _NEAR, at - _SKIP), mean(at + _SKIP, at + _NEAR)
    ratio = second / np.maximum(np.maximum(before, after), 1e-5)
    places = np.flatnonzero((ratio >= JUMP) & (second >= AUDIBLE))
    places = places[(places > _NEAR) & (places < len(second) - _NEAR)]
    groups = np.split(places, np.flatnonzero(np.diff(places) > _NEAR) + 1) if len(places) else []
    return [EditSign("jump", round(float(g[0]) / rate, 3), round(float(ratio[g].max()), 1)) for g in groups]


def silences(samples: NDArray[np.float32], rate: int) -> list[EditSign]:
    """Runs of one value inside samples (n,); those at the ends do not count."""
    changes = np.flatnonzero(np.diff(samples) != 0) + 1
    if not len(changes):
        return []
    starts, ends = changes[:-1], changes[1:]
    long = (ends - starts) >= SILENCE * rate
    pairs = zip(starts[long].tolist(), ends[long].tolist(), strict=True)
    return [EditSign("silence", round(a / rate, 3), round((b - a) / rate, 3)) for a, b in pairs]


def repeats(samples: NDArray[np.float32], rate: int) -> list[EditSign]:
    """Parts of samples (n,) that occurred before, bit for bit.

    Blocks around the largest samples of their neighbourhood are compared: a copy has the same anchors.
    """
    anchors = _anchors(samples)
    first: dict[bytes, int] = {}
    pairs: list[tuple[int, int]] = []  # (position, distance to the first occurrence)
    for at in anchors.tolist():
        block = samples[at - _BLOCK // 2 : at + _BLOCK // 2]
        if len(block) < _BLOCK or block.max() - block.min() < 1e-3:
            continue
        earlier = first.setdefault(block.tobytes(), at)
        if earlier != at:
            pairs.append((at, at - earlier))
    results: list[EditSign] = []
    run: list[tuple[int, int]] = []
    for pair in [*pairs, (0, -1)]:
        if run and (pair[1] != run[-1][1] or pair[0] - run[-1][0] > 4 * _REACH):
            if len(run) >= _ANCHORS:
                a, b, distance = run[0][0], run[-1][0], run[0][1]
                results.append(
                    EditSign("repeat", round(a / rate, 3), round((b - a) / rate, 3), round((a - distance) / rate, 3))
                )
            run = []
        run.append(pair)
    return results


def _anchors(samples: NDArray[np.float32]) -> NDArray[np.int64]:
    """Positions of samples that are the largest within `_REACH` on both sides."""
    from scipy.ndimage import maximum_filter1d

    if len(samples) < 2 * _REACH:
        return np.zeros(0, np.int64)
    highest = maximum_filter1d(samples, 2 * _REACH + 1, mode="nearest")
    return np.flatnonzero((samples == highest) & (samples > 0))

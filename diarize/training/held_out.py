"""The equal error rate on speakers that training does not see, and voices that training cannot tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.metrics.verification import equal_error
from diarize.training import filterbanks
from diarize.training.data.clips import Clips
from diarize.units import RATE

LONGEST = 6.0  # s of a clip that is embedded
MOST_TRIALS = 20_000  # of two speakers
Vectors = NDArray[np.float32]


def choose(clips: Clips, share: float, names: Sequence[str], seed: int) -> tuple[str, ...]:
    """Speakers to hold out: `names` that are there, else a share of all; only speakers with two clips or more.

    At least two, unless the share is 0; and at least two are left to train on, else none is held out.
    """
    counts: dict[str, int] = {}
    for info in clips.infos:
        counts[info.speaker] = counts.get(info.speaker, 0) + 1
    able = [name for name in clips.speakers if counts[name] >= 2]
    if names:
        chosen = [name for name in able if name in set(names)]
    elif share:
        order = np.random.default_rng([seed, 7]).permutation(len(able))
        chosen = [able[i] for i in order[: max(2, round(share * len(clips.speakers)))]]
    else:
        chosen = []
    return tuple(sorted(chosen)) if len(chosen) >= 2 and len(clips.speakers) - len(chosen) >= 2 else ()


def embed(network: Any, clips: Clips, indices: Sequence[int], bins: int) -> Vectors:
    """Unit rows (n, d) of clips; each is embedded by itself, so that padding plays no part."""
    import torch

    training = network.training
    network.eval()
    device = next(network.parameters()).device
    rows = []
    with torch.inference_mode():
        for index in indices:
            samples = clips.samples(index, 0, round(LONGEST * RATE))
            banks = torch.from_numpy(filterbanks.compute(samples, bins)[None]).to(device)
            rows.append(network(banks)[0].float().cpu().numpy())
    network.train(training)
    vectors = np.stack(rows)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)


def measure(vectors: Vectors, speakers: Sequence[str], seed: int = 0) -> float:
    """EER of all pairs of one speaker and at most MOST_TRIALS of two; NaN where there are none of a kind."""
    names = np.unique(np.array(speakers), return_inverse=True)[1]
    left, right = np.triu_indices(len(names), 1)
    scores = (vectors @ vectors.T)[left, right]
    same = names[left] == names[right]
    different = scores[~same]
    if len(different) > MOST_TRIALS:
        different = np.random.default_rng([seed, 11]).choice(different, MOST_TRIALS, replace=False)
    return equal_error(scores[same], different)[0] if same.any() and len(different) else float("nan")


def near_duplicates(vectors: Vectors, speakers: Sequence[str], most: int = 20) -> list[tuple[str, str, float]]:
    """Pairs of speakers that are as similar to each other as to themselves: perhaps one person under two names.

    (name, name, cosine), the most similar first. The clips of each speaker are divided in two halves, whose mean
    vectors are compared: a pair is listed where each speaker's half is nearer to the other's than to its own other
    half, and nearer than to anybody else's. A network that was trained to tell all names apart has no way to do so for
    one person's two names.
    """
    names, index = np.unique(np.array(speakers), return_inverse=True)
    halves = np.zeros((2, len(names), vectors.shape[1]))
    counts = np.zeros(len(names), np.int64)
    for row, owner in zip(vectors, index, strict=True):
        halves[counts[owner] % 2, owner] += row
        counts[owner] += 1
    keep = np.flatnonzero(counts >= 2)
    if len(keep) < 3:
        return []
    units = halves[:, keep] / np.maximum(np.linalg.norm(halves[:, keep], axis=2, keepdims=True), 1e-12)
    own = (units[0] * units[1]).sum(axis=1)
    cross = (units[0] @ units[1].T + units[1] @ units[0].T) / 2
    np.fill_diagonal(cross, -np.inf)
    nearest = cross.argmax(axis=1)
    pairs = [
        (str(names[keep[i]]), str(names[keep[j]]), float(cross[i, j]))
        for i, j in enumerate(nearest)
        if i < j and nearest[j] == i and cross[i, j] >= max(own[i], own[j])
    ]
    return sorted(pairs, key=lambda pair: -pair[2])[:most]

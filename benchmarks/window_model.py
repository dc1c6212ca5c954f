"""Covariances of GE2E's windows: within a speaker, and between speakers.

    python -m benchmarks.window_model [--data DATA] [--out FILE]

From the windows that the main job makes, of single speakers of `libri-cohort`, `an4-dev` and `speechocean-dev` who say
all their phrases: close, over a telephone and in two rooms (benchmarks/simulate.py). The within-speaker covariance is
computed around the mean of a speaker in one condition; the between-speaker covariance is that of these means around
the mean of their source and condition, minus the part that is due to few windows. The readers of sim-dev are not used.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.signal import resample_poly

from benchmarks import simulate
from diarize.clustering import mixture, similarity
from diarize.config import parse
from diarize.models.store import Store
from diarize.speech import windows
from diarize.types import Audio
from pipelines import plan
from pipelines.recording import Stages

Floats = NDArray[np.float64]

CONDITIONS: tuple[simulate.Condition, ...] = ("close", "phone", "room", "room")
SOURCES = ("libri-cohort", "an4-dev", "speechocean-dev")
LONGEST = 30.0  # s of phrases of a speaker
SHORTEST = 1.0  # s of a window that is learned from
SHRINK = 0.6  # towards equal variances: real rooms are not simulated ones (docs/method/clustering.md)
DIMENSIONS = 64


def sessions(data: Path) -> Iterator[tuple[str, str, Floats]]:
    """(source and condition, speaker, correlations (n, d)) of each speaker under each condition."""
    config = parse({"embedder": {"backend": "ge2e"}, "segmentation": {"backend": "none"}}, "window_model")
    stages = plan.make(config, Store(), recognize=False).build()
    for i, source in enumerate(SOURCES):
        for k, (speaker, phrases) in enumerate(sorted(simulate.material(data / source).items())):
            for c, condition in enumerate(CONDITIONS):
                audio = _alone(speaker, phrases, condition, [99, i * 1000 + k, c])
                vectors = _heard(audio, stages)
                if len(vectors) > 1:
                    yield f"{source} {c}", f"{source}/{speaker}", similarity.centre(vectors)


def learn(found: list[tuple[str, str, Floats]]) -> mixture.Plda:
    """Two covariances, diagonal at once (generalised eigenvectors of the second and the first)."""
    means = np.stack([vectors.mean(0) for _, _, vectors in found])
    counts = np.array([len(vectors) for _, _, vectors in found])
    rest = np.concatenate([vectors - mean for (_, _, vectors), mean in zip(found, means, strict=True)])
    within = rest.T @ rest / (counts.sum() - len(counts))
    moved = means.copy()
    places = np.array([place for place, _, _ in found])
    for place in np.unique(places):
        moved[places == place] -= means[places == place].mean(0)
    between = moved.T @ moved / len(moved) - within * (1 / counts).mean()
    within = (1 - SHRINK) * within + SHRINK * np.trace(within) / len(within) * np.eye(len(within))
    values, vectors = eigh(between, within)
    best = np.argsort(-values)[:DIMENSIONS]
    return mixture.Plda(means.mean(0), vectors[:, best], values[best])


def _alone(speaker: str, phrases: tuple[simulate.Phrase, ...], condition: simulate.Condition, seed: list[int]) -> Audio:
    """One speaker's phrases, one after the other, as `condition` makes them sound."""
    rng = np.random.default_rng(seed)
    said, at, spent = [], 0.7, 0.0
    for i in rng.permutation(len(phrases)):
        said.append((at, speaker, phrases[i]))
        at += phrases[i].seconds + float(rng.uniform(0.22, 0.6))
        spent += phrases[i].seconds
        if spent > LONGEST:
            break
    samples, rate = simulate.recorded(said, [speaker], condition, rng)
    samples = resample_poly(samples, simulate.RATE // rate, 1) if rate != simulate.RATE else samples
    return Audio(speaker, samples.astype(np.float32))


def _heard(audio: Audio, stages: Stages) -> NDArray[np.float32]:
    assert stages.detect is not None and stages.embed is not None
    cut = [window for window in windows.over(stages.detect(audio)) if window.duration >= SHORTEST]
    return stages.embed(audio, cut).vectors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=simulate.DATA)
    parser.add_argument("--out", type=Path, default=mixture.PLDA_FILE)
    options = parser.parse_args()
    config = parse({"embedder": {"backend": "ge2e"}}, "window_model")
    embedder = plan.make(config, Store(), recognize=False).build().embed
    assert embedder is not None
    found = list(sessions(options.data))
    plda = learn(found)
    signs = np.sign(plda.projection[np.abs(plda.projection).argmax(0), np.arange(plda.projection.shape[1])])
    np.savez_compressed(
        options.out,
        model=np.array(embedder.name.rstrip(")").removesuffix(",cuda")),
        mean=plda.mean.astype(np.float32),
        projection=(plda.projection * signs).astype(np.float32),
        spread=plda.phi.astype(np.float32),
    )
    speakers = len({speaker for _, speaker, _ in found})
    print(f"{options.out}: {len(found)} sessions of {speakers} speakers, {sum(len(v) for _, _, v in found)} windows")


if __name__ == "__main__":
    main()

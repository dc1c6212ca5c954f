"""Covariances of an embedder's windows, within a speaker and between speakers, which the mixture needs.

    python -m benchmarks.window_model {community-1-embedding,ge2e} [--data DATA] [--out FILE]

From the windows that the main job makes, of single speakers of `libri-cohort`, `an4-dev` and `speechocean-dev`: close,
over a telephone and in a room (benchmarks/simulate.py). The within-speaker covariance is computed around the mean of a
speaker in one condition; the between-speaker covariance is that of these means around the mean of their source and
condition, minus the part that is due to few windows. Both are drawn towards equal variances. The readers of sim-dev
are not used.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.signal import resample_poly

from benchmarks import simulate
from diarize.clustering import mixture, similarity
from diarize.config import WindowsConfig, parse
from diarize.models.store import Store
from diarize.speech import windows
from diarize.types import Audio
from pipelines import plan
from pipelines.recording import Stages

Floats = NDArray[np.float64]

SOURCES = ("libri-cohort", "an4-dev", "speechocean-dev")


@dataclass(frozen=True)
class Recipe:
    """What an embedder's covariances are learned from, and how."""

    windows: WindowsConfig
    within: float  # share of equal variances in the covariance within: real rooms are not simulated ones
    between: float  # the same, between speakers
    dimensions: int
    alike: float  # correlation above which two local speakers may be one person (docs/method/turns.md)
    fa: float  # weight of a window's evidence (docs/method/clustering.md)
    seconds: float  # of phrases of a speaker, at most
    conditions: tuple[simulate.Condition, ...] = ("close", "phone", "room")


RECIPES = {
    "community-1-embedding": Recipe(WindowsConfig(length=1.2, hop=0.6), 0.9, 0.6, 255, 0.2, 0.12, 14.0),
    "ge2e": Recipe(
        WindowsConfig(length=1.6, hop=0.8), 0.6, 0.0, 64, 0.55, 0.1, 30.0, conditions=("close", "phone", "room", "room")
    ),
}
LEAST = 0.6  # share of a window's length below which a window is not learned from


def sessions(data: Path, embedder: str, recipe: Recipe) -> Iterator[tuple[str, str, Floats]]:
    """(source and condition, speaker, correlations (n, d)) of each speaker under each condition."""
    config = parse({"embedder": {"backend": embedder}, "segmentation": {"backend": "none"}}, "window_model")
    stages = plan.make(config, Store(), recognize=False).build()
    for i, source in enumerate(SOURCES):
        for k, (speaker, phrases) in enumerate(sorted(simulate.material(data / source).items())):
            for c, condition in enumerate(recipe.conditions):
                audio = _alone(speaker, phrases, condition, [99, i * 1000 + k, c], recipe.seconds)
                vectors = _embed(audio, stages, recipe.windows)
                if len(vectors) > 1:
                    yield f"{source} {c}", f"{source}/{speaker}", similarity.centre(vectors)


def learn(of_sessions: list[tuple[str, str, Floats]], recipe: Recipe) -> mixture.Plda:
    """Two covariances, diagonal at once (generalised eigenvectors of the second and the first)."""
    means = np.stack([vectors.mean(0) for _, _, vectors in of_sessions])
    counts = np.array([len(vectors) for _, _, vectors in of_sessions])
    rest = np.concatenate([vectors - mean for (_, _, vectors), mean in zip(of_sessions, means, strict=True)])
    within = rest.T @ rest / (counts.sum() - len(counts))
    moved = means.copy()
    places = np.array([place for place, _, _ in of_sessions])
    for place in np.unique(places):
        moved[places == place] -= means[places == place].mean(0)
    between = moved.T @ moved / len(moved) - within * (1 / counts).mean()
    values, vectors = eigh(_shrunk(between, recipe.between), _shrunk(within, recipe.within))
    best = np.argsort(-values)[: recipe.dimensions]
    return mixture.Plda(means.mean(0), vectors[:, best], np.maximum(values[best], 1e-3), recipe.alike, recipe.fa)


def _shrunk(covariance: Floats, share: float) -> Floats:
    """The covariance, drawn towards equal variances in all directions by `share`."""
    equal = np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return np.asarray((1 - share) * covariance + share * equal, dtype=np.float64)


def _alone(
    speaker: str, phrases: tuple[simulate.Phrase, ...], condition: simulate.Condition, seed: list[int], longest: float
) -> Audio:
    """One speaker's phrases, one after the other, as `condition` makes them sound."""
    rng = np.random.default_rng(seed)
    said, at, spent = [], 0.7, 0.0
    for i in rng.permutation(len(phrases)):
        said.append((at, speaker, phrases[i]))
        at += phrases[i].seconds + float(rng.uniform(0.22, 0.6))
        spent += phrases[i].seconds
        if spent > longest:
            break
    samples, rate = simulate.recorded(said, [speaker], condition, rng)
    samples = resample_poly(samples, simulate.RATE // rate, 1) if rate != simulate.RATE else samples
    return Audio(speaker, samples.astype(np.float32))


def _embed(audio: Audio, stages: Stages, config: WindowsConfig) -> NDArray[np.float32]:
    assert stages.detect is not None and stages.embed is not None
    own = windows.over(stages.detect(audio), config)
    return stages.embed(audio, [window for window in own if window.duration >= LEAST * config.length]).vectors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embedder", choices=sorted(RECIPES))
    parser.add_argument("--data", type=Path, default=simulate.DATA)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    config = parse({"embedder": {"backend": options.embedder}}, "window_model")
    embedder = plan.make(config, Store(), recognize=False).build().embed
    assert embedder is not None
    name = embedder.name.rstrip(")").removesuffix(",cuda").partition("-int8")[0]  # of both precisions
    out = options.out or Path(mixture.__file__).with_name(f"{name.partition('@')[0]}.windows.npz")
    of_sessions = list(sessions(options.data, options.embedder, RECIPES[options.embedder]))
    plda = learn(of_sessions, RECIPES[options.embedder])
    signs = np.sign(plda.projection[np.abs(plda.projection).argmax(0), np.arange(plda.projection.shape[1])])
    np.savez_compressed(
        out,
        model=np.array(name),
        mean=plda.mean.astype(np.float32),
        projection=(plda.projection * signs).astype(np.float32),
        spread=plda.phi.astype(np.float32),
        alike=np.float32(plda.alike),
        fa=np.float32(plda.fa),
    )
    speakers = len({speaker for _, speaker, _ in of_sessions})
    windows_used = sum(len(vectors) for _, _, vectors in of_sessions)
    print(f"{out}: {len(of_sessions)} sessions of {speakers} speakers, {windows_used} windows")


if __name__ == "__main__":
    main()

"""Clustering alone with default settings: number of speakers, DER, seconds and memory.

    python -m benchmarks.clustering --vectors F.npz --reference R.rttm --speech L.lab [--json OUT]
    python -m benchmarks.clustering --synthetic N --speakers K [--json OUT]

`F.npz` contains `vectors` (n, d), `start` and `end` (n,) in seconds; `L.lab` has lines of `start end speech`. Synthetic
vectors are windows of K people around random directions, with a cosine of 0.75 within a person, in runs of ten, half of
all from the first person. Memory is the growth of the largest resident set during clustering. The DER has collar 0,
overlap scored.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy import given, read_rttm, score
from diarize.clustering import spectral
from diarize.config import Config
from diarize.turns import merging
from diarize.types import Labels, Segment, Vectors
from pipelines.processes.lifetime import LINEAR_ALGEBRA

DIMENSIONS = 256
ALIKE = 0.75  # mean cosine of two windows of one person, as GE2E's are
RUN = 10  # windows that one person talks on


def synthetic(n: int, speakers: int, seed: int = 0) -> Vectors:
    """Unit vectors (n, d) of `speakers` people who take turns."""
    random = np.random.default_rng(seed)
    people = _unit(random.standard_normal((speakers, DIMENSIONS)))
    shares = np.r_[0.5, np.full(speakers - 1, 0.5 / (speakers - 1))] if speakers > 1 else np.ones(1)
    order = np.repeat(random.choice(speakers, -(-n // RUN), p=shares), RUN)[:n]
    noise = _unit(random.standard_normal((n, DIMENSIONS)))
    return np.asarray(_unit(np.sqrt(ALIKE) * people[order] + np.sqrt(1 - ALIKE) * noise), np.float32)


def cluster(vectors: Vectors, config: Config) -> tuple[Labels, float, float]:
    """(labels, seconds, growth of the resident set in MB)."""
    stage = partial(spectral.cluster, config=config.cluster)
    stage(vectors[:16])  # what is loaded at first use is not what is measured
    before, began = _resident(), time.perf_counter()
    labels = stage(vectors)
    return labels, time.perf_counter() - began, max(0.0, _resident() - before)


def _unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _resident() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--vectors", type=Path)
    what.add_argument("--synthetic", type=int, metavar="N")
    parser.add_argument("--speakers", type=int, default=4, metavar="K")
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--speech", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ.update(dict.fromkeys(LINEAR_ALGEBRA, "1"))
    config = Config()
    found: dict[str, Any] = {}
    if options.vectors is None:
        vectors = synthetic(options.synthetic, options.speakers)
        labels, seconds, peak = cluster(vectors, config)
    else:
        if options.speech is None:
            parser.error("--vectors needs --speech")
        windows, vectors, speech = given(options.vectors, options.speech)
        labels, seconds, peak = cluster(vectors, config)
        if options.reference is not None:
            truth = read_rttm(options.reference)
            spoken = merging.merge(windows, labels, speech, config=config.turns)
            whole = Segment(0.0, max(turn.end for turn in (*truth, *spoken)))
            found["der"] = round(score("", options.vectors.stem, truth, spoken, whole).errors.rate, 5)
    found = {"speakers": int(labels.max()) + 1, **found, "seconds": round(seconds, 3), "peak_mb": round(peak, 1)}
    print(json.dumps(found))
    if options.json:
        options.json.write_text(json.dumps(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

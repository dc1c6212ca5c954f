"""One clustering method on given vectors, run by the Python of its own environment (benchmarks/peers.py).

    python peer_clusterers.py NAME TASK.json VECTORS.npz LABELS.npz

Needs numpy and the one package. `NAME` is a key of `CLUSTERERS`. `TASK.json` contains `settings`, a list of settings to
try, and for each recording `counts`, the true number of speakers, for methods that need it, and `models`, the embedder,
for methods with parameters of embedders. `VECTORS.npz` contains a matrix (n, d) for each recording. `LABELS.npz` gets
labels (n,) as `<number of the settings>/<recording>`, and `seconds` (one for each settings) and `peak` (MB, growth of
the largest resident set).
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Labels = NDArray[np.int64]
Clusterer = Callable[[Vectors], Labels]

MEMORY = 14 << 30  # bytes of data a clusterer may have: the machine is to survive those that want a hundred times that


def ours(settings: dict[str, Any]) -> Clusterer:
    """`model`, of each recording, is the embedder that its vectors are of."""
    from diarize.clustering.clusterer import WindowClusterer

    return lambda vectors: WindowClusterer().of_embedder(vectors, settings["model"])


def spectralcluster(settings: dict[str, Any]) -> Clusterer:
    from spectralcluster import configs

    clusterer = getattr(configs, settings["configuration"])

    def cluster(vectors: Vectors) -> Labels:
        if len(vectors) < 2:
            return np.zeros(len(vectors), np.int64)
        return np.asarray(clusterer.predict(vectors.astype(np.float64)), np.int64)

    return cluster


def sklearn(settings: dict[str, Any]) -> Clusterer:
    """The true number of speakers is given; `count` is set for each recording."""
    from sklearn.cluster import SpectralClustering

    def cluster(vectors: Vectors) -> Labels:
        count = min(int(settings["count"]), len(vectors))
        if count < 2 or len(vectors) <= count:
            return np.arange(len(vectors), dtype=np.int64) % max(1, count)
        if settings["affinity"] == "cosine":
            found = SpectralClustering(count, affinity="precomputed", random_state=0)
            return np.asarray(found.fit_predict((vectors @ vectors.T).clip(0)), np.int64)
        near = min(int(settings["neighbours"]), len(vectors))
        found = SpectralClustering(count, affinity="nearest_neighbors", n_neighbors=near, random_state=0)
        return np.asarray(found.fit_predict(vectors), np.int64)

    return cluster


def pyannote_agglomerative(settings: dict[str, Any]) -> Clusterer:
    from pyannote.audio.pipelines.clustering import AgglomerativeClustering

    clusterer = AgglomerativeClustering(metric="cosine")
    clusterer.instantiate({key: settings[key] for key in ("method", "threshold", "min_cluster_size")})
    return _pyannote(clusterer)


def pyannote_vbx(settings: dict[str, Any]) -> Clusterer:
    from pyannote.audio.core.plda import PLDA
    from pyannote.audio.pipelines.clustering import VBxClustering

    plda = PLDA(settings["transform"], settings["plda"], lda_dimension=settings["dimensions"])
    clusterer = VBxClustering(plda, metric="cosine", constrained_assignment=False)
    clusterer.instantiate({key: settings[key] for key in ("threshold", "Fa", "Fb")})
    return _pyannote(clusterer)


def _pyannote(clusterer: Any) -> Clusterer:
    """Each window is one local speaker who talks all the time."""
    from pyannote.core import SlidingWindow, SlidingWindowFeature

    def cluster(vectors: Vectors) -> Labels:
        if len(vectors) < 2:
            return np.zeros(len(vectors), np.int64)
        talking = SlidingWindowFeature(np.ones((len(vectors), 10, 1)), SlidingWindow(duration=1.6, step=0.8))
        labels, _, _ = clusterer(
            embeddings=vectors.astype(np.float64)[:, None], segmentations=talking, min_clusters=1, max_clusters=np.inf
        )
        return np.asarray(labels[:, 0], np.int64)

    return cluster


CLUSTERERS: dict[str, Callable[[dict[str, Any]], Clusterer]] = {
    "ours": ours,
    "spectralcluster": spectralcluster,
    "sklearn": sklearn,
    "pyannote-agglomerative": pyannote_agglomerative,
    "pyannote-vbx": pyannote_vbx,
}


def resident() -> float:
    """Largest resident set so far, MB. (`ru_maxrss` would begin with that of the process that began this one.)"""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def main() -> None:
    name, given, source, target = sys.argv[1:]
    task = json.loads(Path(given).read_text(encoding="utf-8"))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    data = np.load(source)
    found: dict[str, Any] = {}
    seconds: list[float] = []
    peak = 0.0
    for i, settings in enumerate(task["settings"]):
        told = {**settings, "count": 2, "model": ""}
        cluster = CLUSTERERS[name](told)
        cluster(np.random.default_rng(0).standard_normal((64, 256)).astype(np.float32))  # loading is not measured
        before, began = resident(), time.perf_counter()
        for recording in data.files:
            told |= {"count": task["counts"].get(recording, 1), "model": task["models"].get(recording, "")}
            found[f"{i}/{recording}"] = cluster(data[recording])
        seconds.append(time.perf_counter() - began)
        peak = max(peak, resident() - before)
    np.savez(target, **found, seconds=seconds, peak=peak)


if __name__ == "__main__":
    main()

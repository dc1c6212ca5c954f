"""Comparison of clustering methods: same vectors, same turns, same scoring, one run.

    python -m benchmarks.peers [--data DATA] [--simulated N] [--environments DIR] [--only NAME ...] [--sizes N ...]
                               [--seconds S] [--json OUT]

Each method runs in its own environment below DIR (pyannote.audio's takes 5.6 GB). The vectors are GE2E's of the sets of
benchmarks/accuracy.py, one for each window of 1.6 s every 0.8 s of detected speech, and existing x-vectors. For all
methods, labels become turns by our own `turns.merge`, one speaker at a time. Collar 0, overlap scored.

The other methods have an advantage: where they have thresholds, all of `Peer.settings` are tried, and the one with the
lowest mean DER over the sets is shown, chosen on the recordings that are scored; this project uses its defaults.
scikit-learn gets the true number of speakers. VBx needs a PLDA: it is trained on windows of the speakers of the
simulated conversations, as are our covariances of GE2E. For x-vectors there is no PLDA, so VBx's own published output
is scored.

Synthetic vectors (benchmarks/clustering.py, six people) measure time and memory, each size in a new process: at most
ten minutes and 14 GiB.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import simulate
from benchmarks.accuracy import Row, given, read_rttm, read_uem, references, score
from benchmarks.accuracy import sets as sets_of
from benchmarks.clustering import synthetic
from diarize.audio import reading
from diarize.config import Config, parse
from diarize.models.store import Store
from diarize.speech import windows
from diarize.turns import merging
from diarize.types import Errors, Labels, Segment, Turn, Vectors
from pipelines import plan
from pipelines.processes.lifetime import LINEAR_ALGEBRA

SIZES = (1_000, 5_000, 20_000, 160_000)
SPEAKERS = 6  # of synthetic vectors
RUNNER = Path(__file__).with_name("peer_clusterers.py")
PYANNOTE = ("pyannote.audio==4.0.7", "torch==2.11.0", "torchaudio==2.11.0", "torchcodec==0.11.1")
PLDA = ("libri-cohort", "an4-dev", "speechocean-dev")  # sets of utterances whose speakers train it
DIMENSIONS = 128  # of the PLDA, as in pyannote.audio


def grid(**values: Sequence[Any]) -> tuple[dict[str, Any], ...]:
    """Every combination of the values."""
    return tuple(dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values()))


@dataclass(frozen=True)
class Peer:
    clusterer: str  # of peer_clusterers.py
    packages: tuple[str, ...] = ()  # of its environment; none: ours
    settings: tuple[dict[str, Any], ...] = field(default=({},))
    told: str = ""  # what it is told that the others must find out


PEERS = {
    "ours": Peer("ours"),
    "spectralcluster, ICASSP 2018": Peer(
        "spectralcluster", ("spectralcluster==0.2.22",), ({"configuration": "icassp2018_clusterer"},)
    ),
    "spectralcluster, turn-to-diarize": Peer(
        "spectralcluster", ("spectralcluster==0.2.22",), ({"configuration": "turntodiarize_clusterer"},)
    ),
    "scikit-learn, neighbours": Peer(
        "sklearn",
        ("scikit-learn==1.7.2",),
        grid(affinity=["nearest_neighbors"], neighbours=[10, 20, 40]),
        "the count",
    ),
    "scikit-learn, cosine": Peer("sklearn", ("scikit-learn==1.7.2",), ({"affinity": "cosine"},), "the count"),
    "pyannote.audio, agglomerative": Peer(
        "pyannote-agglomerative",
        PYANNOTE,
        (
            {"method": "centroid", "threshold": 0.7045654963945799, "min_cluster_size": 12},  # as published
            *grid(
                method=["centroid", "average"],
                threshold=[round(0.2 + 0.05 * i, 2) for i in range(15)],
                min_cluster_size=[4, 12],
            ),
        ),
    ),
    "pyannote.audio, VBx": Peer(
        "pyannote-vbx",
        PYANNOTE,
        (
            {"threshold": 0.6, "Fa": 0.07, "Fb": 0.8},  # as published
            *grid(threshold=[0.5, 0.6, 0.7, 0.8], Fa=[0.07, 0.2, 0.4], Fb=[0.8, 4.0, 12.0]),
        ),
    ),
}


@dataclass(frozen=True)
class Given:
    """A recording as a clusterer sees it, and what is needed to score it."""

    set: str
    vectors: Vectors
    windows: Sequence[Segment]
    speech: Sequence[Segment]
    truth: tuple[Turn, ...]
    model: str  # the embedder that the vectors are of
    scored: tuple[Segment, ...]  # none: as far as reference and turns go


def collect(data: Path, simulated: int) -> dict[str, Given]:
    """Every recording of every set, by name."""
    config = parse({"embedder": {"backend": "ge2e"}, "segmentation": {"backend": "none"}}, "settings")
    planned = plan.make(config, Store(), recognize=False)
    stages, config = planned.build(), planned.config
    assert stages.detect is not None and stages.embed is not None
    found: dict[str, Given] = {}
    with tempfile.TemporaryDirectory() as name:
        made = Path(name)
        for scene in simulate.scenes(1000, simulated, exclude=("libri-dev",)):
            simulate.write(simulate.converse(scene, data), made)
        for set_, folder in (*sets_of(data), ("simulated", made)):
            for path, truth in references(folder):
                heard = reading.read(path, id=path.stem).audios[0]
                speech = stages.detect(heard)
                voices = stages.embed(heard, windows.over(speech, config.windows))
                scored = read_uem(path.with_suffix(".uem"), heard.duration)
                found[path.stem] = Given(set_, voices.vectors, voices.segments, speech, truth, voices.model, scored)
    for path in sorted((data / "xvectors").glob("*.npz")):
        places, vectors, stretches = given(path, path.with_suffix(".lab"))
        found[path.stem] = Given("xvectors", vectors, places, stretches, read_rttm(path.with_suffix(".rttm")), "", ())
    return found


def scored(name: str, one: Given, labels: Labels, config: Config) -> Row:
    """What the labels of a recording are worth as turns."""
    return against(
        name, one, merging.merge(one.windows, labels, one.speech, config=config.turns) if len(labels) else ()
    )


def against(name: str, one: Given, spoken: Sequence[Turn]) -> Row:
    whole = one.scored or (Segment(0.0, max(turn.end for turn in (*one.truth, *spoken))),)
    return score(one.set, name, one.truth, spoken, *whole)


def plda(data: Path, folder: Path) -> dict[str, Any]:
    """Files of a two-covariance PLDA of GE2E windows, as pyannote.audio reads them; and their settings."""
    from scipy.linalg import eigh

    stages = plan.make(parse({"embedder": {"backend": "ge2e"}}, "settings"), Store(), recognize=False).build()
    assert stages.embed is not None and stages.detect is not None
    rows, people = [], []
    for set_, path, speaker in utterances(data):
        heard = reading.read(path, id=path.stem).audios[0]
        found = stages.embed(heard, windows.over(stages.detect(heard), plan.SPARSE_WINDOWS)).vectors
        rows.append(found)
        people += [f"{set_}/{speaker}"] * len(found)
    vectors = np.concatenate(rows).astype(np.float64)
    _, of = np.unique(people, return_inverse=True)
    mean = vectors.mean(0)
    unit = _unit(vectors - mean)
    projection = _directions(unit, of)
    wide = np.sqrt(len(mean)) * unit @ projection
    second = wide.mean(0)
    latent = np.sqrt(DIMENSIONS) * _unit(wide - second)
    centre = latent.mean(0)
    within, between = _covariances(latent - centre, of)
    values, base = eigh(between, within)
    np.savez(folder / "transform.npz", mean1=mean, mean2=second, lda=projection)
    np.savez(folder / "plda.npz", mu=centre, tr=base.T, psi=values.clip(1e-6))
    paths = {"transform": str(folder / "transform.npz"), "plda": str(folder / "plda.npz")}
    return {**paths, "dimensions": DIMENSIONS}


def utterances(data: Path) -> Iterator[tuple[str, Path, str]]:
    """(set, file, speaker) of every utterance that trains the PLDA."""
    for set_ in PLDA:
        folder = data / set_
        listed = folder / "utterances.json"
        if listed.is_file():
            for name, facts in json.loads(listed.read_text(encoding="utf-8")).items():
                yield set_, folder / f"{name}.flac", str(facts["speaker"])
        else:
            for path in sorted(folder.glob("*.flac")):
                yield set_, path, path.stem.split("-")[0]


def _directions(vectors: Any, of: Labels) -> Any:
    """(d, DIMENSIONS): linear discriminant directions, scaled so that what is within a person has unit variance."""
    from scipy.linalg import eigh

    within, between = _covariances(vectors, of)
    within += 1e-3 * np.trace(within) / len(within) * np.eye(len(within))  # GE2E's ReLU leaves dead dimensions
    _, base = eigh(between, within)
    return base[:, ::-1][:, :DIMENSIONS]


def _covariances(vectors: Any, of: Labels) -> tuple[Any, Any]:
    means = np.stack([vectors[of == person].mean(0) for person in range(of.max() + 1)])
    rest = vectors - means[of]
    return rest.T @ rest / len(rest), np.cov(means.T, bias=True)


def _unit(rows: Any) -> Any:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def interpreter(peer: Peer, environments: Path) -> Path:
    """The python of the peer's environment, which is made if need be."""
    if not peer.packages:
        return Path(sys.executable)
    folder = environments / peer.packages[0].replace("==", "-")
    python, ready = folder / "bin" / "python", folder / ".ready"
    if not ready.is_file():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *peer.packages], check=True)
        ready.touch()
    return python


def run(
    peer: Peer, python: Path, settings: Sequence[Mapping[str, Any]], told: Mapping[str, Mapping[str, Any]],
    vectors: Mapping[str, Vectors], seconds: float,
) -> dict[str, Any] | str:  # fmt: skip
    """What peer_clusterers.py leaves; or why there is nothing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "task.json").write_text(json.dumps({"settings": list(settings), **told}), encoding="utf-8")
        np.savez(folder / "vectors.npz", **dict[str, Any](vectors))
        command = [str(python), str(RUNNER), peer.clusterer, "task.json", "vectors.npz", "labels.npz"]
        root = str(RUNNER.parents[1])  # for ours alone; the others have no such package to find
        environment = {**os.environ, "PYANNOTE_METRICS_ENABLED": "0", "PYTHONPATH": "" if peer.packages else root}
        environment |= dict.fromkeys(LINEAR_ALGEBRA, "2" if peer.packages else "1")  # ours uses one by design
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, timeout=seconds, capture_output=True, text=True, check=False
            )
        except subprocess.TimeoutExpired:
            return f"over {seconds:.0f} s"
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"ended by signal {-done.returncode}"])[-1]
            wanting = done.returncode == -signal.SIGSEGV or "memory" in last.lower() or "alloc" in last.lower()
            return "out of memory" if wanting else last[:120]  # LAPACK does not look whether it got any
        return dict(np.load(folder / "labels.npz"))


def accuracy(
    peer: Peer, python: Path, sets: Mapping[str, Given], settings: Sequence[dict[str, Any]], seconds: float
) -> tuple[list[Row], dict[str, Any], float] | str:
    """(rows at the best of the settings, those settings, seconds they took), or why there are none."""
    counts = {name: len({turn.speaker for turn in one.truth}) for name, one in sets.items()}
    told: dict[str, Mapping[str, Any]] = {"counts": counts, "models": {name: one.model for name, one in sets.items()}}
    found = run(peer, python, settings, told, {name: one.vectors for name, one in sets.items()}, seconds)
    if isinstance(found, str):
        return found
    config = Config()
    tried = [
        [scored(name, one, found[f"{i}/{name}"], config) for name, one in sets.items()] for i in range(len(settings))
    ]
    best = min(range(len(settings)), key=lambda i: mean_rate(tried[i]))
    return tried[best], dict(settings[best]), float(found["seconds"][best])


def mean_rate(rows: Sequence[Row]) -> float:
    """The mean over sets of their pooled DER: no set counts more for being longer."""
    names = dict.fromkeys(row.set for row in rows)
    return float(np.mean([sum((row.errors for row in rows if row.set == name), Errors()).rate for name in names]))


def summary(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Set -> DER in per cent, and in how many recordings the count is right."""
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(row.set for row in rows):
        own = [row for row in rows if row.set == name]
        right = sum(row.found == row.speakers for row in own)
        found[name] = {
            "der": round(100 * sum((row.errors for row in own), Errors()).rate, 1),
            "right": right,
            "of": len(own),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=simulate.DATA)
    parser.add_argument("--simulated", type=int, default=60)
    parser.add_argument("--environments", type=Path, default=Path(".venv-peers"))
    parser.add_argument("--only", nargs="+", choices=PEERS, default=list(PEERS), metavar="NAME")
    parser.add_argument("--sizes", nargs="*", type=int, default=SIZES)
    parser.add_argument("--seconds", type=float, default=600.0, help="that a peer may take for one size")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        sets = collect(options.data, options.simulated) if options.simulated else {}
        vbx = any(PEERS[title].clusterer == "pyannote-vbx" for title in options.only)
        trained = plda(options.data, Path(name)) if vbx else {}
        for title in options.only:
            peer = PEERS[title]
            python = interpreter(peer, options.environments)
            trains = peer.clusterer == "pyannote-vbx"
            settings = [{**one, **trained} for one in peer.settings] if trains else list(peer.settings)
            own = {key: one for key, one in sets.items() if not (trains and one.set == "xvectors")}
            report[title] = measured(peer, python, own, settings, options.sizes, options.seconds)
            print(json.dumps({title: report[title]}), flush=True)
    for path in sorted((options.data / "xvectors").glob("*.vbx-output.rttm")):
        one = sets.get(path.name.partition(".")[0])
        if one is not None:
            report["VBx as published"] = {"sets": summary([against(path.stem, one, read_rttm(path))])}
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def measured(
    peer: Peer, python: Path, sets: Mapping[str, Given], settings: Sequence[dict[str, Any]], sizes: Sequence[int],
    seconds: float,
) -> dict[str, Any]:  # fmt: skip
    """All that the table shows of one peer."""
    found: dict[str, Any] = {"told": peer.told}
    best = settings[0]
    if sets:
        judged = accuracy(peer, python, sets, settings, 6 * seconds)
        if isinstance(judged, str):
            found["failed"] = judged
        else:
            rows, best, took = judged
            found |= {"settings": {k: v for k, v in best.items() if k not in ("transform", "plda")}}
            found |= {"sets": summary(rows), "mean_der": round(100 * mean_rate(rows), 1), "seconds": round(took, 2)}
    over: str | None = None  # what takes too long for some takes too long for more
    scales: dict[str, dict[str, Any] | str] = {}
    for n in sorted(sizes):
        scales[str(n)] = over or scaled(peer, python, best, n, seconds)
        over = _over(scales[str(n)])
    return {**found, "synthetic": scales}


def _over(answer: dict[str, Any] | str) -> str | None:
    return answer if isinstance(answer, str) and answer.startswith("over") else None


def scaled(peer: Peer, python: Path, settings: dict[str, Any], n: int, seconds: float) -> dict[str, Any] | str:
    """Speakers found, seconds and memory for `n` synthetic windows; or why there is no answer."""
    found = run(
        peer, python, [settings], {"counts": {"one": SPEAKERS}, "models": {}}, {"one": synthetic(n, SPEAKERS)}, seconds
    )
    if isinstance(found, str):
        return found
    return {
        "speakers": int(found["0/one"].max()) + 1,
        "seconds": round(float(found["seconds"][0]), 2),
        "peak_mb": round(float(found["peak"])),
    }


if __name__ == "__main__":
    main()

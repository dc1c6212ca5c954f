"""Speaker models trained here: against plain features, in other conditions, from a teacher, and after kills.

    python -m benchmarks.training [RUN ...] [--data DATA] [--work FOLDER] [--epochs N] [--json FILE]

RUN is one or more of (default: mfcc clean small telephone):

    mfcc        no model: the cosine of means and deviations of 20 MFCCs
    clean       an x-vector network with AAM-softmax, trained on the 100 speakers of speechocean-dev
    small       a narrower one with cross-entropy, in a fifth of the time
    telephone   the same as small with --domain telephone
    distilled   an ECAPA-TDNN network that imitates community-1 on libri-cohort, speechocean-dev and libri-dev, without
                names of speakers
    kills       `diarize train` killed at 20 random moments and resumed, compared with an undisturbed run

Measured on the trials of an4-dev and, for `distilled`, of speechocean-dev (whose recordings it was trained on, without
names): EER and minDCF(0.01) of whole utterances, as they are and through a telephone line (band and mu-law). Trained
models stay in --work and are used again.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import simulate
from diarize.metrics import verification
from diarize.models.store import Store
from diarize.training import codecs
from diarize.types import Audio, Samples, Segment
from diarize.units import RATE

Floats = NDArray[np.float32]
Voice = Callable[[Samples], Floats]
RECIPE = """
name = "bench-{name}"
out = "{name}"
licence = "CC-BY-4.0"
{domain}
data = [{sources}]

[model]
architecture = "{architecture}"
channels = {channels}
dimension = {dimension}
bins = {bins}

[held_out]
share = {share}

[augment]
speeds = {speeds}

[loss]
kind = "{loss}"

[optimizer]
rate = {rate}
final_rate = {final}

[training]
epochs = {epochs}
batch = {batch}
crop = {crop}
"""
WIDE = {
    "architecture": "xvector",
    "channels": 192,
    "dimension": 192,
    "bins": 40,
    "loss": "aam",
    "rate": 1e-3,
    "final": 1e-5,
    "batch": 32,
    "crop": 2.0,
}
NARROW = {
    "architecture": "xvector", "channels": 128, "dimension": 128, "bins": 40, "loss": "cross-entropy", "rate": 2e-3,
    "final": 1e-4, "batch": 16, "crop": 1.5,
}  # fmt: skip
RECIPES: dict[str, dict[str, Any]] = {
    "clean": {**WIDE, "epochs": 20, "share": 0.1},
    "small": {**NARROW, "epochs": 14, "share": 0.1},
    "telephone": {**NARROW, "epochs": 14, "share": 0.1},
    "distilled": {
        **NARROW, "architecture": "ecapa", "channels": 128, "dimension": 256, "bins": 80, "batch": 32, "crop": 2.0,
        "epochs": 24, "share": 0.0,
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    run: str
    trials: str
    condition: str
    scaling: str  # of the components of vectors before the cosine: none; mean 0; mean 0 and deviation 1
    eer: float
    min_dcf: float
    ms: float  # for a second of audio, features included


def manifest(path: Path, data: Path, sets: list[str]) -> Path:
    """A manifest of utterances of the data sets."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "speaker"))
        for name in sets:
            index = data / name / "utterances.json"
            known = json.loads(index.read_text("utf-8")) if index.is_file() else {}
            for recording in sorted((data / name).glob("*.flac")):
                speaker = known.get(recording.stem, {}).get("speaker", recording.stem.split("-")[0])
                writer.writerow((recording, f"{name}/{speaker}"))
    return path


def train(name: str, data: Path, work: Path, epochs: int | None) -> Path:
    """Train by the command, unless it is done; the ONNX model."""
    folder = work / "models" / f"bench-{name}"
    if (folder / "model.onnx").is_file():
        return folder / "model.onnx"
    values = dict(RECIPES[name])
    values["epochs"] = epochs or values["epochs"]
    sets = ["speechocean-dev"]
    if name == "distilled":
        sets = ["libri-cohort", "speechocean-dev", "libri-dev"]
    work.mkdir(parents=True, exist_ok=True)
    source = manifest(work / f"{name}.csv", data, sets)
    speeds = "[0.85, 1.18]\nnoise = 0.3\nreverberation = 0.2" if name == "distilled" else "[0.9, 1.1]"
    domain = 'domain = "telephone"' if name == "telephone" else ""
    text = RECIPE.format(name=name, domain=domain, sources=f'{{manifest = "{source.name}"}}', speeds=speeds, **values)
    if name == "distilled":
        text += '\n[teacher]\nmodel = "community-1"\n'
    recipe = work / f"{name}.toml"
    recipe.write_text(text, encoding="utf-8")
    models = work / "models"
    models.mkdir(exist_ok=True)
    for model in Store().folder.iterdir() if name == "distilled" else ():
        if not (models / model.name).exists():
            (models / model.name).symlink_to(model)
    began = time.monotonic()
    command = [sys.executable, "run_pipeline.py", "train", "--config", str(recipe)]
    subprocess.run(command, check=True, env={**os.environ, "DIARIZE_MODELS": str(models)})
    print(f"{name}: trained in {time.monotonic() - began:.0f} s")
    return folder / "model.onnx"


def onnx_voice(model: Path) -> Voice:
    from diarize.backends import embedder_onnx

    embedder = embedder_onnx.load(model, threads=1)

    def voice(samples: Samples) -> Floats:
        audio = Audio("utterance", samples, RATE, "0" * 64)
        return np.asarray(embedder(audio, (Segment(0.0, len(samples) / RATE),)).vectors[0])

    return voice


def mfcc_voice(samples: Samples) -> Floats:
    """Means and deviations of 20 MFCCs over the frames of an utterance that are not quiet."""
    import librosa

    coefficients = librosa.feature.mfcc(y=samples, sr=RATE, n_mfcc=20, n_fft=400, hop_length=160)
    loud = coefficients[0] > np.percentile(coefficients[0], 30)
    chosen = coefficients[1:, loud]
    return np.asarray(np.concatenate([chosen.mean(axis=1), chosen.std(axis=1)]), np.float32)


def measure(run: str, voice: Voice, trials: Path, condition: str) -> list[Row]:
    """EER and minDCF on a list of trials: of vectors as they are, minus the set's mean, and in its deviations."""
    import soundfile

    lines = [line.split() for line in trials.read_text("utf-8").splitlines() if line.strip()]
    names = sorted({name for _, *pair in lines for name in pair})
    same = np.array([truth == "1" for truth, *_ in lines])
    index = {name: i for i, name in enumerate(names)}
    left, right = (np.array([index[line[side]] for line in lines]) for side in (1, 2))
    vectors, spent, seconds = [], 0.0, 0.0
    for name in names:
        samples, rate = soundfile.read(trials.parent / f"{name}.flac", dtype="float32")
        assert rate == RATE
        if condition == "telephone":
            samples = codecs.telephone(samples, "mu-law")
        began = time.perf_counter()
        vectors.append(voice(samples))
        spent += time.perf_counter() - began
        seconds += len(samples) / RATE
    plain = np.stack(vectors)
    rows = []
    for scaling in ("none", "mean 0", "deviation 1"):
        scaled = plain if scaling == "none" else plain - plain.mean(axis=0)
        scaled = scaled / scaled.std(axis=0) if scaling == "deviation 1" else scaled
        scaled = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
        scores = np.einsum("nd,nd->n", scaled[left], scaled[right])
        eer, _ = verification.equal_error(scores[same], scores[~same])
        cost, _ = verification.min_dcf(scores[same], scores[~same], 0.01)
        rows.append(Row(run, trials.parent.name, condition, scaling, eer, cost, 1000 * spent / seconds))
    return rows


def kills(data: Path, work: Path, count: int) -> bool:
    """Whether a training killed at `count` random moments gives the weights of an undisturbed one."""
    work.mkdir(parents=True, exist_ok=True)
    source = manifest(work / "kills.csv", data, ["libri-dev"])
    values = {**NARROW, "channels": 32, "dimension": 32, "bins": 24, "epochs": 12, "share": 0.4}
    text = RECIPE.format(
        name="NAME", domain="", sources=f'{{manifest = "{source.name}"}}', speeds="[0.9, 1.1]", **values
    )
    digests = {}
    for name in ("whole", "killed"):
        recipe = work / f"{name}.toml"
        recipe.write_text(text.replace("NAME", name) + "checkpoint = 0.2\n", encoding="utf-8")
        command = [sys.executable, "run_pipeline.py", "train", "--config", str(recipe)]
        environment = {**os.environ, "DIARIZE_MODELS": str(work / "models")}
        moments = random.Random(1)
        done = 0
        while name == "killed" and done < count:
            process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
            # Killed some time after its clips are there, so that all of its work is hit, not only its start.
            assert process.stderr is not None
            for line in process.stderr:
                if "min" in line and "clip" in line:
                    break
            time.sleep(moments.uniform(0.0, 3.0))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                done += 1
            process.communicate()
            if process.returncode == 0:
                print(f"it ended before kill {done + 1}")
                break
        subprocess.run(command, check=True, env=environment, capture_output=True)
        digests[name] = (work / name / "model.safetensors").read_bytes()
    return digests["whole"] == digests["killed"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", default=["mfcc", "clean", "small", "telephone"])
    parser.add_argument("--data", type=Path, default=simulate.DATA)
    parser.add_argument("--work", type=Path, default=Path("out/training"))
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"skipped: there are no utterances in {options.data}")
        return
    rows: list[Row] = []
    for run in options.runs:
        if run == "kills":
            print("kills: the same weights" if kills(options.data, options.work / "kills", 20) else "kills: DIFFERENT")
            continue
        trained = run in RECIPES
        voice = onnx_voice(train(run, options.data, options.work, options.epochs)) if trained else mfcc_voice
        for name in ("an4-dev", "speechocean-dev") if run == "distilled" else ("an4-dev",):
            for condition in ("as recorded", "telephone"):
                for row in measure(run, voice, options.data / name / "trials.txt", condition):
                    rows.append(row)
                    print(
                        f"{row.run:12}{row.trials:18}{row.condition:14}{row.scaling:12}EER {100 * row.eer:6.2f} %  "
                        f"minDCF(0.01) {row.min_dcf:.3f}  {row.ms:5.1f} ms/s",
                        flush=True,
                    )
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

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
import shutil
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
        "epochs": 72, "share": 0.0,
    },
}  # fmt: skip
# The teacher embeds each speed: more voices.
IMITATION = "[0.8, 0.9, 1.1, 1.25]\nnoise = 0.3\nreverberation = 0.2\ntelephone = 0.2"


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
    speeds = IMITATION if name == "distilled" else "[0.9, 1.1]"
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


@dataclass(frozen=True, slots=True)
class Kills:
    """Trainings that were killed and resumed, against one that was not."""

    killed: int
    trainings: int  # that were compared
    same: int  # of them with the same bytes

    def __str__(self) -> str:
        same = f"{self.same} of {self.trainings} resumed trainings with the bytes of an undisturbed one"
        return f"{self.killed} kills; {same}"


def kills(data: Path, work: Path, count: int) -> Kills:
    """Train once undisturbed; then kill and resume `count` times, in as many trainings as that takes."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    source = manifest(work / "kills.csv", data, ["libri-dev"])
    values = {**NARROW, "channels": 32, "dimension": 32, "bins": 24, "epochs": 12, "share": 0.4}
    text = RECIPE.format(
        name="NAME", domain="", sources=f'{{manifest = "{source.name}"}}', speeds="[0.9, 1.1]", **values
    )
    recipes = {name: work / f"{name}.toml" for name in ("whole", "killed")}
    for name, recipe in recipes.items():
        recipe.write_text(text.replace("NAME", name) + "checkpoint = 0.2\n", encoding="utf-8")
    began, process = _start(recipes["whole"], work)
    _finish(process)
    seconds = time.monotonic() - began
    whole = (work / "whole" / "model.safetensors").read_bytes()
    moments = random.Random(1)
    killed = 0
    results = []
    while killed < count:
        _, process = _start(recipes["killed"], work)
        # Short against a training, so that several kills hit it: some before its first checkpoint, some in its export.
        time.sleep(moments.uniform(0.0, seconds / 6))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            killed += 1
            continue
        _finish(process)
        results.append((work / "killed" / "model.safetensors").read_bytes())
        shutil.rmtree(work / "killed")  # the next one begins anew
        shutil.rmtree(work / "models" / "bench-killed")
    _finish(_start(recipes["killed"], work)[1])
    results.append((work / "killed" / "model.safetensors").read_bytes())
    return Kills(killed, len(results), sum(result == whole for result in results))


def _start(recipe: Path, work: Path) -> tuple[float, subprocess.Popen[str]]:
    """The training, begun: when its clips were read, and the process."""
    command = [sys.executable, "run_pipeline.py", "train", "--config", str(recipe), "--force"]
    environment = {**os.environ, "DIARIZE_MODELS": str(work / "models")}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "clip" in line and " min" in line:
            break
    return time.monotonic(), process


def _finish(process: subprocess.Popen[str]) -> None:
    """Wait for its end. Raises SystemExit with its messages where it failed."""
    _, messages = process.communicate()
    if process.returncode:
        raise SystemExit(f"the training ended with exit status {process.returncode}: {messages}")


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
            result = kills(options.data, options.work / "kills", 20)
            print(f"kills: {result}")
            if result.same < result.trainings:
                raise SystemExit("a resumed training has other weights")
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

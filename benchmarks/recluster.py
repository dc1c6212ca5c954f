"""Cost of a rerun: one recording of an hour, first with an empty cache, then with another number of speakers.

    python -m benchmarks.recluster SIM_DEV [--hours 1] [--runs 7] [--beside CHECKOUT] [--json OUT]

`SIM_DEV` is a folder of recordings, repeated up to this number of hours. The models are those of the model store, and
no words are recognized. Each run is the whole command in its own process. `seconds` are from its start to its end,
`processor` is the processor time of the command and its workers, `stages` is the time of the recording only; of several
reruns the median. `none` is a rerun with nothing to do.

`--beside` also measures another checkout of this project, alternately with this one, because the load of a machine
changes from minute to minute.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np

from diarize.audio import reading
from diarize.types import Samples
from diarize.units import RATE

ROOT = Path(__file__).resolve().parents[1]


def joined(folder: Path) -> Samples:
    """The recordings in `folder` one after the other, at 16 kHz."""
    return np.concatenate(
        [reading.read(path, id=path.stem).audios[0].samples for path in sorted(folder.glob("*.flac"))]
    )


def tiled(sound: Samples, seconds: float, out: Path) -> None:
    """A wav file of so many seconds: `sound` over and over."""
    wanted = round(seconds * RATE)
    with wave.open(str(out), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        for first in range(0, wanted, len(sound)):
            file.writeframes((sound[: wanted - first] * 32767).astype("<i2").tobytes())


def run(code: Path, recording: Path, out: Path, cache: Path, *options: str) -> dict[str, Any]:
    """Seconds from start to end, processor seconds, and seconds of each stage; by the checkout `code`."""
    command = [sys.executable, str(code / "run_pipeline.py"), "process", str(recording), "--out", str(out)]
    command += ["--cache", str(cache), "--asr", "none", "--offline", "-q", *options]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(code)}, check=True)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    told = json.loads((out / recording.stem / "provenance.json").read_text(encoding="utf-8"))
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(seconds, 2), "processor": round(processor, 2), "stages": told["seconds"]}


def middle(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of several runs."""
    stages = {
        stage: round(statistics.median(one["stages"].get(stage, 0.0) for one in found), 3)
        for stage in found[0]["stages"]
    }
    return {
        "seconds": statistics.median(one["seconds"] for one in found),
        "processor": statistics.median(one["processor"] for one in found),
        "recording": round(sum(stages.values()), 2),
        "stages": stages,
    }


def measured(codes: dict[str, Path], recording: Path, scratch: Path, runs: int) -> dict[str, Any]:
    """Name of a checkout -> what its first run, its reruns and its reruns with nothing to do took."""
    caches = {name: scratch / name / "stages" for name in codes}
    found: dict[str, dict[str, Any]] = {name: {} for name in codes}
    for name, code in codes.items():
        found[name]["first"] = middle([run(code, recording, scratch / name / "first", caches[name])])
    for kind, outs in (("rerun", [str(i) for i in range(runs)]), ("none", ["0"] * runs)):
        times: dict[str, list[dict[str, Any]]] = {name: [] for name in codes}
        for out in outs:
            for name, code in codes.items():
                place = scratch / name / out
                times[name].append(run(code, recording, place, caches[name], "--num-speakers", "4"))
        for name, several in times.items():
            found[name][kind] = middle(several)
    for name, cache in caches.items():
        found[name]["kept_MB"] = round(sum(p.stat().st_size for p in cache.glob("??/*")) / 1e6, 1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--beside", type=Path, metavar="CHECKOUT")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        recording = Path(scratch) / "long.wav"
        tiled(joined(options.folder), options.hours * 3600, recording)
        time.sleep(3)  # a file that was changed a moment ago is hashed again, as it may change once more
        codes = {"this": ROOT, **({"beside": options.beside.resolve()} if options.beside is not None else {})}
        found = {"hours": options.hours, **measured(codes, recording, Path(scratch), options.runs)}
    text = json.dumps(found, indent=1)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

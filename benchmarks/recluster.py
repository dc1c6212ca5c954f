"""What a rerun costs: one recording of an hour, first with an empty cache, then with another number of speakers.

    python -m benchmarks.recluster SIM_DEV [--hours 1] [--runs 3] [--json OUT]

`SIM_DEV` is a folder of recordings, repeated until there are so many hours. Models are those of the model store, and no
words are recognized. Each run is a process of its own. `seconds` are those from start to end, `stages` those of the
recording alone; of several reruns the median. `none` is a rerun whose results are there already, with nothing to do.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np

from diarize import audio
from diarize.types import Samples
from diarize.units import RATE

ROOT = Path(__file__).resolve().parents[1]


def joined(folder: Path) -> Samples:
    """The recordings in `folder` one after the other, at 16 kHz."""
    return np.concatenate([audio.read(path, id=path.stem).audios[0].samples for path in sorted(folder.glob("*.flac"))])


def tiled(sound: Samples, seconds: float, out: Path) -> None:
    """A wav file of so many seconds: `sound` over and over."""
    wanted = round(seconds * RATE)
    with wave.open(str(out), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        for first in range(0, wanted, len(sound)):
            file.writeframes((sound[: wanted - first] * 32767).astype("<i2").tobytes())


def run(recording: Path, out: Path, cache: Path, *options: str) -> dict[str, Any]:
    """Seconds from start to end, and of each stage."""
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "process", str(recording), "--out", str(out)]
    began = time.perf_counter()
    subprocess.run([*command, "--cache", str(cache), "--asr", "none", "--offline", "-q", *options], check=True)
    seconds = time.perf_counter() - began
    told = json.loads((out / recording.stem / "provenance.json").read_text(encoding="utf-8"))
    return {"seconds": round(seconds, 2), "stages": told["seconds"]}


def middle(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of several runs."""
    stages = {
        stage: round(statistics.median(one["stages"].get(stage, 0.0) for one in found), 3)
        for stage in found[0]["stages"]
    }
    return {
        "seconds": statistics.median(one["seconds"] for one in found),
        "recording": round(sum(stages.values()), 2),
        "stages": stages,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        recording, cache = Path(scratch) / "long.wav", Path(scratch) / "stages"
        tiled(joined(options.folder), options.hours * 3600, recording)
        found: dict[str, Any] = {"hours": options.hours}
        found["first"] = middle([run(recording, Path(scratch) / "first", cache)])
        outs = [Path(scratch) / str(i) for i in range(options.runs)]
        found["rerun"] = middle([run(recording, out, cache, "--num-speakers", "4") for out in outs])
        found["none"] = middle([run(recording, outs[0], cache, "--num-speakers", "4") for _ in outs])
        found["kept_MB"] = round(sum(p.stat().st_size for p in cache.glob("??/*")) / 1e6, 1)
    text = json.dumps(found, indent=1)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

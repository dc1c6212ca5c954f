"""Effect of a second worker: the default models, without words, on many recordings of five minutes.

    taskset -c 0,1 python -m benchmarks.workers SIM_DEV [--files 24] [--minutes 5] [--rounds 3] [--json OUT]

`SIM_DEV` is a folder of recordings. Each file is a part of all of them in sequence, with a different start, so no two
files have the same bytes. No cache. The whole command is measured, from its start to its exit. Rounds alternate
between all configurations, and medians are shown.

`1 core`    one worker that may use one core
`1 worker`  one worker that may use all available cores (its models have threads)
`2 workers` two workers that share them
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.recluster import joined, tiled
from diarize.units import RATE

ROOT = Path(__file__).resolve().parents[1]


def make(folder: Path, source: Path, files: int, seconds: float) -> Path:
    """So many different recordings of so many seconds."""
    folder.mkdir()
    sound = joined(source)
    for number in range(files):
        shifted = np.roll(sound, -round(number * len(sound) / files) // RATE * RATE)
        tiled(shifted, seconds, folder / f"r{number:02}.wav")
    return folder


def run(recordings: Path, out: Path, workers: int, cores: set[int]) -> tuple[float, float]:
    """(seconds of the clock, seconds of processor time) of the whole command on these cores."""
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "process", str(recordings), "--out", str(out), "-q"]
    command += ["--asr", "none", "--cache", "none", "--offline", "--workers", str(workers)]
    here = os.sched_getaffinity(0)
    before, began = os.times(), time.perf_counter()
    os.sched_setaffinity(0, cores)  # the process that is begun inherits it
    try:
        subprocess.run(command, check=True, cwd=ROOT)
    finally:
        os.sched_setaffinity(0, here)
    seconds, after = time.perf_counter() - began, os.times()
    shutil.rmtree(out)
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, used


def measure(recordings: Path, scratch: Path, hours: float, rounds: int) -> dict[str, Any]:
    """Way -> medians: seconds, processor seconds, hours of sound an hour; and each round's seconds and load."""
    cores = os.sched_getaffinity(0)
    ways = {"1 core": (1, {min(cores)}), "1 worker": (1, cores), "2 workers": (2, cores)}
    took: dict[str, list[tuple[float, float, float]]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, (workers, allowed) in ways.items():
            took[way].append((*run(recordings, scratch / "out", workers, allowed), os.getloadavg()[0]))
    found: dict[str, Any] = {"cores": len(cores)}
    for way, rows in took.items():
        seconds = statistics.median(row[0] for row in rows)
        found[way] = {
            "seconds": round(seconds, 2),
            "processor_s": round(statistics.median(row[1] for row in rows), 2),
            "hours_an_hour": round(hours * 3600 / seconds, 1),
            "each": [round(row[0], 2) for row in rows],
            "load_average": [round(row[2], 1) for row in rows],
        }
    for way in ("1 core", "1 worker"):
        found[f"2 workers against {way}"] = round(found[way]["seconds"] / found["2 workers"]["seconds"], 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=24)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        recordings = make(Path(scratch) / "in", options.folder, options.files, options.minutes * 60)
        found = measure(recordings, Path(scratch), options.files * options.minutes / 60, options.rounds)
    text = json.dumps({"files": options.files, "minutes": options.minutes, **found}, indent=1)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Resume after kills at random moments, with the real models: are the results those of an undisturbed run?

    python -m benchmarks.kills SIM_DEV [--kills 20] [--seed 20260] [--json OUT]

Five recordings of 20 to 60 s from the folder `SIM_DEV`, two of them with the same bytes, in two workers, without words.
The run is killed (SIGKILL, its own process only, as the kernel does it) at a random moment within the time of an
undisturbed run, and then started again. Every other time there is a cache, empty at first. All files except
`provenance.json` are compared. Exit status 1 if one differs.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
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
LENGTHS = (20, 30, 45, 60)  # s


def make(folder: Path, source: Path) -> Path:
    """The recordings."""
    folder.mkdir()
    sound = joined(source)
    for number, seconds in enumerate(LENGTHS):
        tiled(np.roll(sound, -number * len(sound) // len(LENGTHS) // RATE * RATE), seconds, folder / f"r{number}.wav")
    shutil.copy(folder / "r0.wav", folder / "twin.wav")
    return folder


def run(recordings: Path, out: Path, cache: str, moment: float | None = None) -> tuple[int, float]:
    """(exit status, seconds) of the command; killed at `moment`, in seconds."""
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "process", str(recordings), "--out", str(out), "-q"]
    command += ["--asr", "none", "--offline", "--workers", "2", "--cache", cache]
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        process.kill()
    return process.wait(), time.perf_counter() - began


def contents(out: Path) -> dict[str, bytes]:
    """Every file but those that say when and where."""
    found = (path for path in out.rglob("*") if path.is_file() and path.name != "provenance.json")
    return {str(path.relative_to(out)): path.read_bytes() for path in found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=20_260)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        out, cache = Path(name) / "out", Path(name) / "stages"
        recordings = make(Path(name) / "in", options.folder)
        status, _ = run(recordings, out, "none")
        expected = contents(out)
        if status:
            raise SystemExit(f"undisturbed, its exit status is {status}")
        shutil.rmtree(out)
        seconds = run(recordings, out, "none")[1]
        chance = random.Random(options.seed)
        for number in range(options.kills):
            shutil.rmtree(out)
            shutil.rmtree(cache, ignore_errors=True)
            kept = "none" if number % 2 else str(cache)
            moment = chance.uniform(0, seconds)
            killed, _ = run(recordings, out, kept, moment)
            done = len(list(out.glob("*/transcript.json")))
            again, took = run(recordings, out, kept)
            rows.append(
                {
                    "moment_s": round(moment, 2),
                    "status": killed,
                    "done": done,
                    "again": again,
                    "again_s": round(took, 2),
                    "same": contents(out) == expected,
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    same = sum(row["same"] for row in rows)
    killed = sum(row["status"] == -9 for row in rows)
    print(f"{len(rows)} runs, {killed} killed (an undisturbed one takes {seconds:.1f} s), {same} with the same bytes")
    if options.json is not None:
        found = {"seed": options.seed, "undisturbed_s": round(seconds, 2), "runs": rows}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    raise SystemExit(same < len(rows))


if __name__ == "__main__":
    main()

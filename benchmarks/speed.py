"""Seconds per hour of audio and peak memory of each stage, on recordings of stated lengths.

    python -m benchmarks.speed [--hours 1,10] [--cores 2] [--repeat 1] [--profile fast] [--segmentation none]
                               [--data DATA] [--json FILE]

A recording consists of the three wide-band meetings of `sim-dev`, repeated in sequence until it is long enough (85 % of
it is speech), as FLAC in a temporary folder. Each is processed in its own process, which may use `--cores` cores.
Wall-clock seconds show how long a user waits; processor seconds are comparable on a machine with other work. Peak
memory is the largest resident set during a stage, with memory-mapped samples. Of several repetitions the fastest is
shown.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from diarize.config import Config
from diarize.models.store import Store
from pipelines.processes.lifetime import LINEAR_ALGEBRA

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
MEETINGS = ("dev3-close", "dev4-room", "dev5-close")
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """One stage on one recording."""

    hours: float
    stage: str
    wall: float  # s per hour of audio
    processor: float  # s per hour of audio, all threads
    peak: float  # MiB


NAMES = {  # stage as the recipe announces it -> what a reader is shown
    "segment": "segmentation",
    "detect": "voice activity detection",
    "embed": "windows and embedding",
    "cluster": "clustering and turns",
}


def measure(path: Path, hours: float, cores: int, segmentation: str, profile: str) -> list[Row]:
    """The stages up to turns on one recording, with default settings. Runs in the process that is measured."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    from diarize.audio import reading
    from pipelines import plan
    from pipelines.recording import find_turns

    rows: list[Row] = []
    current, wall, processor = "", 0.0, 0.0

    def enter(stage: str) -> None:
        nonlocal current, wall, processor
        if current:
            passed, worked = time.perf_counter() - wall, time.process_time() - processor
            rows.append(Row(hours, NAMES.get(current, current), passed / hours, worked / hours, _peak() / MIB))
        _reset_peak()
        current, wall, processor = stage, time.perf_counter(), time.process_time()

    chosen = {"asr": {"backend": "none"}, "profile": profile, "segmentation": {"backend": segmentation}}
    planned_for = Config.model_validate(chosen)
    enter("loading models")
    planned = plan.make(planned_for, Store(offline=True))
    stages, config = planned.build(), planned.config
    enter("decoding")
    recording = reading.read(path, id="long").audios[0]
    find_turns([recording], stages.observed(enter), config)
    enter("")
    total = Row(hours, "all", sum(r.wall for r in rows), sum(r.processor for r in rows), max(r.peak for r in rows))
    return [*rows, total]


def make(folder: Path, hours: float, data: Path) -> Path:
    """A FLAC file of the given length."""
    import soundfile

    path = folder / f"{hours:g}h.flac"
    pieces = [soundfile.read(data / "sim-dev" / f"{name}.flac", dtype="int16") for name in MEETINGS]
    left = round(hours * 3600 * pieces[0][1])
    with soundfile.SoundFile(path, "w", pieces[0][1], 1, "PCM_16") as file:
        while left > 0:
            for samples, _ in pieces:
                file.write(samples[:left])
                left -= len(samples[:left])
    return path


def best(runs: list[list[Row]]) -> list[Row]:
    """Of several runs of one recording, the fastest."""
    return min(runs, key=lambda rows: rows[-1].wall)


def table(rows: list[Row]) -> str:
    lines = [f"{'hours':>5}  {'stage':<26}{'s per hour':>11}{'processor s':>13}{'peak MiB':>10}"]
    lines += [f"{r.hours:>5g}  {r.stage:<26}{r.wall:>11.2f}{r.processor:>13.2f}{r.peak:>10.0f}" for r in rows]
    return "\n".join(lines)


def _reset_peak() -> None:
    """Linux: start the resident set's high-water mark anew (proc(5), clear_refs)."""
    control = Path("/proc/self/clear_refs")
    if control.exists():
        control.write_text("5", encoding="ascii")


def _peak() -> float:
    """The resident set's high-water mark in bytes: since the last reset on Linux, of the process elsewhere."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text(encoding="ascii").splitlines() if x.startswith("VmHWM"))
        return float(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if platform.system() == "Darwin" else peak * 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", default="1,10", help="lengths of the recordings, comma between")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--profile", default="accurate", help="accurate or fast")
    parser.add_argument("--segmentation", default="auto", help="auto, or none: one speaker at a time")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    store = Store()
    for name in ("silero-vad-v6", "community-1-embedding", "ge2e"):
        if store.find(name) is None:
            store.pull(name)
    rows: list[Row] = []
    os.environ.update(dict.fromkeys(LINEAR_ALGEBRA, "1"))  # as in the workers of the main job
    context = multiprocessing.get_context("spawn")  # a process that has nothing of this one's memory
    with tempfile.TemporaryDirectory() as folder:
        for hours in (float(part) for part in options.hours.split(",")):
            path = make(Path(folder), hours, options.data)
            runs = []
            for _ in range(options.repeat):
                with context.Pool(1) as pool:
                    runs.append(
                        pool.apply(measure, (path, hours, options.cores, options.segmentation, options.profile))
                    )
            rows += best(runs)
            path.unlink()
    print(table(rows))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        about = {
            "cores": options.cores,
            "profile": options.profile,
            "segmentation": options.segmentation,
            "repeat": options.repeat,
            "python": platform.python_version(),
        }
        options.json.write_text(json.dumps({**about, "rows": [asdict(r) for r in rows]}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()

"""Overhead of a batch outside its stages: time, memory and processor time of a run of many short recordings.

    python -m benchmarks.batches [--files 2000] [--workers 1 2] [--folder FOLDER] [--json OUT]

Recordings of 2 s, backends without a model, no cache. The whole command is measured, from its start to its exit. The
figures are:

overhead   wall time of the command x workers - the seconds of its stages (`read` to `recognize`, from `provenance.json`
           of each recording), for each recording. So Python's start, loading the code, communication, the second hash,
           twelve exports with their flushes, the journal, the tables and all waiting are overhead.
processor  seconds that all processes of the run used, including the stages, for each recording.
rerun      the same command again, with nothing to do.
memory     resident set of each process, MiB, when 100 recordings are done and when all are done; and the maximum.
parent     milliseconds of the parent's processor time for each recording, in the first and in the last quarter: the
           cost of the journal as it grows.
flush      milliseconds that the disk takes to flush twelve files side by side, before the run (`benchmarks.commit`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import wave
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import commit
from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.types import Audio, Embeddings, Segment, Word

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = [
    "--vad=energy",
    "--segmentation=none",
    "--embedder=benchmarks.batches:embedder",
    "--asr=benchmarks.batches:recognizer",
    "--offline",
]
TICK = 0.25  # s between samples
EARLY = 100  # recordings after which memory should not grow
MIB = 1 << 20
_CLOCK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Pitch:
    """An `Embedder` that hears pure tones: the spectrum in 32 bands, as a unit vector."""

    name: str = "pitch"

    def __call__(self, audio: Audio, segments: Sequence[Segment], activity: LocalActivity = NO_ACTIVITY) -> Embeddings:
        rows = np.zeros((len(segments), 32), dtype=np.float32)
        for row, segment in zip(rows, segments, strict=True):
            piece = audio.samples[int(segment.start * audio.rate) : int(segment.end * audio.rate)]
            bands = np.array_split(np.abs(np.fft.rfft(piece, 4096)) + 1e-6, len(row))
            row[:] = [np.sqrt((band**2).sum()) for band in bands]
            row /= np.linalg.norm(row)
        return Embeddings(tuple(segments), rows, self.name)


@dataclass(frozen=True)
class Ticks:
    """A `Recognizer` that hears a word every half second of speech."""

    name: str = "ticks"

    def __call__(self, audio: Audio, speech: Sequence[Segment]) -> tuple[tuple[Word, ...], str | None]:
        starts = [start for each in speech for start in np.arange(each.start, each.end, 0.5).tolist()]
        return tuple(Word(start, min(start + 0.3, audio.duration), "tick", 0.9) for start in starts), "en"


def embedder(**options: Any) -> Pitch:
    return Pitch()


def recognizer(**options: Any) -> Ticks:
    return Ticks()


@dataclass
class Sample:
    """How a run stands at one moment."""

    at: float  # s since it began
    done: int  # recordings that have a folder
    resident: dict[str, int] = field(default_factory=dict)  # role -> bytes
    used: dict[str, float] = field(default_factory=dict)  # role -> s of processor time


class Watched:
    """A command, with samples of its processes while it runs. Linux, as it reads /proc."""

    def __init__(self, command: list[str], out: Path) -> None:
        self.samples: list[Sample] = []
        before = os.times()
        self._began = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        thread = threading.Thread(target=self._follow, args=(process, out))
        thread.start()
        self.status = process.wait()
        self.seconds = time.perf_counter() - self._began
        thread.join()
        after = os.times()
        self.processor = after.children_user + after.children_system - before.children_user - before.children_system

    def _follow(self, process: subprocess.Popen[bytes], out: Path) -> None:
        while process.poll() is None:
            done = sum(1 for _ in out.iterdir()) if out.is_dir() else 0
            sample = Sample(time.perf_counter() - self._began, done)
            for role, pid in _family(process.pid).items():
                try:
                    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                sample.resident[role] = int(words[21]) * os.sysconf("SC_PAGE_SIZE")
                sample.used[role] = (int(words[11]) + int(words[12])) / _CLOCK
            self.samples.append(sample)
            time.sleep(TICK)


def _family(pid: int) -> dict[str, int]:
    """Role -> process: the parent, its workers in the order of their start, and the decoder of each."""
    found = {"parent": pid}
    workers = [child for child in _children(pid) if "spawn_main" in _command(child)]
    for number, worker in enumerate(workers, 1):
        found[f"worker {number}"] = worker
        for child in _children(worker):
            if "pipelines.processes.decoder" in _command(child):
                found[f"decoder {number}"] = child
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for each in Path(f"/proc/{pid}/task").iterdir():
            found += [int(word) for word in (each / "children").read_text().split()]
    except OSError:
        return []
    return sorted(found)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def make(folder: Path, files: int) -> Path:
    """Recordings of 2 s, no two of the same bytes."""
    folder.mkdir()
    t = np.arange(8_000) / 16_000
    for number in range(files):
        low, high = (np.sin(2 * np.pi * hertz * t) for hertz in (300 + number / 16, 2500))
        sound = np.concatenate([t * 0, low, t * 0, high]) * 10_000
        with wave.open(str(folder / f"r{number:05}.wav"), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(sound.astype("<i2").tobytes())
    return folder


def measure(recordings: Path, out: Path, files: int, workers: int) -> dict[str, Any]:
    """One run, and the same command again."""
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "process", *SETTINGS, str(recordings), "-q"]
    command += ["--out", str(out), "--cache", "none", "--workers", str(workers)]
    load = os.getloadavg()[0]
    flush = commit.measure(out.parent)["together"]["median_ms"]
    first = Watched(command, out)
    again = Watched(command, out)
    if first.status or again.status:
        raise SystemExit(f"exit status {first.status}, then {again.status}")
    stages: dict[str, float] = {}
    for path in out.glob("*/provenance.json"):
        for stage, seconds in json.loads(path.read_text(encoding="utf-8"))["seconds"].items():
            stages[stage] = stages.get(stage, 0.0) + seconds
    load_models = stages.pop("load", 0.0)
    spent = sum(stages.values())
    return {
        "workers": workers,
        "seconds": round(first.seconds, 2),
        "overhead_ms": round(1000 * (first.seconds * workers - spent) / files, 2),
        "stages_ms": {stage: round(1000 * seconds / files, 2) for stage, seconds in stages.items()},
        "loading_s": round(load_models, 2),
        "processor_ms": round(1000 * first.processor / files, 2),
        "rerun_s": round(again.seconds, 2),
        "rerun_processor_s": round(again.processor, 2),
        "memory_MiB": memory(first.samples),
        "parent_ms": parent(first.samples, files),
        "flush_ms": flush,
        "load_average": [round(load, 1), round(os.getloadavg()[0], 1)],
    }


def memory(samples: list[Sample]) -> dict[str, dict[str, float]]:
    """Role -> resident set when `EARLY` recordings were done, at the end, and the most in between."""
    late = [sample for sample in samples if sample.done >= EARLY and len(sample.resident) > 1]
    found = {}
    for role in late[0].resident if late else ():
        sizes = [sample.resident[role] / MIB for sample in late if sample.resident.get(role)]
        found[role] = {"early": round(sizes[0], 1), "end": round(sizes[-1], 1), "most": round(max(sizes), 1)}
    return found


def parent(samples: list[Sample], files: int) -> dict[str, float]:
    """ms of the parent's processor time a recording, in the first quarter of the run and in the last."""

    def between(first: int, last: int) -> float:
        found = [sample for sample in samples if first <= sample.done <= last and len(sample.used) > 1]
        if len(found) < 2 or found[-1].done == found[0].done:
            return float("nan")
        used = found[-1].used["parent"] - found[0].used["parent"]
        return round(1000 * used / (found[-1].done - found[0].done), 3)

    return {"first": between(EARLY // 4, files // 4), "last": between(files * 3 // 4, files)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--folder", type=Path, help="where recordings and results go; the default is a temporary one")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        recordings = make(Path(name) / "in", options.files)
        found = [measure(recordings, Path(name) / f"out{n}", options.files, n) for n in options.workers]
    text = json.dumps({"files": options.files, "cores": os.cpu_count(), "runs": found}, indent=1)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

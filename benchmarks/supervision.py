"""Cost of running recordings in supervised workers, in addition to the work itself.

    python -m benchmarks.supervision [--files 200] [--workers 1 2] [--json OUT]

Files of 2 s, an end-to-end diarizer that does nothing, no words, no cache. The work itself is the same, done in this
process; the first recording of each is left out, because it loads the code. Wall-clock seconds, median of three rounds,
one after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.batches import make
from diarize.config import ClusterConfig, parse
from diarize.models.store import Store
from diarize.types import Audio, Turn
from pipelines import plan
from pipelines.batch import worker_pool
from pipelines.batch.worker import Worker
from pipelines.inputs.jobs import Job
from pipelines.inputs.recordings import Input
from pipelines.processes.lifetime import LINEAR_ALGEBRA
from pipelines.results.outcomes import Outcome

ROUNDS = 3


@dataclass(frozen=True)
class Nothing:
    """A `Diarizer` that hears one speaker all the time."""

    name: str = "nothing"

    def __call__(self, audio: Audio) -> tuple[Turn, ...]:
        return (Turn(0, audio.duration, "SPEAKER_01"),)

    def bounded(self, cluster: ClusterConfig) -> Nothing:
        return self


def diarizer(**options: Any) -> Nothing:
    return Nothing()


def measure(files: int, workers: Sequence[int]) -> dict[str, float]:
    """Milliseconds a recording: of the work itself, and in each number of workers; seconds until the first is done."""
    settings = {"diarizer": "benchmarks.supervision:diarizer", "asr": {"backend": "none"}, "run": {"cache": "none"}}
    chosen = plan.make(parse(settings, "benchmark"), Store(offline=True))
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = sorted(make(folder / "in", files).iterdir())
        jobs = [Job(Input(path, path.name, path.stem), chosen.config.cluster) for path in paths]
        for turn in range(ROUNDS):
            worker = Worker(chosen, folder / f"own{turn}", 1)
            found.setdefault("own", []).append(_paced(worker(job) for job in jobs)[1])
            for number in workers:
                first, rest = _paced(worker_pool.run(jobs, chosen, folder / f"out{turn}-{number}", number))
                found.setdefault(f"start{number}", []).append(first)
                found.setdefault(f"workers{number}", []).append(rest)
    return {name: median(values) for name, values in found.items()}


def _paced(rows: Iterable[Outcome]) -> tuple[float, float]:
    """Seconds until the first row, and milliseconds for each later one."""
    begun = time.perf_counter()
    times = []
    for row in rows:
        if row.status != "done":
            raise SystemExit(f"{row.name}: {row.reason}")
        times.append(time.perf_counter() - begun)
    return times[0], 1000 * (times[-1] - times[0]) / (len(times) - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = measure(given.files, given.workers)
    for name, value in found.items():
        print(f"{name:10} {value:8.2f} {'s' if name.startswith('start') else 'ms a recording'}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    os.environ.update(dict.fromkeys(LINEAR_ALGEBRA, "1"))
    main()

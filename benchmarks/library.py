"""A library of many enrolled speakers: time and memory to open it, to search it, and to add a person.

    python -m benchmarks.library [--voices N] [--library FILE] [--passes P] [--json FILE]

The voices are synthetic: N unit vectors of 256 numbers, evenly distributed (seeded normal noise), one utterance for
each person. A query is one of them with noise, so that their cosine is 0.75, as for one person on two days. `found` is
the number of queries for which this person is first; `recall` is the number in which an approximate search has the
first candidate of the exact one. Evenly distributed voices are the hardest case for an approximate index: real voices
have clusters.

FILE is created once (about ten minutes for a million) and used again; without it a temporary library is created. Every
row is the median of P passes, with the fastest and slowest beside it; opening is measured in new processes. The
system's file cache is warm.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.library import store
from diarize.library.database.records import Enrolment, Matrix
from diarize.library.scoring import calibration
from diarize.library.scoring.identification import OpenSet
from diarize.library.search import approximate
from diarize.library.search.exact import best, search

DIMENSION = 256
MODEL = "made"
CHUNK = 10_000  # voices a transaction
COLUMNS = (("ms", 10, 1), ("fastest", 10, 1), ("slowest", 10, 1), ("MiB", 8, 0), ("found", 8, 3), ("recall", 8, 3))
ALIKE = 0.75  # cosine of a query and its voice


def voice(number: int) -> NDArray[np.float32]:
    made = np.random.default_rng(number).standard_normal(DIMENSION).astype(np.float32)
    return np.asarray(made / np.linalg.norm(made), dtype=np.float32)


def query(number: int) -> NDArray[np.float32]:
    """Voice `number` on another day."""
    own, other = voice(number), voice(-number - 1 & 0xFFFFFFFF)
    other = other - (other @ own) * own
    return np.asarray(ALIKE * own + (1 - ALIKE**2) ** 0.5 * other / np.linalg.norm(other), dtype=np.float32)


def enrolment(number: int) -> Enrolment:
    return Enrolment(
        source=f"{number:064x}",
        seconds=10.0,
        quality={"snr": 20.0},
        vector=voice(number),
        model=MODEL,
        start=0.0,
        end=12.0,
    )


def fill(path: Path, voices: int) -> None:
    """Enrol what is missing up to `voices` people; person i has the id i, written with nine digits."""
    with store.open(path, create=True) as library:
        there = len(library.matrix(MODEL))
        for start in range(there, voices, CHUNK):
            with library.batch():
                for number in range(start, min(start + CHUNK, voices)):
                    library.enrol(f"speaker {number}", [enrolment(number)], person=f"{number:09d}", created=store.now())
            print(f"\r{min(start + CHUNK, voices)} of {voices} voices", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)


def timed(passes: int, what: Callable[[int], object]) -> dict[str, float]:
    """Median, fastest and slowest pass in ms."""
    spent = []
    for i in range(passes):
        start = time.perf_counter()
        what(i)
        spent.append(1e3 * (time.perf_counter() - start))
    return {"ms": float(np.median(spent)), "fastest": min(spent), "slowest": max(spent)}


OPEN = """
import re, sys, time
from pathlib import Path
from diarize.library import store
start = time.perf_counter()
with store.open(Path(sys.argv[1])) as library:
    matrix = library.matrix(sys.argv[2])
    spent = 1e3 * (time.perf_counter() - start)
print(spent, int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024)
"""


def opened(path: Path, passes: int) -> dict[str, float]:
    """Fresh processes that open the library and map its voices: ms and MiB."""
    found = []
    for _ in range(passes):
        command = [sys.executable, "-c", OPEN, str(path), MODEL]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found.append([float(number) for number in out.split()])
    times = [row[0] for row in found]
    return {
        "ms": float(np.median(times)),
        "fastest": min(times),
        "slowest": max(times),
        "MiB": max(row[1] for row in found),
    }


def four(queries: Sequence[NDArray[np.float32]], i: int) -> NDArray[np.float32]:
    """The speakers of a recording: query i and the next three."""
    return np.stack([queries[(i + k) % len(queries)] for k in range(4)])


def found(matrix: Matrix, find: Callable[[NDArray[np.float32]], str], numbers: Sequence[int]) -> float:
    """The share of queries whose own voice comes first."""
    return float(np.mean([find(query(number)) == f"{number:09d}" for number in numbers]))


def measure(path: Path, voices: int, passes: int) -> dict[str, Any]:
    fill(path, voices)
    rows: dict[str, dict[str, float]] = {}
    with store.open(path) as library:
        start = time.perf_counter()
        matrix = library.matrix(MODEL)
        rows["index files: made or mapped"] = {"ms": 1e3 * (time.perf_counter() - start)}
        count = len(matrix)
    rows["open, memory-mapped"] = opened(path, max(3, passes // 4))
    numbers = np.random.default_rng(1).integers(0, voices, passes).tolist()
    queries = [query(number) for number in numbers]
    with store.open(path) as library:
        matrix = library.matrix(MODEL)
        search(queries[0], matrix)  # the first pass brings the file into memory
        rows["identify one, exact"] = {
            **timed(passes, lambda i: search(queries[i], matrix)),
            "found": found(matrix, lambda q: search(q, matrix)[0].voice, numbers),
        }
        people = OpenSet(matrix, calibration.load(calibration.SHIPPED["ge2e"]))
        rows["identify four speakers, exact"] = timed(passes, lambda i: people(four(queries, i), [10.0] * 4, 8000.0))
        start = time.perf_counter()
        file = library.approximate_index(MODEL)
        rows["faiss index: made or checked"] = {"ms": 1e3 * (time.perf_counter() - start)}
        if file is None:
            print(f"no index: faiss is not installed, or fewer than {approximate.LARGE} voices", file=sys.stderr)
        else:
            index = approximate.load(file)

            def propose(query: NDArray[np.float32]) -> str:
                return best(query, matrix, index.propose(query[None])[0], 5)[0].voice

            exact = [search(q, matrix)[0].voice for q in queries]
            rows["identify one, faiss"] = {
                **timed(passes, lambda i: propose(queries[i])),
                "found": found(matrix, propose, numbers),
                "recall": float(np.mean([a == propose(q) for a, q in zip(exact, queries, strict=True)])),
            }
            fast = OpenSet(matrix, people.calibration, index=index)
            rows["identify four speakers, faiss"] = {
                **timed(passes, lambda i: fast(four(queries, i), [10.0] * 4, 8000.0)),
                "recall": float(np.mean([
                    a.candidates[0].voice == b.candidates[0].voice
                    for i in range(passes)
                    for a, b in zip(*(p(four(queries, i), [10.0] * 4, 8000.0) for p in (people, fast)), strict=True)
                ])),
            }  # fmt: skip
        made = [enrolment(10**9 + i + time.time_ns() % 10**9) for i in range(passes)]
        rows["add one"] = timed(passes, lambda i: library.enrol("another", [made[i]]))
        extra: list[str] = []

        def add_and_map(i: int) -> None:
            extra.append(library.enrol("one more", [enrolment(2 * 10**9 + time.time_ns() % 10**9)]).id)
            assert extra[-1] in library.matrix(MODEL).ids[-2 * passes :]

        add_and_map(0)  # the first takes in all that were added before
        rows["add one, and have it in the matrix"] = timed(5, add_and_map)
    rows["this process"] = {"MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    return {
        "voices": count,
        "dimension": DIMENSION,
        "passes": passes,
        "library_MiB": path.stat().st_size / 2**20,
        "index_MiB": sum(f.stat().st_size for f in path.with_name(path.name + ".index").glob("*")) / 2**20,
        "machine": {
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "threads": os.environ.get("OMP_NUM_THREADS"),
        },
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voices", type=int, default=1_000_000)
    parser.add_argument("--library", type=Path, help="the file to make or use; it grows by a few people with every run")
    parser.add_argument("--passes", type=int, default=20)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        result = measure(given.library or Path(scratch) / "speakers.db", given.voices, given.passes)
    print(f"{result['voices']} voices of {DIMENSION} numbers; library {result['library_MiB']:.0f} MiB, "
          f"index files {result['index_MiB']:.0f} MiB")  # fmt: skip
    print(" " * 38 + "".join(f"{key:>{width}}" for key, width, _ in COLUMNS))
    for name, row in result["rows"].items():
        cells = [
            format(row[key], f"{width}.{digits}f") if key in row else " " * width for key, width, digits in COLUMNS
        ]
        print(f"{name:38}" + "".join(cells))
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Time to write the files of a recording so that they survive a power failure: python -m benchmarks.commit FOLDER

Twelve files of 5 kB: file by file, as `diarize.files.write_all` does, and without flushing. Milliseconds, median and
maximum.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from diarize import files

NAMES = [f"{number}.txt" for number in range(12)]
CONTENT = b"x" * 5000
ROUNDS = 15


def together(folder: Path) -> None:
    files.write_all(folder, dict.fromkeys(NAMES, CONTENT), NAMES[-1])


def one_by_one(folder: Path) -> None:
    for name in NAMES:
        files.write(folder / name, CONTENT)


def unflushed(folder: Path) -> None:
    for name in NAMES:
        (folder / f"{name}.part").write_bytes(CONTENT)
        (folder / f"{name}.part").replace(folder / name)


def measure(place: Path) -> dict[str, dict[str, float]]:
    """Way -> median and maximum, ms; `place` is left as it was."""
    found = {}
    ways: tuple[Callable[[Path], None], ...] = (one_by_one, together, unflushed)
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        for way in ways:
            took = []
            for number in range(ROUNDS):
                folder = Path(scratch) / f"{way.__name__}-{number}"
                folder.mkdir()
                began = time.perf_counter()
                way(folder)
                took.append(1000 * (time.perf_counter() - began))
            found[way.__name__] = {"median_ms": round(statistics.median(took), 2), "most_ms": round(max(took), 2)}
    return found


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1])), indent=1))

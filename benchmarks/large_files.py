"""Files of more than 4 GB: is their audio at the right time, and what does decoding cost?

    python -m benchmarks.large_files [--folder FOLDER] [--json FILE]

RF64, Wave64 and a WAV whose 32-bit length wrapped, each 4.4 GB of 16-bit stereo at 48 kHz (6.4 hours), with tones of
1 kHz at known places. The files are sparse: they occupy a few megabytes. Decoding needs 1.5 GB in the folder for
temporary files (TMPDIR).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import struct
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from diarize.types import Audio
from pipelines.processes import decoding

RATE, FRAME = 48_000, 4  # Hz; bytes of two 16-bit samples
SECONDS = 23_000
PLACES = (10.0, 5_000.0, 11_184.8, 22_369.5, 22_990.0)  # s; two lie across 2 GiB and 4 GiB of samples
SIZE = SECONDS * RATE * FRAME
WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
LONG = 1.0  # s of each tone
FORMAT = struct.pack("<HHIIHH", 1, 2, RATE, RATE * FRAME, FRAME, 16)
W64 = bytes.fromhex("2e91cf11a5d628db04c10000"), bytes.fromhex("f3acd3118cd100c04f8edb8a")  # ends of Wave64's names


@dataclass(frozen=True, slots=True)
class Row:
    kind: str
    gigabytes: float
    hours: float
    seconds: float  # on the clock
    processor: float  # s, of this process and of the decoder
    peak: int  # MiB resident at most in the process that asks
    decoder: int  # MiB resident at most in the decoder
    error: float  # s, the worst of all edges of the tones
    notes: tuple[str, ...]


def rf64() -> bytes:
    """EBU Tech 3306."""
    sizes = struct.pack("<QQQI", SIZE + 72, SIZE, SECONDS * RATE, 0)
    return (
        b"RF64\xff\xff\xff\xffWAVEds64" + struct.pack("<I", len(sizes)) + sizes
        + b"fmt \x10\0\0\0" + FORMAT + b"data\xff\xff\xff\xff"
    )  # fmt: skip


def wave64() -> bytes:
    """Sony Pictures Digital, "Wave64 file format"; lengths include the 24 bytes of name and length."""
    riff, other = W64
    form = b"fmt " + other + struct.pack("<Q", 24 + len(FORMAT)) + FORMAT
    data = b"data" + other + struct.pack("<Q", 24 + SIZE)
    return b"riff" + riff + struct.pack("<Q", 40 + len(form) + len(data) + SIZE) + b"wave" + other + form + data


def wrapped() -> bytes:
    """RIFF keeps what is left of the length after 4 GiB."""
    kept = struct.pack("<I", SIZE % (1 << 32))
    return b"RIFF" + struct.pack("<I", (SIZE + 36) % (1 << 32)) + b"WAVEfmt \x10\0\0\0" + FORMAT + b"data" + kept


KINDS: dict[str, Callable[[], bytes]] = {"RF64": rf64, "Wave64": wave64, "WAV that wrapped": wrapped}


def make(path: Path, header: bytes) -> None:
    wave = np.sin(2 * np.pi * 1000 * np.arange(round(LONG * RATE)) / RATE)
    tone = np.repeat(np.round(16_000 * wave).astype("<i2"), 2).tobytes()
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + SIZE)
        for place in PLACES:
            file.seek(len(header) + round(place * RATE) * FRAME)
            file.write(tone)


def worst(heard: Audio) -> float:
    """s between where the edges of the tones are and where they should be; raises ValueError where there are others."""
    edges: list[tuple[float, float]] = []
    for first in range(0, len(heard.samples), 60 * heard.rate):
        loud = np.flatnonzero(np.abs(heard.samples[first : first + 60 * heard.rate]) > 0.1)
        if len(loud):
            edges.append((float(first + loud[0]) / heard.rate, float(first + loud[-1]) / heard.rate))
    if len(edges) != len(PLACES):
        raise ValueError(f"{len(edges)} tones were heard, not {len(PLACES)}")
    pairs = zip(edges, PLACES, strict=True)
    return max(max(abs(start - place), abs(end - place - LONG)) for (start, end), place in pairs)


def measure(kind: str, path: Path) -> Row:
    make(path, KINDS[kind]())
    clock, used = time.perf_counter(), _processor()
    heard = decoding.read(path, id="large")
    passed, worked = time.perf_counter() - clock, _processor() - used
    audio = heard.audios[0]
    peak, decoder = (resource.getrusage(who).ru_maxrss >> 10 for who in WHO)
    return Row(
        kind=kind,
        gigabytes=path.stat().st_size / 1e9,
        hours=audio.duration / 3600,
        seconds=passed,
        processor=worked,
        peak=peak,
        decoder=decoder,
        error=worst(audio),
        notes=heard.source.notes,
    )


def _processor() -> float:
    """Of this process and of its children that have ended, as the decoder of a long recording has."""
    return sum(resource.getrusage(who).ru_utime + resource.getrusage(who).ru_stime for who in WHO)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--folder", type=Path, help="where the files are made (default: the system's temporary one)")
    parser.add_argument("--json", type=Path, help="write the rows there")
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for kind in KINDS:
            path = Path(folder) / "large"
            # In a process of its own: a child's peak memory begins with what its parent had when it was begun.
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                rows.append(row := pool.submit(measure, kind, path).result())
            path.unlink()
            print(
                f"{row.kind:<18}{row.gigabytes:>5.1f} GB {row.hours:>5.2f} h, off by {1000 * row.error:.2f} ms;",
                end=" ",
            )
            print(
                f"{row.seconds:.1f} s, {row.processor:.1f} s of processor, {row.peak} and {row.decoder} MiB {row.notes}"
            )
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

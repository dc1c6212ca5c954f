"""The decoding child: the function that `decoding.Decoder` asks for, in a process that may do nothing else."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from io import FileIO
from pathlib import Path
from typing import IO, Any

from diarize import progress
from diarize.audio import reading
from diarize.audio.sample_buffer import ScratchFiles
from diarize.errors import AudioError, OutputError
from pipelines.processes import confined
from pipelines.processes.confined import Connection
from pipelines.processes.sandbox import Limits

SAMPLES, MAPPED, DONE = b"s", b"m", b"d"
PROGRESS = b"p"  # and the share that is decoded, as SHARE
SHARE = struct.Struct("<d")
EVERY = 0.5  # s between two messages about progress
# Why there is no sound: the recording is at fault, the disk that it is on, the disk of the scratch files; or the
# decoder is in a state in which it must not decode another recording.
REFUSED, UNREADABLE, NO_ROOM, BROKEN = b"a", b"u", b"o", b"b"

LIMITS = Limits(
    memory=2 << 30,  # bytes of address space
    file=round(2 * reading.LONGEST) * 16_000 * 4,  # bytes of a scratch file: the longest recording in stereo, 46 GB
    open_files=128,  # 65 scratch files, the recording, the connection
)


def serve(descriptor: int, scratch: Sequence[int]) -> None:
    """Decode recordings until the parent is gone; `scratch` are the descriptors of unnamed files."""
    confined.serve(descriptor, partial(decode, scratch=scratch), LIMITS, warm_up)


def decode(options: dict[str, Any], file: FileIO, parent: Connection, scratch: Sequence[int]) -> None:
    """Send the samples of one recording as they are ready, then its facts; or what is wrong with it."""
    try:
        _decode(options, file, parent, scratch)
    except ConnectionError:
        raise
    except AudioError as error:
        _send_problem(parent, REFUSED, error.problem, error.cure)
    except OutputError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EFBIG:
            problem = f"holds more sound than {LIMITS.file / 1e9:.0f} GB of scratch can"
            _send_problem(parent, REFUSED, problem, "Cut it into parts.")
        else:
            _send_problem(parent, NO_ROOM, error.problem, error.cure)
    except OSError as error:
        if error.errno == errno.EPERM:  # something that this process may not do, and no fault of the disk
            _send_problem(parent, BROKEN, f"breaks the decoder ({error})")
        else:
            _send_problem(parent, UNREADABLE, reading.describe_os_error(error), reading.suggest_cure(error))
    except MemoryError:
        _send_problem(parent, BROKEN, f"needs more than {LIMITS.memory >> 20} MiB of memory to be decoded")
    except Exception as error:  # whatever hostile bytes make PyAV raise
        _send_problem(parent, BROKEN, f"breaks the decoder ({type(error).__name__}: {error})")


def _decode(options: dict[str, Any], file: FileIO, parent: Connection, scratch: Sequence[int]) -> None:
    used: list[IO[bytes]] = []

    def empty_files() -> Iterator[IO[bytes]]:
        for descriptor in scratch:
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.ftruncate(descriptor, 0)  # an earlier recording may have needed it on the way
            used.append(open(descriptor, "w+b", buffering=io.DEFAULT_BUFFER_SIZE, closefd=False))  # noqa: SIM115
            yield used[-1]

    last = time.monotonic()

    def send_share(share: float) -> None:
        nonlocal last
        if time.monotonic() - last > EVERY:
            last = time.monotonic()
            parent.send(PROGRESS, SHARE.pack(share))

    with progress.watched(send_share):
        scratch_files = ScratchFiles(Path(options["folder"]), empty_files(), parent.send_alive)
        chosen = options["channel"], options["track"], scratch_files, options["rate"], options["longest"]
        buffers, facts = reading.decode(file, "", *chosen)
    for buffer in buffers:
        if buffer.on_disk:
            buffer.finish()
            where = {"file": used.index(buffer.file), "length": buffer.length}
            parent.send(MAPPED, json.dumps(where).encode())
        else:
            parent.send(SAMPLES, buffer.content())
    parent.send(DONE, json.dumps(asdict(facts)).encode())


def _send_problem(parent: Connection, kind: bytes, problem: str, cure: str = "") -> None:
    parent.send(kind, json.dumps([problem, cure]).encode())


def warm_up() -> None:
    """Decode sound and what is no sound, so that all that decoding needs is imported."""
    import numpy as np

    np.median([1.0])  # NumPy imports numpy.ma for it
    loud = np.random.default_rng(0).uniform(-2, 2, (4410, 2)).astype("<f4")
    form = struct.pack("<HHIIHH", 3, 2, 44_100, 352_800, 8, 32)  # float32, stereo
    header = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + form + b"data" + struct.pack("<I", loud.nbytes)
    for content in (header + loud.tobytes(), b"\xff\xfbno sound", b"\xff\xfet\0e\0x\0t\0"):
        with FileIO(os.memfd_create("warm"), "r+") as file:
            file.write(content)
            with contextlib.suppress(AudioError):
                for buffer in reading.decode(file, "", "auto", None, ScratchFiles(Path(), []))[0]:
                    buffer.content()

"""The other side of `decoding.Decoder`: a process that decodes what it is handed, and is allowed nothing else.

Messages both ways: a kind (one byte), a length (eight bytes), and so many bytes of JSON or samples. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import asdict
from io import FileIO
from pathlib import Path
from typing import IO, Any

from diarize.audio import reading
from diarize.audio.sample_buffer import ScratchFiles
from diarize.errors import AudioError, OutputError
from pipelines.processes import lifetime, sandbox
from pipelines.processes.interrupt import SIGNALS

HEAD = struct.Struct("<cQ")
READY, JOB, ALIVE, SAMPLES, MAPPED, DONE = b"!", b"j", b".", b"s", b"m", b"d"
REFUSED, UNREADABLE, NO_ROOM = (
    b"a",
    b"u",
    b"o",
)  # the fault is the recording's, that of the disk it is on, the scratch's
QUIET = 1.0  # s between signs of life

MEMORY = 2 << 30  # bytes of address space
LARGEST = round(2 * reading.LONGEST) * 16_000 * 4  # bytes of a scratch file: the longest recording in stereo, 46 GB
FILES = 128  # open at a time: 65 scratch files, the recording, the connection


def serve(descriptor: int, scratch: list[int]) -> None:
    """Decode recordings one after the other until the other end of the socket is closed.

    `scratch`: descriptors of unnamed files. The memory, the files and the system calls of this process are bounded from
    here on.
    """
    for number in SIGNALS:  # Ctrl-C reaches the whole group; the parent decides
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGXCPU})
    lifetime.die_with_parent()
    files: list[IO[bytes]] = [os.fdopen(file, "w+b") for file in scratch]
    talk = socket.socket(fileno=descriptor)
    _warm_up()
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # what is said from here on, nobody reads
    sandbox.bound(MEMORY, LARGEST, FILES)
    confined = sandbox.confine()
    with talk, contextlib.suppress(BrokenPipeError, ConnectionError):
        _send(talk, READY, json.dumps({"confined": confined}).encode())
        while job := _job(talk):
            settings, file = job
            with file:
                _do(talk, file, settings["channel"], Path(settings["folder"]), files)


def _do(talk: socket.socket, file: FileIO, channel: str, folder: Path, files: list[IO[bytes]]) -> None:
    """One recording: its samples are sent as they are ready, then what was found out about it, or what is wrong."""
    scratch = ScratchFiles(folder, files, _signs(talk))
    try:
        canvases, facts = reading.decode(file, "", channel, scratch)
        for canvas in canvases:
            if canvas.on_disk:
                canvas.finish()
                where = {"file": files.index(canvas.file), "length": canvas.length}
                _send(talk, MAPPED, json.dumps(where).encode())
            else:
                _send(talk, SAMPLES, canvas.content())
        _send(talk, DONE, json.dumps(asdict(facts)).encode())
    except (BrokenPipeError, ConnectionError):
        raise
    except AudioError as error:
        _refuse(talk, error.problem, error.cure)
    except OutputError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EFBIG:
            _refuse(talk, f"holds more sound than {LARGEST / 1e9:.0f} GB of scratch can", "Cut it into parts.")
        else:
            _send(talk, NO_ROOM, json.dumps([error.problem, error.cure]).encode())
    except OSError as error:
        if error.errno == errno.EPERM:  # something that this process may not do, and no fault of the disk
            _refuse(talk, f"breaks the decoder ({error})")
        else:
            _send(
                talk, UNREADABLE, json.dumps([reading.describe_os_error(error), reading.suggest_cure(error)]).encode()
            )
    except MemoryError:
        _refuse(talk, f"needs more than {MEMORY >> 20} MiB of memory to be decoded")
    except Exception as error:  # whatever hostile bytes make PyAV raise
        _refuse(talk, f"breaks the decoder ({type(error).__name__}: {error})")


def _refuse(talk: socket.socket, problem: str, cure: str = "") -> None:
    _send(talk, REFUSED, json.dumps([problem, cure]).encode())


def _signs(talk: socket.socket) -> Callable[[], None]:
    """What to call while the work goes on."""
    last = time.monotonic()

    def alive() -> None:
        nonlocal last
        if (now := time.monotonic()) - last > QUIET:
            last = now
            _send(talk, ALIVE, b"")

    return alive


def _send(talk: socket.socket, kind: bytes, content: bytes) -> None:
    talk.sendall(HEAD.pack(kind, len(content)))
    talk.sendall(content)


def _job(talk: socket.socket) -> tuple[dict[str, Any], FileIO] | None:
    """What to do next, and the open recording; None at the end."""
    head, descriptors, _, _ = socket.recv_fds(talk, HEAD.size, 1)
    if not descriptors:
        return None
    head += read(talk, HEAD.size - len(head))
    return json.loads(read(talk, HEAD.unpack(head)[1])), FileIO(descriptors[0])


def read(talk: socket.socket, size: int) -> bytearray:
    """`size` bytes. Raises EOFError where the other side is gone before that, TimeoutError where it says nothing."""
    content = bytearray(size)
    view = memoryview(content)
    while view:
        n = talk.recv_into(view)
        if n == 0:
            raise EOFError
        view = view[n:]
    return content


def _warm_up() -> None:
    """Have everything imported that decoding imports on its way: afterwards no file can be opened."""
    import numpy as np

    np.median([1.0])  # NumPy imports numpy.ma for it
    loud = np.random.default_rng(0).uniform(-2, 2, (4410, 2)).astype("<f4")
    form = struct.pack("<HHIIHH", 3, 2, 44_100, 352_800, 8, 32)  # float32, stereo
    header = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + form + b"data" + struct.pack("<I", loud.nbytes)
    for content in (header + loud.tobytes(), b"\xff\xfbno sound", b"\xff\xfet\0e\0x\0t\0"):
        with FileIO(os.memfd_create("warm"), "r+") as file:
            file.write(content)
            with contextlib.suppress(AudioError):
                for canvas in reading.decode(file, "", "auto", ScratchFiles(Path(), []))[0]:
                    canvas.content()

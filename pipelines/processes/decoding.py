"""Recordings are decoded in a confined process: a hostile file fails alone (docs/method/decoding.md).

The process is begun with the first recording and kept for the next ones. It gets each as an open file without a name,
and answers with plain bytes and numbers, which are checked. Where it cannot be had (not on Linux), decoding is done in
this process.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from io import FileIO
from pathlib import Path
from typing import IO, Any

import numpy as np

from diarize.audio import reading
from diarize.audio.reading import DecodingReport, Recording
from diarize.audio.sample_buffer import map_samples, scratch_error
from diarize.errors import AudioError, BackendError, OutputError
from diarize.types import Samples, Segment
from diarize.units import RATE
from pipelines.processes.decoder import (  # fmt: skip
    ALIVE,
    DONE,
    HEAD,
    JOB,
    MAPPED,
    NO_ROOM,
    READY,
    REFUSED,
    SAMPLES,
    UNREADABLE,
    read,
)
from pipelines.processes.lifetime import LINEAR_ALGEBRA

CPU = 60  # s of processor time that any file may take
CPU_PER_MB = 100  # s more for each MB of it; the slowest honest ones (hours of silence in Opus) take 25
SILENCE = 300.0  # s without a sign of life: a network share that is gone, an endless loop
STARTING = 120.0  # s until it has loaded the code: on a cold network disk that takes minutes
_MOST_SAID = 64 << 20  # bytes of a message that is not sound: a million lost spans
_LONGEST = round(reading.LONGEST * RATE) + RATE  # samples
_BEGIN = "import sys, json; a = json.loads(sys.argv[1]); sys.path[:] = a['path']; " + (
    "from pipelines.processes.decoder import serve; serve(a['socket'], a['scratch'])"
)


def available() -> bool:
    """Whether this system can hand open files and limits to another process as it is done here."""
    return sys.platform == "linux"


def recording(path: Path, *, id: str, name: str | None = None, channel: str = "auto") -> Recording:
    """`audio.read`, with the bytes decoded in this process's decoder.

    Raises AudioError and OutputError as that does, and BackendError where no decoder can be begun.
    """
    return reading.read(path, id=id, name=name, channel=channel, decode=decoder() if available() else None)


@functools.cache
def decoder() -> Decoder:
    """This process's own, ended with it."""
    own = Decoder()
    atexit.register(own.close)
    return own


class Decoder:
    """An `audio.Decode`: one recording at a time in a process that is begun when it is needed."""

    def __init__(self) -> None:
        self._child: _Child | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def __call__(
        self, file: FileIO, called: str, channel: str, scratch: Path
    ) -> tuple[tuple[Samples, ...], DecodingReport]:
        """Decode an open file. Raises AudioError, also where it breaks its decoder, OutputError and BackendError."""
        with self._lock:
            child = self._ready(scratch)
            try:
                child.prepare()
                return child.do(file, called, channel)
            except AudioError:
                raise
            except BaseException:  # also Ctrl-C, which leaves half an answer behind
                child.spent = True
                raise
            finally:
                if child.spent:  # it could still change what was handed over, or is not to be trusted
                    self._end()

    def _ready(self, scratch: Path) -> _Child:
        if self._child is not None and (self._child.scratch != scratch or self._child.process.poll() is not None):
            self._end()
        if self._child is None:
            self._child = _Child(scratch)
        return self._child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()


class _Child:
    """The process, seen from here."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.spent = False  # not to be used again
        self._awake = False
        self._files: list[IO[bytes]] = []
        self._trouble: OSError | None = None
        try:
            for _ in range(reading.MOST_CHANNELS + 1):  # the recording's channels, and each of them by itself
                self._files.append(tempfile.TemporaryFile(dir=scratch))  # noqa: SIM115 - closed in `end`
        except OSError as error:  # short recordings need none
            self._trouble = error
        self._talk, theirs = socket.socketpair()
        handles = [theirs.fileno(), *(file.fileno() for file in self._files)]
        given = {"path": sys.path, "socket": handles[0], "scratch": handles[1:]}
        environment = {**os.environ, **dict.fromkeys(LINEAR_ALGEBRA, "1")}
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _BEGIN, json.dumps(given)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                pass_fds=handles, env=environment,
            )  # fmt: skip
        except OSError as error:
            self._close()
            raise BackendError(f"the process that decodes cannot be begun: {error.strerror or error}") from error
        finally:
            theirs.close()

    def prepare(self) -> None:
        """Wait until it has loaded. Raises BackendError where it does not."""
        if self._awake:
            return
        self._talk.settimeout(STARTING)
        try:
            kind, content = self._hear()
            self.confined = kind == READY and bool(json.loads(content)["confined"])
        except (EOFError, OSError, ValueError, KeyError) as error:
            self.process.kill()
            said = self.process.communicate()[1].decode(errors="replace").strip().rpartition("\n")[2]
            raise BackendError(f"the process that decodes cannot be begun: {said or error}") from error
        self._awake = True

    def do(self, file: FileIO, called: str, channel: str) -> tuple[tuple[Samples, ...], DecodingReport]:
        size = os.fstat(file.fileno()).st_size
        seconds = self._allow(CPU + CPU_PER_MB * size // 1_000_000)
        settings = json.dumps({"channel": channel, "folder": str(self.scratch)}).encode()
        self._talk.settimeout(SILENCE)
        sounds: list[Samples] = []
        try:
            socket.send_fds(self._talk, [HEAD.pack(JOB, len(settings)), settings], [file.fileno()])
            while True:
                kind, content = self._hear()
                if kind == SAMPLES:
                    sounds.append(np.frombuffer(content, "<f4"))
                elif kind == MAPPED:
                    sounds.append(self._mapped(**json.loads(content)))
                elif kind == DONE:
                    facts = _facts(json.loads(content))
                    break
                elif kind in (REFUSED, UNREADABLE, NO_ROOM):
                    problem, cure = map(str, json.loads(content))
                    self._refused(kind, called, problem, cure)
                elif kind != ALIVE:
                    raise ValueError(f"a message of kind {kind!r}")
            if not sounds or any(len(sound) != len(sounds[0]) for sound in sounds):
                raise ValueError("channels of different lengths")
        except TimeoutError as error:
            self.spent = True
            problem = f"breaks the decoder: nothing was heard of it for {SILENCE:.0f} s"
            raise AudioError(called, problem, "A disk or a network share may be gone: try again.") from error
        except (EOFError, ConnectionError) as error:
            self.spent = True
            raise AudioError(called, self._death(seconds)) from error
        except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
            self.spent = True
            raise AudioError(called, f"breaks the decoder: its answer is none ({error})") from error
        return tuple(sounds), facts

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # what hangs in the system's own code cannot be killed
            self.process.wait(5)
        if self.process.stderr is not None:
            self.process.stderr.close()
        self._close()

    def _close(self) -> None:
        self._talk.close()
        for file in self._files:
            file.close()

    def _refused(self, kind: bytes, called: str, problem: str, cure: str) -> None:
        self.spent = self._used() or problem.startswith(("breaks the decoder", "needs more than"))
        if kind == NO_ROOM and self._trouble is not None:
            raise scratch_error(self.scratch, self._trouble)
        if kind == NO_ROOM:
            raise OutputError(str(self.scratch), problem, cure)
        raise AudioError(called, problem, cure) from (OSError(problem) if kind == UNREADABLE else None)

    def _mapped(self, file: int, length: int) -> Samples:
        """Samples in a scratch file. Raises ValueError where it does not hold them."""
        self.spent = True  # it could still cut the file off under our eyes
        if not 0 < length <= _LONGEST:
            raise ValueError(f"{length} samples")
        return map_samples(self._files[file].fileno(), length)

    def _used(self) -> bool:
        return bool(self._files and os.fstat(self._files[0].fileno()).st_size)

    def _hear(self) -> tuple[bytes, bytearray]:
        """The next message. Raises EOFError, OSError, TimeoutError, ValueError."""
        kind, size = HEAD.unpack(read(self._talk, HEAD.size))
        if size > (4 * _LONGEST if kind == SAMPLES else _MOST_SAID):
            raise ValueError(f"a message of {size} bytes")
        return kind, read(self._talk, size)

    def _allow(self, seconds: int) -> int:
        """Let it use so much more processor time."""
        import resource

        # The clock of another process: clock_getcpuclockid(3), whose arithmetic is in linux/posix-timers.h.
        used = time.clock_gettime((~self.process.pid << 3) | 2)
        limits = (round(used) + 1 + seconds, resource.getrlimit(resource.RLIMIT_CPU)[1])
        if limits[1] == resource.RLIM_INFINITY or limits[0] < limits[1]:
            resource.prlimit(self.process.pid, resource.RLIMIT_CPU, limits)
        return seconds

    def _death(self, seconds: int) -> str:
        """What its end says of the recording."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        code = self.process.poll()
        if code == -signal.SIGXCPU:
            return f"needs more than {seconds} s of processor time to be decoded"
        if code is None or code >= 0:
            return f"breaks the decoder: it ended with status {code}"
        cause = ", probably for want of memory" if -code == signal.SIGKILL else ""
        return f"breaks the decoder: killed by signal {-code} ({signal.Signals(-code).name}){cause}"


def _facts(said: dict[str, Any]) -> DecodingReport:
    """Facts out of JSON. Raises ValueError, TypeError, KeyError for anything else."""
    declared = said["declared"]
    return DecodingReport(
        container=str(said["container"]),
        codec=str(said["codec"]),
        stream=int(said["stream"]),
        streams=int(said["streams"]),
        rate=int(said["rate"]),
        channels=int(said["channels"]),
        channel=str(said["channel"]),
        declared=None if declared is None else float(declared),
        decoded=float(said["decoded"]),
        notes=tuple(str(note) for note in said["notes"]),
        lost=tuple(Segment(float(span["start"]), float(span["end"])) for span in said["lost"]),
    )

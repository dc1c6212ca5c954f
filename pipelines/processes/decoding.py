"""Recordings are decoded in a confined process: a hostile file fails alone (docs/method/decoding.md).

Where no process can be confined (not on Linux), they are decoded in this process.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import sys
import tempfile
import threading
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import IO, Any

import numpy as np

from diarize import progress
from diarize.audio import reading
from diarize.audio.reading import DecodingReport, Recording
from diarize.audio.sample_buffer import map_samples, scratch_error
from diarize.errors import AudioError, BackendError, DiarizeError, OutputError
from diarize.types import Samples, Segment
from diarize.units import RATE
from pipelines.processes.confined import ChildFailed, ConfinedProcess, CpuLimitReached
from pipelines.processes.decoder import (
    BROKEN,
    DONE,
    MAPPED,
    NO_ROOM,
    PROGRESS,
    REFUSED,
    SAMPLES,
    SHARE,
    UNREADABLE,
)

CPU = 60  # s of processor time that any file may take
CPU_PER_MB = 100  # s more for each MB of it; the slowest honest ones (hours of silence in Opus) take 25
_CHILD = "pipelines.processes.decoder"
_LONGEST = reading.LONGEST + 1  # s


def available() -> bool:
    """Whether this system can hand open files and limits to another process as it is done here."""
    return sys.platform == "linux"


def read(
    path: Path, *, id: str, name: str | None = None, channel: str = "auto", track: int | None = None, rate: int = RATE
) -> Recording:
    """`diarize.audio.reading.read`, with the bytes decoded by this process's decoder.

    Raises AudioError and OutputError as that does, and BackendError where the decoder cannot start.
    """
    own = functools.partial(decoder(), rate=rate) if available() else None
    return reading.read(path, id=id, name=name, channel=channel, track=track, decode=own, rate=rate)


def start() -> None:
    """Start this process's decoder, which loads its code while this process does something else."""
    if available():
        with suppress(OSError):  # without a folder for temporary files: `read` says so
            decoder().start(Path(tempfile.gettempdir()))


@functools.cache
def decoder() -> Decoder:
    """This process's decoder, which ends with it."""
    own = Decoder()
    atexit.register(own.close)
    return own


class Decoder:
    """A `reading.Decode`: one recording at a time, in a confined process that starts with the first one.

    `cpu`: s of processor time that any file may take, None by its size; `longest`: s of sound that one may hold.
    `restarts`: after a recording that ends the process, the next process starts at once, not with the next recording.
    """

    def __init__(self, cpu: int | None = None, longest: float = reading.LONGEST, restarts: bool = False) -> None:
        self._cpu, self._longest, self._restarts = cpu, longest, restarts
        self._process: ConfinedProcess | None = None
        self._scratch = Path()
        self._files: list[IO[bytes]] = []  # unnamed files in `_scratch`, for long recordings
        self._no_files: OSError | None = None  # why there are not enough of them; short recordings need none
        self._lock = threading.Lock()

    def start(self, scratch: Path) -> None:
        """Start the process, if it does not run. Why it cannot start is said when a recording needs it."""
        with self._lock, suppress(ChildFailed):
            if self._process is None:
                self._start(scratch)

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def stop(self) -> None:
        """End the process from another thread, also in the middle of a recording: who waits gets an AudioError."""
        process = self._process
        if process is not None:
            process.process.kill()

    def __call__(
        self, file: FileIO, called: str, channel: str, track: int | None, scratch: Path, rate: int = RATE
    ) -> tuple[tuple[Samples, ...], DecodingReport]:
        """Decode an open file. Raises AudioError, also where it breaks its decoder, OutputError and BackendError."""
        seconds = self._cpu or CPU + CPU_PER_MB * os.fstat(file.fileno()).st_size // 1_000_000
        with self._lock:
            reusable = False  # also after Ctrl-C, which leaves half an answer in the socket
            try:
                options: dict[str, Any] = {"channel": channel, "track": track, "folder": str(scratch), "rate": rate}
                options["longest"] = self._longest
                messages = self._ready(scratch).ask(options, file, seconds)
                sounds: list[Samples] = []
                on_disk = False
                kind, content = next(messages)
                while kind in (SAMPLES, MAPPED, PROGRESS):
                    if kind == PROGRESS:
                        progress.report(_share(content), 1.0)
                    elif kind == MAPPED:
                        on_disk = True
                        sounds.append(self._mapped(rate=rate, **json.loads(content)))
                    else:
                        sounds.append(np.frombuffer(content, "<f4"))
                    kind, content = next(messages)
                if kind != DONE:
                    error = self._error(kind, called, *map(str, json.loads(content)))
                    reusable = kind != BROKEN
                    raise error
                if len({len(sound) for sound in sounds}) != 1:
                    raise ValueError("no channels, or channels of different lengths")
                report = _report(json.loads(content))
                if len(report.lines) != len(sounds):
                    raise ValueError(f"{len(report.lines)} names of {len(sounds)} channels")
                reusable = not on_disk  # else it could still shorten the file that is mapped here
                return tuple(sounds), report
            except CpuLimitReached as error:
                problem = f"needs more than {seconds} s of processor time to be decoded"
                raise AudioError(called, problem) from error
            except ChildFailed as error:
                raise AudioError(called, f"breaks the decoder: {error}") from error
            except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
                raise AudioError(called, f"breaks the decoder: its answer is not valid ({error})") from error
            finally:
                if not reusable:
                    self._end()
                    if self._restarts:
                        with suppress(ChildFailed):  # the next recording tries again, and says why it cannot start
                            self._start(scratch)

    def _ready(self, scratch: Path) -> ConfinedProcess:
        """The running process, or a new one. Raises BackendError where none can start."""
        if self._process is not None and (self._scratch != scratch or self._process.process.poll() is not None):
            self._end()
        try:
            process = self._process or self._start(scratch)
            process.wait_until_ready()
        except ChildFailed as error:
            raise BackendError(f"the process that decodes cannot start: {error}") from error
        return process

    def _start(self, scratch: Path) -> ConfinedProcess:
        """Start a process, which loads its code while this one continues. Raises ChildFailed."""
        self._open_files(scratch)
        self._process = ConfinedProcess(_CHILD, self._files)
        return self._process

    def _open_files(self, scratch: Path) -> None:
        self._scratch, self._no_files = scratch, None
        try:
            for _ in range(reading.MOST_CHANNELS + 1):  # the recording's channels, and each of them by itself
                self._files.append(tempfile.TemporaryFile(dir=scratch))  # noqa: SIM115 - closed in `_end`
        except OSError as error:
            self._no_files = error

    def _end(self) -> None:
        if self._process is not None:
            self._process.end()
        for file in self._files:
            file.close()
        self._process, self._files = None, []

    def _mapped(self, file: int, length: int, rate: int) -> Samples:
        """Samples in a scratch file. Raises ValueError where it does not hold them."""
        if not 0 < length <= _LONGEST * rate:
            raise ValueError(f"{length} samples")
        return map_samples(self._files[file].fileno(), length)

    def _error(self, kind: bytes, called: str, problem: str, cure: str) -> DiarizeError:
        """What is wrong with a recording. Raises ValueError where that is no answer of the decoder."""
        if kind == NO_ROOM and self._no_files is not None:
            return scratch_error(self._scratch, self._no_files)
        if kind == NO_ROOM:
            return OutputError(str(self._scratch), problem, cure)
        if kind not in (REFUSED, UNREADABLE, BROKEN):
            raise ValueError(f"a message of kind {kind!r}")
        error = AudioError(called, problem, cure)
        error.__cause__ = OSError(problem) if kind == UNREADABLE else None
        return error


def _share(content: bytes | bytearray) -> float:
    """The share in a message of progress. Raises ValueError for anything else."""
    if len(content) != SHARE.size or not 0 <= (share := float(SHARE.unpack(content)[0])) <= 1:
        raise ValueError("no share")
    return share


def _report(fields: dict[str, Any]) -> DecodingReport:
    """A report out of JSON. Raises ValueError, TypeError, KeyError for anything else."""
    declared = fields["declared"]
    return DecodingReport(
        container=str(fields["container"]),
        codec=str(fields["codec"]),
        stream=int(fields["stream"]),
        streams=int(fields["streams"]),
        rate=int(fields["rate"]),
        channels=int(fields["channels"]),
        channel=str(fields["channel"]),
        declared=None if declared is None else float(declared),
        decoded=float(fields["decoded"]),
        notes=tuple(map(str, fields["notes"])),
        lost=tuple(Segment(float(span["start"]), float(span["end"])) for span in fields["lost"]),
        lines=tuple(map(str, fields["lines"])),
    )

"""Samples of a recording, in memory or on disk: written at their position, memory-mapped when they are read.

Up to ten minutes stay in memory. Longer recordings go to a temporary file without a name: the system removes it when
the last process that uses it ends, also after a crash. Writing goes through the file and never through the mapping, so
that a full disk raises an error instead of a signal that kills the process.
"""

from __future__ import annotations

import errno
import io
import mmap
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from diarize.errors import OutputError
from diarize.types import Samples
from diarize.units import RATE

IN_MEMORY = 600 * RATE  # samples of all channels together (10 min of one); float32, 38 MB
_BLOCK = 30 * RATE  # samples mixed at a time
_WIDTH = 4  # bytes of a float32


class ScratchFiles:
    """Unnamed files for long recordings, in `folder`; if `opened` is set, only those files.

    `alive` is called after each write: a sign of progress.
    """

    def __init__(
        self, folder: Path, opened: Iterable[IO[bytes]] | None = None, alive: Callable[[], None] = lambda: None
    ) -> None:
        self.folder, self.alive = folder, alive
        self._opened = None if opened is None else iter(opened)

    def next_file(self) -> IO[bytes]:
        """An empty file. Raises OSError if the disk cannot give one, or all are in use."""
        if self._opened is None:
            return tempfile.TemporaryFile(dir=self.folder)
        file = next(self._opened, None)
        if file is None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return file


class SampleBuffer:
    """(length, channels) float32, silent where nothing was written; long ones are stored in a file of `scratch`."""

    def __init__(self, channels: int, scratch: ScratchFiles) -> None:
        self.channels, self.scratch = channels, scratch
        self.length = 0  # samples
        self.file: IO[bytes] = io.BytesIO()
        self.on_disk = False

    def __del__(self) -> None:
        self.file.close()  # mappings of it stay valid

    def write(self, at: int, block: NDArray[np.float32]) -> None:
        """Write (n, channels) samples at sample `at`. Raises OutputError if the scratch folder is full.

        Silence after the end takes no disk space: an input of some hundred bytes can declare hours of it.
        """
        self.scratch.alive()
        new = at >= self.length
        self.extend(at + len(block))
        if new and not block.any():
            return
        try:
            self.file.seek(at * self.channels * _WIDTH)
            self.file.write(np.ascontiguousarray(block, dtype="<f4").tobytes())
        except OSError as error:
            raise scratch_error(self.scratch.folder, error) from error

    def extend(self, length: int) -> None:
        """Make it at least `length` samples long. New samples are silent and take no disk space until written."""
        if length <= self.length:
            return
        self.length = length
        if not self.on_disk and length * self.channels > IN_MEMORY:
            try:
                file = self.scratch.next_file()
                file.write(self.file.getvalue())  # type: ignore[attr-defined]
            except OSError as error:
                raise scratch_error(self.scratch.folder, error) from error
            self.file, self.on_disk = file, True

    def blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """(first sample, (n, channels)) from start to end."""
        row = self.channels * _WIDTH
        for at in range(0, self.length, _BLOCK):
            n = min(_BLOCK, self.length - at)
            self.file.seek(at * row)
            data = self.file.read(n * row).ljust(n * row, b"\0")  # silence after the last write
            yield at, np.frombuffer(data, "<f4").reshape(n, self.channels)

    def mix(self, weights: NDArray[np.float32], gain: float) -> SampleBuffer:
        """A buffer of one channel: the weighted sum of the channels, times `gain`, clipped to [-1, 1]."""
        mixed = SampleBuffer(1, self.scratch)
        for at, block in self.blocks():
            mixed.write(at, np.clip(block @ (weights * np.float32(gain)), -1, 1)[:, np.newaxis])
        return mixed

    def samples(self) -> Samples:
        """The samples (length,) of a buffer of one channel, read-only; memory-mapped if they are on disk."""
        if not self.on_disk:
            return np.frombuffer(self.content(), "<f4")
        self.finish()
        try:
            return map_samples(self.file.fileno(), self.length)
        except OSError as error:
            raise scratch_error(self.scratch.folder, error) from error

    def content(self) -> bytes:
        """The bytes of a buffer that is not on disk."""
        size = self.length * self.channels * _WIDTH
        return self.file.getvalue().ljust(size, b"\0")  # type: ignore[attr-defined,no-any-return]

    def finish(self) -> None:
        """Write everything to the file of a buffer on disk. Raises OutputError if the disk is full."""
        try:
            self.file.truncate(self.length * self.channels * _WIDTH)
            self.file.flush()
        except OSError as error:
            raise scratch_error(self.scratch.folder, error) from error


def scratch_error(folder: Path, error: OSError) -> OutputError:
    """The error to raise if scratch files cannot be created or written."""
    return OutputError(
        str(folder),
        f"has no room for the samples of a long recording ({error.strerror or error})",
        "Name a folder on a larger disk in TMPDIR.",
    )


def map_samples(descriptor: int, length: int) -> Samples:
    """The samples (length,) in an open file, read-only. Raises OSError, or ValueError if it is shorter."""
    return np.frombuffer(mmap.mmap(descriptor, length * _WIDTH, access=mmap.ACCESS_READ), "<f4")

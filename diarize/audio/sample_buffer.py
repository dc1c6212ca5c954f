"""Samples of a long recording on disk: written where they belong, mapped into memory when they are read.

Up to ten minutes stay in memory. Longer recordings go to a temporary file that has no name any more: it vanishes with
the last one who uses it, also after a crash. Writing goes through the file and never through the mapping, so that a
full disk is an error that can be told and not a signal that kills.
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
    """Unnamed files for long recordings, in `folder`; or only those that were opened there `before`.

    `alive` is called whenever sound has been written: a sign that the work goes on.
    """

    def __init__(
        self, folder: Path, before: Iterable[IO[bytes]] | None = None, alive: Callable[[], None] = lambda: None
    ) -> None:
        self.folder, self.alive = folder, alive
        self._before = None if before is None else iter(before)

    def file(self) -> IO[bytes]:
        """The next one. Raises OSError where the disk does not give it, or there are no more."""
        if self._before is None:
            return tempfile.TemporaryFile(dir=self.folder)
        file = next(self._before, None)
        if file is None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return file


class SampleBuffer:
    """(length, channels) float32, silent where nothing was written; long ones are kept in a file of `scratch`."""

    def __init__(self, channels: int, scratch: ScratchFiles) -> None:
        self.channels, self.scratch = channels, scratch
        self.length = 0  # samples
        self.file: IO[bytes] = io.BytesIO()
        self.on_disk = False

    def __del__(self) -> None:
        self.file.close()  # what is mapped stays

    def write(self, at: int, block: NDArray[np.float32]) -> None:
        """Put (n, channels) samples at sample `at`. Raises OutputError where the scratch folder is full.

        Silence behind the end costs no disk: a file of some hundred bytes can hold hours of it.
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
            raise self._trouble(error) from error

    def extend(self, length: int) -> None:
        """Make it at least `length` samples long; what is new is silent, and costs no disk until it is written."""
        if length <= self.length:
            return
        self.length = length
        if not self.on_disk and length * self.channels > IN_MEMORY:
            try:
                file = self.scratch.file()
                file.write(self.file.getvalue())  # type: ignore[attr-defined]
            except OSError as error:
                raise self._trouble(error) from error
            self.file, self.on_disk = file, True

    def blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """(first sample, (n, channels)) from start to end."""
        row = self.channels * _WIDTH
        for at in range(0, self.length, _BLOCK):
            n = min(_BLOCK, self.length - at)
            self.file.seek(at * row)
            data = self.file.read(n * row).ljust(n * row, b"\0")  # past the last write it is silent
            yield at, np.frombuffer(data, "<f4").reshape(n, self.channels)

    def mix(self, weights: NDArray[np.float32], gain: float) -> SampleBuffer:
        """The weighted sum of the channels, times `gain`, held to [-1, 1], on a canvas of one channel."""
        mixed = SampleBuffer(1, self.scratch)
        for at, block in self.blocks():
            mixed.write(at, np.clip(block @ (weights * np.float32(gain)), -1, 1)[:, np.newaxis])
        return mixed

    def samples(self) -> Samples:
        """The samples (length,) of a canvas of one channel, read-only; memory-mapped where they are on disk."""
        if not self.on_disk:
            return np.frombuffer(self.content(), "<f4")
        self.finish()
        try:
            return map_samples(self.file.fileno(), self.length)
        except OSError as error:
            raise self._trouble(error) from error

    def content(self) -> bytes:
        """The bytes of a canvas that is not on disk."""
        size = self.length * self.channels * _WIDTH
        return self.file.getvalue().ljust(size, b"\0")  # type: ignore[attr-defined,no-any-return]

    def finish(self) -> None:
        """Everything is in the file of a canvas on disk. Raises OutputError where it is full."""
        try:
            self.file.truncate(self.length * self.channels * _WIDTH)
            self.file.flush()
        except OSError as error:
            raise self._trouble(error) from error

    def _trouble(self, error: OSError) -> OutputError:
        return scratch_error(self.scratch.folder, error)


def scratch_error(folder: Path, error: OSError) -> OutputError:
    """The error to raise where scratch files cannot be made or filled."""
    return OutputError(
        str(folder),
        f"has no room for the samples of a long recording ({error.strerror or error})",
        "Name a folder on a larger disk in TMPDIR.",
    )


def map_samples(descriptor: int, length: int) -> Samples:
    """The samples (length,) in an open file, read-only. Raises OSError, or ValueError where it is shorter."""
    return np.frombuffer(mmap.mmap(descriptor, length * _WIDTH, access=mmap.ACCESS_READ), "<f4")

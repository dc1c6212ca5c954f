"""Samples of a long recording on disk: written where they belong, mapped into memory when they are read.

Up to ten minutes stay in memory. Longer recordings go to a temporary file that has no name any more: it vanishes with
the last one who uses it, also after a crash. Writing goes through the file and never through the mapping, so that a
full disk is an error that can be told and not a signal that kills.
"""

from __future__ import annotations

import io
import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from diarize.errors import OutputError
from diarize.types import Samples
from diarize.units import RATE

IN_MEMORY = 600 * RATE  # samples (10 min); float32, 38 MB a channel
_BLOCK = 30 * RATE  # samples mixed at a time
_WIDTH = 4  # bytes of a float32


class Canvas:
    """(length, channels) float32, silent where nothing was written. `scratch` is the folder for long recordings."""

    def __init__(self, channels: int, scratch: Path) -> None:
        self.channels, self.scratch = channels, scratch
        self.length = 0  # samples
        self._file: IO[bytes] = io.BytesIO()
        self._on_disk = False

    def __del__(self) -> None:
        self._file.close()  # what is mapped stays

    def write(self, at: int, block: NDArray[np.float32]) -> None:
        """Put (n, channels) samples at sample `at`. Raises OutputError where the scratch folder is full.

        Silence behind the end costs no disk: a file of some hundred bytes can hold hours of it.
        """
        new = at >= self.length
        self.extend(at + len(block))
        if new and not block.any():
            return
        try:
            self._file.seek(at * self.channels * _WIDTH)
            self._file.write(np.ascontiguousarray(block, dtype="<f4").tobytes())
        except OSError as error:
            raise self._trouble(error) from error

    def extend(self, length: int) -> None:
        """Make it at least `length` samples long; what is new is silent, and costs no disk until it is written."""
        if length <= self.length:
            return
        self.length = length
        if not self._on_disk and length > IN_MEMORY:
            try:
                file = tempfile.TemporaryFile(dir=self.scratch)  # noqa: SIM115 - it lives as long as the samples
                file.write(self._file.getvalue())  # type: ignore[attr-defined]
            except OSError as error:
                raise self._trouble(error) from error
            self._file, self._on_disk = file, True

    def blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """(first sample, (n, channels)) from start to end."""
        row = self.channels * _WIDTH
        for at in range(0, self.length, _BLOCK):
            n = min(_BLOCK, self.length - at)
            self._file.seek(at * row)
            data = self._file.read(n * row).ljust(n * row, b"\0")  # past the last write it is silent
            yield at, np.frombuffer(data, "<f4").reshape(n, self.channels)

    def mix(self, weights: NDArray[np.float32], gain: float) -> Samples:
        """The weighted sum of the channels, times `gain`, as samples (length,) held to [-1, 1]."""
        mixed = Canvas(1, self.scratch)
        for at, block in self.blocks():
            mixed.write(at, np.clip(block @ (weights * np.float32(gain)), -1, 1)[:, np.newaxis])
        return mixed.samples()

    def samples(self) -> Samples:
        """The samples (length,) of a canvas of one channel, read-only; memory-mapped where they are on disk."""
        size = self.length * self.channels * _WIDTH
        if not self._on_disk:
            return np.frombuffer(self._file.getvalue().ljust(size, b"\0"), "<f4")  # type: ignore[attr-defined]
        try:
            self._file.truncate(size)
            self._file.flush()
            return np.frombuffer(mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_READ), "<f4")
        except OSError as error:
            raise self._trouble(error) from error

    def _trouble(self, error: OSError) -> OutputError:
        return OutputError(
            str(self.scratch),
            f"has no room for the samples of a long recording ({error.strerror or error})",
            "Name a folder on a larger disk in TMPDIR.",
        )

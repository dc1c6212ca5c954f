"""A regular file is opened, and its bytes are what the decoder sees of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from diarize.errors import AudioError

_STRIDE = 1 << 20  # bytes read at a time while something is looked for


class FileBytes:
    """One open file for the decoder: without a name and without access to other files. Keeps the first disk error.

    The decoder calls `read` and `seek` from C, where an exception would be printed and dropped. So they report the end
    of the file, or an impossible position, and `check` raises the error afterwards.
    """

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self.failure: OSError | None = None
        self.end: int | None = None  # where the file ends for the decoder, if earlier than on the disk
        self.patches: tuple[tuple[int, bytes], ...] = ()  # (place, bytes) that the decoder sees instead

    def read(self, size: int) -> bytes:
        here = self.tell()
        try:
            content = self._file.read(size if self.end is None else max(0, min(size, self.end - here)))
        except OSError as error:
            self.failure = self.failure or error
            return b""
        for at, new in self.patches:
            first, last = max(at, here), min(at + len(new), here + len(content))
            if first < last:
                content = content[: first - here] + new[first - at : last - at] + content[last - here :]
        return content

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            if whence == os.SEEK_END and self.end is not None:
                offset, whence = self.end + offset, os.SEEK_SET
            return self._file.seek(offset, whence)
        except (OSError, OverflowError, ValueError):  # damaged headers ask for places before the start of the file
            return -1

    def tell(self) -> int:
        return self._file.tell()

    def check(self) -> None:
        """Raises the first error of the disk, which decoders report as something else."""
        if self.failure is not None:
            raise self.failure

    def peek(self, at: int, size: int) -> bytes:
        """Up to `size` bytes at `at`; the reading position stays."""
        here = self.tell()
        self.seek(at)
        try:
            return self.read(size)
        finally:
            self.seek(here)

    def find(self, needle: bytes, start: int) -> int | None:
        """Where `needle` first stands at or after `start`; the reading position stays."""
        here, at, carry = self.tell(), start, b""
        self.seek(start)
        try:
            while block := self.read(_STRIDE):
                window = carry + block
                if (place := window.find(needle)) >= 0:
                    return at - len(carry) + place
                at += len(block)
                carry = window[-len(needle) + 1 :]  # the needle may lie across two blocks
            return None
        finally:
            self.seek(here)


def check_memory(error: Exception) -> None:
    """Raises MemoryError if this process has no memory left. FFmpeg uses that name for absurd lengths as well."""
    import av

    if isinstance(error, MemoryError) and not isinstance(error, av.FFmpegError):
        raise error


@contextmanager
def open_regular(path: Path) -> Iterator[FileIO]:
    """A regular file, open for reading; anything that could block or never end is refused before it is opened."""
    try:
        mode = path.stat().st_mode
    except ValueError as error:  # a null byte in the name
        raise AudioError(str(path), "is not a possible file name") from error
    if not stat.S_ISREG(mode):
        raise AudioError(str(path), f"is {_kind(mode)}, not a file")
    # The file may be swapped for a FIFO in this moment: do not wait for its writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    with FileIO(os.open(path, flags)) as file:
        if not stat.S_ISREG(mode := os.fstat(file.fileno()).st_mode):
            raise AudioError(str(path), f"is {_kind(mode)}, not a file")
        yield file


def _kind(mode: int) -> str:
    return {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }.get(stat.S_IFMT(mode), "something special")

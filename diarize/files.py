"""Files that are either whole or not there: written beside their place, flushed to the disk, then renamed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from diarize.errors import OutputError

_BLOCK = 1 << 20  # bytes read at a time when hashing


def write(path: Path, content: str | bytes) -> None:
    """Put `content` (text as UTF-8) under `path`, replacing what was there in one step.

    A crash at any moment leaves the old file or the new one. Raises OutputError where the folder cannot be written.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with replacing(path) as file:
        _fill(file, data)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to fill piece by piece; it takes the place of `path` when the block ends. If that raises, nothing changes.

    Raises OutputError where the folder cannot be written, also for an OSError of the block.
    """
    if not path.name:  # "." and "/"
        raise OutputError(str(path), "is a folder, not a file", "Name a file in it.")
    temporary = path.with_name(f".{path.name[:100]}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise OutputError(str(path), f"cannot be written: {error.strerror or error}", _cure(error)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _fill(file: BinaryIO, data: bytes) -> None:
    file.write(data)


def sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes. Raises OSError where it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Make a rename survive a power failure (POSIX: fsync of the folder); moot where folders cannot be opened."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _cure(error: OSError) -> str:

    return {
        errno.ENOSPC: "The disk is full: free some room and run the same command again.",
        errno.EDQUOT: "The quota is used up: free some room and run the same command again.",
        errno.EROFS: "The file system is read-only: choose another output folder.",
        errno.EACCES: "You may not write there: choose another output folder, or change its rights.",
    }.get(error.errno or 0, "Choose another output folder.")

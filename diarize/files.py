"""Files that are either whole or not there: written beside their place, flushed to the disk, then renamed."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from io import BufferedReader, FileIO
from pathlib import Path
from typing import BinaryIO

from diarize.errors import FormatError, OutputError

_SIDE_BY_SIDE = 4  # flushes at a time; of twelve small files, 4 take no longer than 12, with less switching
_NAME = 100  # bytes of a file's own name that its temporary one shows; names have 255 at most
_PART = re.compile(r"\..*\.[0-9]+-[0-9a-f]{8}\.part", re.DOTALL)
_REAL = {errno.EIO, errno.ENOSPC, errno.EDQUOT}  # of a folder's flush; other errors say that folders have none here


def write(path: Path, content: str | bytes) -> None:
    """Put `content` (text as UTF-8) under `path`, replacing what was there in one step.

    A crash at any moment leaves the old file or the new one. Raises OutputError where the folder cannot be written.
    """
    with replacing(path) as file:
        _fill(file, _bytes(content))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to fill piece by piece; it takes the place of `path` when the block ends. If that raises, nothing changes.

    Raises OutputError where the folder cannot be written, also for an OSError of the block.
    """
    if not path.name:  # "." and "/"
        raise OutputError(str(path), "is a folder, not a file", "Name a file in it.")
    temporary = _beside(path)
    with _told(path):
        try:
            with _create(temporary) as file:
                yield file
                _flush(file)
            _rename(temporary, path)
            sync_folder(path.parent)
        finally:
            _discard(temporary)


def write_all(folder: Path, contents: Mapping[str, str | bytes], last: str, obsolete: Iterable[str] = ()) -> None:
    """Put several files into `folder`, which is made if need be, of which `last` says that all are there.

    All are on the disk under temporary names before anything changes, so that a full disk leaves what was there. Then
    a former `last` is taken away, the others take their places and the `obsolete` ones go, and `last` follows; the
    folder is flushed before and after it. A crash or a loss of power at any moment leaves the old files, or no `last`,
    or the new files; never `last` beside a file that is not of its set. Raises OutputError.
    """
    grown = {folder.parent, *_made(folder)}  # one that is there already may have been made by a process that died
    sweep(folder)
    made = {name: _bytes(content) for name, content in contents.items()}
    parts = {name: _beside(folder / name) for name in made}
    try:
        with contextlib.ExitStack() as held:
            opened = {}
            for name, data in made.items():
                with _told(folder / name):
                    opened[name] = _create(parts[name])
                    held.callback(_close, opened[name])
                    _fill(opened[name], data)
            # Side by side, as the file system then commits them together.
            flushed = {folder / name: _flushers(os.getpid()).submit(_flush, file) for name, file in opened.items()}
            flushed |= {each: _flushers(os.getpid()).submit(sync_folder, each) for each in grown}
            wait(flushed.values())
            for path, done in flushed.items():
                with _told(path):
                    done.result()
        with _told(folder / last):
            if os.path.lexists(folder / last):
                _remove(folder / last)
                sync_folder(folder)
        for name in made:
            if name != last:
                with _told(folder / name):
                    _rename(parts[name], folder / name)
        for name in obsolete:
            if os.path.lexists(folder / name):
                with _told(folder / name):
                    _remove(folder / name)
        with _told(folder / last):
            sync_folder(folder)
            _rename(parts[last], folder / last)
            sync_folder(folder)
    finally:
        for part in parts.values():
            _discard(part)


def make_folder(folder: Path) -> None:
    """Make a folder, with its parents, that survives a loss of power. Raises OutputError."""
    grown = _made(folder)
    with _told(folder, "made"):
        for each in grown:
            sync_folder(each)


def sweep(folder: Path, named: str = "") -> None:
    """Take away the temporary files that a process left there when it was killed, of names with `named` in them.

    Nobody else may be writing those there.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if named in entry.name and _PART.fullmatch(entry.name):
                _discard(folder / entry.name)


def read(path: Path) -> bytes:
    """All bytes of a file that a user named. Raises FormatError where it cannot be read, or is a device or a pipe."""
    try:
        return regular(path).read_bytes()
    except OSError as error:
        raise FormatError(str(path), f"cannot be read: {error.strerror or error}") from error


def read_text(path: Path) -> str:
    """The text of a UTF-8 file that a user named, without a byte order mark. Raises FormatError."""
    return text_of(read(path), str(path))


def text_of(data: bytes, where: str) -> str:
    """UTF-8 bytes as text, without a byte order mark. Raises FormatError, which names `where` and the byte."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(where, f"not UTF-8 text: {error.reason} at byte {error.start}") from error


def regular(path: Path) -> Path:
    """`path`, where it is no device or pipe: either may have no end, or never begin.

    Raises OSError, whose `strerror` says what to do, and where nothing is there.
    """
    if not stat.S_ISREG(mode := path.stat().st_mode) and not stat.S_ISDIR(mode):  # reading that says so itself
        raise OSError(errno.EINVAL, "no regular file; save what it gives in one, and name that", str(path))
    return path


def sha256(source: Path | FileIO | BufferedReader) -> str:
    """Hex sha256 of a file's bytes; of an open file, from its position on. Raises OSError if it cannot be read."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            return sha256(file)
    return hashlib.file_digest(source, "sha256").hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """Relative name, with /, -> sha256 of every file below a folder. Raises OSError where one cannot be read."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256(path) for path in found}


def sync_folder(folder: Path) -> None:
    """Make renames in it survive a loss of power (POSIX: fsync of the folder); moot where folders cannot be opened.

    Raises OSError where the disk is at fault.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno in _REAL:
            raise


def _made(folder: Path) -> list[Path]:
    """Make a folder with its parents; the folders that have a new entry now, to be flushed. Raises OutputError."""
    with _told(folder, "made"):
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        for each in reversed(missing):
            _make(each)
        folder.mkdir(exist_ok=True)  # it is no file either
    return [each.parent for each in missing]


@functools.cache
def _flushers(process: int) -> ThreadPoolExecutor:
    """Threads that flush, of this process: they do not survive a fork. To begin new ones each time takes longer than
    an idle disk needs."""
    return ThreadPoolExecutor(_SIDE_BY_SIDE, "flush")


# The few things that are done to a disk, so that tests can let each of them fail, or forget what was not flushed.


def _create(path: Path) -> BinaryIO:
    return path.open("xb")


def _fill(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _close(file: BinaryIO) -> None:
    """What was flushed has nothing left to say; what could not be written would fail once more."""
    with contextlib.suppress(OSError):
        file.close()


def _rename(old: Path, new: Path) -> None:
    old.replace(new)


def _remove(path: Path) -> None:
    path.unlink()


def _make(folder: Path) -> None:
    folder.mkdir(exist_ok=True)


def _discard(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    shown = os.fsencode(path.name)[:_NAME].decode("utf-8", "ignore")
    return path.with_name(f".{shown}.{os.getpid()}-{secrets.token_hex(4)}.part")


def _bytes(content: str | bytes) -> bytes:
    return content.encode("utf-8") if isinstance(content, str) else content


@contextlib.contextmanager
def _told(path: Path, what: str = "written") -> Iterator[None]:
    """An OSError of the block as an OutputError that names `path` and a cure."""
    try:
        yield
    except OSError as error:
        raise OutputError(str(path), f"cannot be {what}: {error.strerror or error}", cure(error)) from error


def cure(error: OSError) -> str:
    """What to do where something could not be written."""
    return {
        errno.ENOSPC: "The disk is full: free some room and run the same command again.",
        errno.EDQUOT: "The quota is used up: free some room and run the same command again.",
        errno.EROFS: "The file system is read-only: choose another output folder.",
        errno.EACCES: "You may not write there: choose another output folder, or change its rights.",
        errno.EIO: "The disk failed: check it, or choose another output folder, and run the same command again.",
    }.get(error.errno or 0, "Choose another output folder.")

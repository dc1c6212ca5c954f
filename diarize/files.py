"""Files that are either complete or absent: written under a temporary name, flushed to the disk, then renamed."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import re
import secrets
import stat
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from io import BytesIO, FileIO
from pathlib import Path
from typing import BinaryIO

from diarize.errors import FormatError, OutputError

_FLUSHES = 4  # at a time; for twelve small files, 4 threads are as fast as 12
_NAME = 100  # bytes of a file's name in its temporary name; a name has 255 at most
_PART = re.compile(r"\..*\.[0-9]+-[0-9a-f]{8}\.part", re.DOTALL)
# Errors of flushing a folder that are faults of the disk; others mean that this file system cannot flush folders.
_DISK_FAULTS = {errno.EIO, errno.ENOSPC, errno.EDQUOT}


def write(path: Path, content: str | bytes) -> None:
    """Write `content` (text as UTF-8) to `path`, replacing the file in one step.

    A crash at any moment leaves the old file or the new one. Raises OutputError if the folder cannot be written.
    """
    with replacing(path) as file:
        _fill(file, _bytes(content))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write; it replaces `path` when the block ends. If the block raises, nothing changes.

    Raises OutputError if the folder cannot be written, also for an OSError of the block.
    """
    if not path.name:  # "." and "/"
        raise OutputError(str(path), "is a folder, not a file", "Name a file in it.")
    temporary = _temporary(path)
    with _as_output_error(path):
        try:
            with _create(temporary) as file:
                yield file
                _flush(file)
            _rename(temporary, path)
            sync_folder(path.parent)
        finally:
            _discard(temporary)


def write_all(folder: Path, contents: Mapping[str, str | bytes], last: str, obsolete: Iterable[str] = ()) -> None:
    """Write several files to `folder`, which is created if necessary; the file `last` marks the set as complete.

    All are on the disk under temporary names before anything changes, so that a full disk leaves the old files. Then
    a former `last` is removed, the others are renamed, the `obsolete` ones are removed, and `last` is renamed; the
    folder is flushed before and after it. A crash or a loss of power at any moment leaves the old files, or no `last`,
    or the new files; never `last` beside a file of another set. Raises OutputError.
    """
    # The parent is flushed even if the folder exists: a process that died may have created it.
    changed_folders = {folder.parent, *_make_with_parents(folder)}
    sweep(folder)
    data = {name: _bytes(content) for name, content in contents.items()}
    parts = {name: _temporary(folder / name) for name in data}
    try:
        with contextlib.ExitStack() as open_files:
            opened = {}
            for name, content in data.items():
                with _as_output_error(folder / name):
                    opened[name] = _create(parts[name])
                    open_files.callback(_close, opened[name])
                    _fill(opened[name], content)
            # Flushed at the same time, as the file system then commits them together.
            threads = _flushers(os.getpid())
            flushes = {folder / name: threads.submit(_flush, file) for name, file in opened.items()}
            flushes |= {each: threads.submit(sync_folder, each) for each in changed_folders}
            wait(flushes.values())
            for path, flush in flushes.items():
                with _as_output_error(path):
                    flush.result()
        with _as_output_error(folder / last):
            if os.path.lexists(folder / last):
                _remove(folder / last)
                sync_folder(folder)
        for name in data:
            if name != last:
                with _as_output_error(folder / name):
                    _rename(parts[name], folder / name)
        for name in obsolete:
            if os.path.lexists(folder / name):
                with _as_output_error(folder / name):
                    _remove(folder / name)
        with _as_output_error(folder / last):
            sync_folder(folder)
            _rename(parts[last], folder / last)
            sync_folder(folder)
    finally:
        for part in parts.values():
            _discard(part)


def make_folder(folder: Path) -> None:
    """Create a folder, with its parents, that survives a loss of power. Raises OutputError."""
    changed_folders = _make_with_parents(folder)
    with _as_output_error(folder, "created"):
        for each in changed_folders:
            sync_folder(each)


def sweep(folder: Path, named: str = "") -> None:
    """Remove the temporary files, with `named` in their names, that a killed process left in `folder`.

    No other process may be writing such files there.
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
    """`path`, if it is not a device or pipe: these may have no end, or block.

    Raises OSError for these, and if there is no such file.
    """
    if not stat.S_ISREG(mode := path.stat().st_mode) and not stat.S_ISDIR(mode):  # reading a folder raises by itself
        raise OSError(errno.EINVAL, "not a regular file; save its content in a file, and name that file", str(path))
    return path


def sha256(source: Path | FileIO) -> str:
    """Hex sha256 of a file's bytes; of an open file, from its position on. Raises OSError if it cannot be read."""
    with source.open("rb") if isinstance(source, Path) else contextlib.nullcontext(source) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """Relative name, with /, -> sha256 of every file below a folder. Raises OSError if one cannot be read."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256(path) for path in paths}


def zip_member(name: str) -> zipfile.ZipInfo:
    """A member of a ZIP archive with a fixed time (1980-01-01, the earliest of ZIP): same content, same bytes."""
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))


def reproducible_zip(data: bytes) -> bytes:
    """An Office document's ZIP archive, rewritten: same parts, same bytes.

    The parts are in order, the types first (ECMA-376-2, 10.2.3), compressed, readable by their owner, of a fixed time.
    """
    buffer = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in sorted(old.namelist(), key=lambda name: (name != "[Content_Types].xml", name)):
            member = zip_member(name)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o600 << 16
            new.writestr(member, old.read(name))
    return buffer.getvalue()


def sync_folder(folder: Path) -> None:
    """Make renames in it survive a loss of power (POSIX: fsync of the folder); no effect if folders cannot be opened.

    Raises OSError for a fault of the disk.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno in _DISK_FAULTS:
            raise


def _make_with_parents(folder: Path) -> list[Path]:
    """Create a folder with its parents; returns the folders with a new entry, to be flushed. Raises OutputError."""
    with _as_output_error(folder, "created"):
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        for each in reversed(missing):
            _make(each)
        folder.mkdir(exist_ok=True)  # raises if it is a file
    return [each.parent for each in missing]


@functools.cache
def _flushers(process: int) -> ThreadPoolExecutor:
    """Threads that flush, of this process: they do not survive a fork. Starting new ones takes longer than a flush."""
    return ThreadPoolExecutor(_FLUSHES, "flush")


# All operations that change the disk. Tests replace them to make each fail, or to drop what was not flushed.


def _create(path: Path) -> BinaryIO:
    return path.open("xb")


def _fill(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _close(file: BinaryIO) -> None:
    """After a flush there is nothing left to write; after a failed write, closing would fail again."""
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


def _temporary(path: Path) -> Path:
    shown = os.fsencode(path.name)[:_NAME].decode("utf-8", "ignore")
    return path.with_name(f".{shown}.{os.getpid()}-{secrets.token_hex(4)}.part")


def _bytes(content: str | bytes) -> bytes:
    return content.encode("utf-8") if isinstance(content, str) else content


@contextlib.contextmanager
def _as_output_error(path: Path, action: str = "written") -> Iterator[None]:
    """An OSError of the block as an OutputError that names `path` and a cure."""
    try:
        yield
    except OSError as error:
        raise OutputError(str(path), f"cannot be {action}: {error.strerror or error}", suggest_cure(error)) from error


def suggest_cure(error: OSError) -> str:
    """What the user can do if a file could not be written."""
    return {
        errno.ENOSPC: "The disk is full: free some space and run the same command again.",
        errno.EDQUOT: "The quota is used up: free some space and run the same command again.",
        errno.EROFS: "The file system is read-only: choose another output folder.",
        errno.EACCES: "You may not write there: choose another output folder, or change its rights.",
        errno.EIO: "The disk failed: check it, or choose another output folder, and run the same command again.",
    }.get(error.errno or 0, "Choose another output folder.")

"""Results of stages by content: bytes under a key, read only if their digest matches (docs/method/cache.md).

    CACHE/ab/cdef...   one entry: magic, schema, the key, sha256 and length of the payload, then the payload
    CACHE/written      its size counts the data written since the last pruning, in blocks of 4 kB

An entry that does not match its head is removed, and is a miss. A fault of the disk is a miss, too: the cache may make
a run slower, but never fail. Entries are written under a temporary name and renamed, so that any number of processes
and machines may use one folder. Nothing is flushed to the disk: an entry damaged by a power failure is a miss.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import stat
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

SCHEMA = 1  # of the entries' heads; increase it when they change
_HEAD = struct.Struct("<16sI32s32sQ")  # magic, schema, sha256 of the key, sha256 of the payload, its length
_MAGIC = b"diarize cache\r\n\0"
_WRITTEN = "written"
_SHARD, _NAME = re.compile("[0-9a-f]{2}"), re.compile("[0-9a-f]{62}")  # names of entries: nothing else is ever removed
_PART = re.compile(r"\.[0-9]+-[0-9a-f]{16}\.part")
_BLOCK = 4096  # bytes of a small file on most disks
# 1/16 of the size limit may be written between two prunings: listing 100,000 entries takes a second.
_SHARE = 16
_FRESH = 60.0  # s; an entry read again within this time is not marked as used again
_ABANDONED = 86_400.0  # s after which a temporary file is left from a process that ended
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True, slots=True)
class CacheUsage:
    """The content of a cache."""

    entries: int
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class _CacheEntry:
    used: float  # s since the epoch
    path: str
    size: int  # bytes


class Cache:
    """A folder of entries that together take at most `most_bytes`. The first `put` creates it.

    `problem` describes the first fault of the disk, "" if there was none; after a fault nothing more is written.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder, self.most_bytes = folder, most_bytes
        self.problem = ""

    def get(self, key: str) -> bytes | None:
        """The data stored under `key`; None if there are none, or they are damaged."""
        path, digest = self._locate(key)
        try:
            handle = os.open(path, _READ)  # does not block on a pipe and does not follow a link
            with os.fdopen(handle, "rb") as file:
                status = os.fstat(file.fileno())
                data = file.read() if stat.S_ISREG(status.st_mode) else b""
        except FileNotFoundError:
            return None
        except OSError as error:
            self._note_problem(error)
            return None
        payload = _payload(data, digest)
        with contextlib.suppress(OSError):  # in a read-only cache, nothing is marked as used
            if payload is None:
                path.unlink()
            elif time.time() - status.st_mtime > _FRESH:
                os.utime(path)
        return payload

    def put(self, key: str, data: bytes) -> None:
        """Store `data` under `key`, in one step. Never raises OSError."""
        if self.problem or len(data) > self.most_bytes // _SHARE:  # it would displace too many other entries
            return
        path, digest = self._locate(key)
        temporary = path.with_name(f".{os.getpid()}-{secrets.token_hex(8)}.part")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_HEAD.pack(_MAGIC, SCHEMA, digest, hashlib.sha256(data).digest(), len(data)))
                    file.write(data)
                temporary.replace(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    temporary.unlink()
                raise
            if self._count(_HEAD.size + len(data)) > self.most_bytes // _SHARE:
                self.prune(self.most_bytes - self.most_bytes // _SHARE)
        except OSError as error:
            self._note_problem(error)

    def probe(self) -> str:
        """Why nothing can be stored here; "" if it can. Does not create the folder."""
        if not self._exists():
            return self.problem
        key = f"probe of {os.getpid()}"
        self.put(key, b"")
        with contextlib.suppress(OSError):
            self._locate(key)[0].unlink()
        return self.problem

    def _exists(self) -> bool:
        """Whether the folder exists; if not, sets `problem` if it could not be created."""
        try:
            if self.folder.is_dir():
                return True
            parent = next(path for path in (self.folder, *self.folder.parents) if os.path.lexists(path))
            is_writable = os.access(parent, os.W_OK | os.X_OK)
            number = errno.ENOTDIR if not parent.is_dir() else 0 if is_writable else errno.EACCES
            if number:
                raise OSError(number, os.strerror(number))
        except OSError as error:
            self._note_problem(error)
        return False

    def prune(self, most_bytes: int) -> CacheUsage:
        """Remove the entries not used for the longest time until at most `most_bytes` are left; returns what is left.

        Several processes may do it at once. Raises OSError if the folder cannot be read or changed.
        """
        with contextlib.suppress(FileNotFoundError):
            os.truncate(self.folder / _WRITTEN, 0)
        entries = sorted(self._entries(), key=lambda entry: (entry.used, entry.path))
        count, size = len(entries), sum(entry.size for entry in entries)
        for entry in entries:
            if size <= most_bytes:
                break
            with contextlib.suppress(FileNotFoundError):
                Path(entry.path).unlink()
            count, size = count - 1, size - entry.size
        return CacheUsage(count, size)

    def clear(self) -> None:
        """Remove all entries. Raises OSError if that is not allowed."""
        self.prune(-1)
        for shard in self._shards():
            with contextlib.suppress(OSError):  # another process is writing to it
                Path(shard).rmdir()

    def status(self) -> CacheUsage:
        """Number and size of the entries. Raises OSError if the folder cannot be read."""
        entries = list(self._entries())
        return CacheUsage(len(entries), sum(entry.size for entry in entries))

    def _locate(self, key: str) -> tuple[Path, bytes]:
        digest = hashlib.sha256(key.encode())
        name = digest.hexdigest()
        return self.folder / name[:2] / name[2:], digest.digest()

    def _shards(self) -> list[str]:
        try:
            with os.scandir(self.folder) as items:
                return sorted(
                    item.path for item in items if _SHARD.fullmatch(item.name) and item.is_dir(follow_symlinks=False)
                )
        except FileNotFoundError:
            return []

    def _entries(self) -> Iterator[_CacheEntry]:
        """All entries. Also removes temporary files older than a day."""
        for shard in self._shards():
            with contextlib.suppress(FileNotFoundError), os.scandir(shard) as items:
                for item in items:
                    with contextlib.suppress(FileNotFoundError):
                        status = item.stat(follow_symlinks=False)
                        if _PART.fullmatch(item.name):
                            if time.time() - status.st_mtime > _ABANDONED:
                                Path(item.path).unlink()
                        elif _NAME.fullmatch(item.name):
                            yield _CacheEntry(status.st_mtime, item.path, status.st_size)

    def _count(self, size: int) -> int:
        """Add `size` bytes; returns the bytes written since the last pruning, by all processes."""
        handle = os.open(self.folder / _WRITTEN, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, b"." * (-(-size // _BLOCK)))
            return os.fstat(handle).st_size * _BLOCK
        finally:
            os.close(handle)

    def _note_problem(self, error: OSError) -> None:
        self.problem = self.problem or f"{self.folder}: {error.strerror or error}"


def cache_folder(setting: str) -> Path | None:
    """The folder of the setting `run.cache`: auto, none (None), or a folder.

    auto is the value of DIARIZE_RUN_CACHE, also if the settings do not come from the environment; else the platform's
    cache folder. None without a home folder.
    """
    if setting == "auto":
        setting = os.environ.get("DIARIZE_RUN_CACHE") or setting
    if setting == "none":
        return None
    try:
        if setting == "auto":
            return Path(platformdirs.user_cache_dir("diarize-pipeline")).expanduser() / "stages"
        return Path(setting).expanduser().absolute()
    except (OSError, RuntimeError):  # no home folder, or a working folder that was deleted
        return None


def _payload(data: bytes, key: bytes) -> bytes | None:
    """The payload of an entry's bytes; None if they do not match their head, or the key with this sha256."""
    if len(data) < _HEAD.size:
        return None
    magic, schema, stored_key, digest, length = _HEAD.unpack_from(data)
    payload = data[_HEAD.size :]
    if (magic, schema, stored_key, length) != (_MAGIC, SCHEMA, key, len(payload)):
        return None
    return payload if hashlib.sha256(payload).digest() == digest else None

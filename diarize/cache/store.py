"""Results of stages by content: bytes under a key, read only if their digest matches (docs/method/cache.md).

    CACHE/ab/cdef...   one entry: magic, schema, the key, sha256 and length of the payload, then the payload
    CACHE/written      its size counts what was written since the cache was last pruned, in blocks of 4 kB

An entry that is not what its head says is dropped, and is a miss. So is every fault of the disk: a cache may make a run
slower, and never make it fail. Entries are written beside their place and renamed, so that any number of processes and
machines may use one folder. Nothing is flushed to the disk: what a power failure damages is a miss afterwards.
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

SCHEMA = 1  # of the entries' heads; raise it when they change
_HEAD = struct.Struct("<16sI32s32sQ")  # magic, schema, sha256 of the key, sha256 of the payload, its length
_MAGIC = b"diarize cache\r\n\0"
_WRITTEN = "written"
_SHARD, _NAME = re.compile("[0-9a-f]{2}"), re.compile("[0-9a-f]{62}")  # an entry's place: nothing else is ever dropped
_PART = re.compile(r"\.[0-9]+-[0-9a-f]{16}\.part")
_BLOCK = 4096  # bytes; what a small file takes on most disks
_SHARE = (
    16  # a sixteenth of the bound may be written between two prunings: a walk through 100,000 entries takes a second
)
_FRESH = 60.0  # s; an entry read again within it is not marked as used once more
_ABANDONED = 86_400.0  # s after which a file that was never renamed belongs to nobody
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True, slots=True)
class CacheUsage:
    """What a cache holds."""

    entries: int
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class _CacheEntry:
    used: float  # s since the epoch
    path: str
    size: int  # bytes


class Cache:
    """A folder of entries that together take at most `most_bytes`. Making one touches nothing.

    `problem` says the first fault that the disk made, "" while there was none; after a fault nothing more is written.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder, self.most_bytes = folder, most_bytes
        self.problem = ""

    def get(self, key: str) -> bytes | None:
        """What was put under `key`; None where there is nothing, or something else than what was put there."""
        path, digest = self._place(key)
        try:
            handle = os.open(path, _READ)  # a pipe in its place is not waited for, a link not followed
            with os.fdopen(handle, "rb") as file:
                status = os.fstat(file.fileno())
                data = file.read() if stat.S_ISREG(status.st_mode) else b""
        except FileNotFoundError:
            return None
        except OSError as error:
            self._trouble(error)
            return None
        payload = _payload(data, digest)
        with contextlib.suppress(OSError):  # whoever may only read the cache marks nothing as used
            if payload is None:
                path.unlink()
            elif time.time() - status.st_mtime > _FRESH:
                os.utime(path)
        return payload

    def put(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`, in one step. Never raises OSError."""
        if self.problem or len(data) > self.most_bytes // _SHARE:  # it would push out too much else
            return
        path, digest = self._place(key)
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
            self._trouble(error)

    def probe(self) -> str:
        """Why nothing can be kept here; "" where something can. A folder that is not there yet is not made."""
        if not self._is_there():
            return self.problem
        key = f"probe of {os.getpid()}"
        self.put(key, b"")
        with contextlib.suppress(OSError):
            self._place(key)[0].unlink()
        return self.problem

    def _is_there(self) -> bool:
        """Whether there is a folder; where there is none, `problem` says whether it could be made."""
        try:
            if self.folder.is_dir():
                return True
            there = next(path for path in (self.folder, *self.folder.parents) if os.path.lexists(path))
            wrong = errno.ENOTDIR if not there.is_dir() else 0 if os.access(there, os.W_OK | os.X_OK) else errno.EACCES
            if wrong:
                raise OSError(wrong, os.strerror(wrong))
        except OSError as error:
            self._trouble(error)
        return False

    def prune(self, most_bytes: int) -> CacheUsage:
        """Drop what was used longest ago until at most `most_bytes` are left; what is left.

        Several processes may do it at once. Raises OSError where the folder cannot be read or changed.
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
        """Drop everything. Raises OSError where that may not be done."""
        self.prune(-1)
        for shard in self._shards():
            with contextlib.suppress(OSError):  # somebody writes there
                Path(shard).rmdir()

    def status(self) -> CacheUsage:
        """How many entries there are, and what they take. Raises OSError where the folder cannot be read."""
        entries = list(self._entries())
        return CacheUsage(len(entries), sum(entry.size for entry in entries))

    def _place(self, key: str) -> tuple[Path, bytes]:
        digest = hashlib.sha256(key.encode())
        name = digest.hexdigest()
        return self.folder / name[:2] / name[2:], digest.digest()

    def _shards(self) -> list[str]:
        try:
            with os.scandir(self.folder) as found:
                return sorted(
                    item.path for item in found if _SHARD.fullmatch(item.name) and item.is_dir(follow_symlinks=False)
                )
        except FileNotFoundError:
            return []

    def _entries(self) -> Iterator[_CacheEntry]:
        """All entries. Files that were begun a day ago and never finished are removed on the way."""
        for shard in self._shards():
            with contextlib.suppress(FileNotFoundError), os.scandir(shard) as found:
                for item in found:
                    with contextlib.suppress(FileNotFoundError):
                        status = item.stat(follow_symlinks=False)
                        if _PART.fullmatch(item.name):
                            if time.time() - status.st_mtime > _ABANDONED:
                                Path(item.path).unlink()
                        elif _NAME.fullmatch(item.name):
                            yield _CacheEntry(status.st_mtime, item.path, status.st_size)

    def _count(self, size: int) -> int:
        """Bytes written since the last pruning by whoever writes here, with these `size`."""
        handle = os.open(self.folder / _WRITTEN, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, b"." * (-(-size // _BLOCK)))
            return os.fstat(handle).st_size * _BLOCK
        finally:
            os.close(handle)

    def _trouble(self, error: OSError) -> None:
        self.problem = self.problem or f"{self.folder}: {error.strerror or error}"


def cache_folder(wanted: str) -> Path | None:
    """The folder that the setting `run.cache` means: auto, none (None), or a folder.

    auto is what DIARIZE_RUN_CACHE says, also where the settings were not read from the environment; else the
    platform's cache folder. Without a home folder it is none.
    """
    if wanted == "auto":
        wanted = os.environ.get("DIARIZE_RUN_CACHE") or wanted
    if wanted == "none":
        return None
    try:
        if wanted == "auto":
            return Path(platformdirs.user_cache_dir("diarize-pipeline")).expanduser() / "stages"
        return Path(wanted).expanduser().absolute()
    except (OSError, RuntimeError):  # no home folder, or a working folder that was deleted
        return None


def _payload(data: bytes, key: bytes) -> bytes | None:
    """What an entry's bytes hold, or None where they are not what was written under the key with this sha256."""
    if len(data) < _HEAD.size:
        return None
    magic, schema, of, digest, length = _HEAD.unpack_from(data)
    payload = data[_HEAD.size :]
    if (magic, schema, of, length) != (_MAGIC, SCHEMA, key, len(payload)):
        return None
    return payload if hashlib.sha256(payload).digest() == digest else None

"""The folder of a review server in the temporary directory, for transcoded sound; and those that killed servers left.

A server holds a lock on its folder (flock) as long as it lives; the system releases it when the process ends, however
it ends. So a folder whose lock is free belongs to nobody. Some network file systems have no locks: folders have none
there, and those of killed servers stay. The temporary directory is shared: a name there may be anybody's file, pipe or
link.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

_PREFIX = "diarize-review-"
_NAME = re.compile(_PREFIX + r"\d+-[a-z0-9_]{8}")  # with the number of the process
_TRIES = 10
# What flock gives on file systems without locks; EBADF on those that lock only what is open to be written (flock(2)).
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EBADF)


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A new folder, which only this user can read; it is removed at the end. Raises OSError."""
    path, descriptor = _create()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def sweep() -> None:
    """Remove the folders of this user's servers that were killed. What cannot be removed stays."""
    if not shutil.rmtree.avoids_symlink_attacks or not hasattr(os, "O_NOFOLLOW"):  # Windows
        return
    with contextlib.suppress(OSError):
        parent = os.open(tempfile.gettempdir(), os.O_RDONLY | os.O_DIRECTORY)
        try:
            with os.scandir(parent) as entries:
                names = [entry.name for entry in entries if _NAME.fullmatch(entry.name)]
            for name in names:
                _remove_if_left(name, parent)
        finally:
            os.close(parent)


def _create() -> tuple[Path, int | None]:
    """A locked folder; None where there are no locks. A sweep may remove it between its creation and its lock: then
    another one is made.
    """
    for _ in range(_TRIES):
        path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        if find_spec("fcntl") is None:  # Windows: nothing is swept there
            return path, None
        try:
            descriptor = _open_and_lock(str(path))
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return path, None
            shutil.rmtree(path, ignore_errors=True)
            if not isinstance(error, FileNotFoundError):
                raise
            continue
        if descriptor is not None and path.exists():
            return path, descriptor
        shutil.rmtree(path, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)
    raise OSError("no folder could be made in the temporary directory")


def _remove_if_left(name: str, parent: int) -> None:
    with contextlib.suppress(OSError):  # removed meanwhile, or not ours
        descriptor = _open_and_lock(name, parent)
        if descriptor is None:
            return
        try:
            state = os.fstat(descriptor)
            # Another user could have put a folder of this name there; mkdtemp makes ours readable for us alone.
            if state.st_uid == os.geteuid() and stat.S_IMODE(state.st_mode) == 0o700:
                shutil.rmtree(name, ignore_errors=True, dir_fd=parent)
        finally:
            os.close(descriptor)


def _open_and_lock(name: str, parent: int | None = None) -> int | None:
    """The open folder, locked; None where another process has its lock. Raises OSError.

    Links are not followed, and anything but a folder is refused without being opened.
    """
    import fcntl

    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor

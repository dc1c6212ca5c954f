"""Walks over folders that a user named, and the choice among their files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePath


def walk(root: Path, without: Path | None = None) -> Iterator[tuple[Path, list[os.DirEntry[str]] | OSError]]:
    """(folder, its entries that are not folders, by name) of `root` and the folders below it, in order of their names.

    An OSError stands for the entries of a folder that cannot be listed. Hidden files and folders are left out. Links to
    folders are not followed: they are among the entries. The folder `without` is left out, with all in it.
    """
    left_out = None if without is None else os.path.realpath(without)
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: path_bytes(entry.name))
        except OSError as error:
            yield folder, error
            continue
        others: list[os.DirEntry[str]] = []
        below: list[Path] = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                if left_out is not None and os.path.realpath(entry.path) == left_out:
                    continue
                below.append(folder / entry.name)
            else:
                others.append(entry)
        yield folder, others
        folders += reversed(below)


def is_selected(name: str, match: Sequence[str], ignore: Sequence[str]) -> bool:
    """Whether a relative path is one to read: shell patterns are compared with the path, and with its last part."""

    def fits(patterns: Sequence[str]) -> bool:
        return any(fnmatchcase(part, pattern) for pattern in patterns for part in (name, PurePath(name).name))

    return not fits(ignore) and (not match or fits(match))


def is_folder(path: Path) -> bool:
    """True for a folder that may be looked at, False for everything else."""
    try:
        return path.is_dir()
    except OSError:
        return False


def path_bytes(name: str) -> bytes:
    """A file name as the bytes that it stands for, also one that is not valid Unicode."""
    try:
        return os.fsencode(name)
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogatepass")

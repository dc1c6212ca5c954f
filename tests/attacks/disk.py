"""A disk that fails when it is told to, and one that forgets what was not flushed, in place of the real one.

Only what happens below `root` counts; all else is left alone.
"""

from __future__ import annotations

import errno
import io
import os
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from diarize import files


class Failing(io.FileIO):
    """A new file whose writes may fail."""

    def __init__(self, path: Path, step: Callable[[str, Path], None]) -> None:
        super().__init__(path, "x")
        self._path, self._step = path, step

    def write(self, data: Any) -> int:
        self._step("write", self._path)
        return super().write(data)


@dataclass
class Disk:
    """Counts operations; from the `n`-th on (or only that one) they fail with `code`."""

    root: Path
    n: int = 0  # 0: none fails
    code: int = errno.ENOSPC
    lasting: bool = False
    count: int = 0
    failed: list[str] = field(default_factory=list)
    lock: Any = field(default_factory=threading.Lock)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        flush, rename, remove, make, sync = (
            getattr(files, name) for name in ("_flush", "_rename", "_remove", "_make", "sync_folder")
        )

        def flushed(file: Any) -> None:
            self.step("flush", Path(file.name))
            flush(file)

        def renamed(old: Path, new: Path) -> None:
            self.step("rename", new)
            rename(old, new)

        def removed(path: Path) -> None:
            self.step("remove", path)
            remove(path)

        def made(folder: Path) -> None:
            self.step("make", folder)
            make(folder)

        def synced(folder: Path) -> None:
            self.step("sync", folder)
            sync(folder)

        patch.setattr(files, "_create", self.created)
        for name, function in {
            "_flush": flushed, "_rename": renamed, "_remove": removed, "_make": made, "sync_folder": synced
        }.items():  # fmt: skip
            patch.setattr(files, name, function)

    def created(self, path: Path) -> Any:
        self.step("create", path)
        return io.BufferedWriter(Failing(path, self.step))

    def step(self, what: str, path: Path) -> None:
        if not path.is_relative_to(self.root):
            return
        with self.lock:  # files are flushed side by side
            self.count += 1
            count = self.count
        if count == self.n or (self.lasting and 0 < self.n <= count):
            self.failed.append(f"{what} {path.name}")
            raise OSError(self.code, os.strerror(self.code), str(path))


Step = tuple[str, Path, Any]  # what, where, and the content of a flushed file or the former name


def recorded(root: Path, patch: pytest.MonkeyPatch) -> list[Step]:
    """What is done below `root` from now on, one by one, as it is done."""
    steps: list[Step] = []
    real = {name: getattr(files, name) for name in ("_create", "_flush", "_rename", "_remove", "_make", "sync_folder")}

    def note(what: str, path: Path, more: Any = None) -> None:
        if path.is_relative_to(root):
            steps.append((what, path, more))

    def flush(file: Any) -> None:
        real["_flush"](file)
        note("flush", Path(file.name), Path(file.name).read_bytes())

    def rename(old: Path, new: Path) -> None:
        real["_rename"](old, new)
        note("rename", new, old)

    def plain(what: str, name: str) -> Callable[[Path], Any]:
        def act(path: Path) -> Any:
            made = real[name](path)
            note(what, path)
            return made

        return act

    patch.setattr(files, "_flush", flush)
    patch.setattr(files, "_rename", rename)
    for what, name in (("create", "_create"), ("remove", "_remove"), ("make", "_make"), ("sync", "sync_folder")):
        patch.setattr(files, name, plain(what, name))
    return steps


def after_power_loss(steps: Sequence[Step], before: dict[Path, bytes], chance: random.Random) -> dict[Path, bytes]:
    """The files that a disk may hold when the power fails after these steps: path -> content.

    What was flushed is there. Of what was not, each entry of a folder (a new name, a rename, a removal, a new folder)
    has or has not reached the disk, by chance and in no order; a file that was not flushed is empty or half there.
    """
    contents: dict[int, bytes] = dict(enumerate(before.values()))  # file number -> what is on the disk of it
    now: dict[Path, int] = {path: number for number, path in enumerate(before)}  # as processes see it
    kept: dict[Path, int] = dict(now)  # as the disk has it
    folders = {parent for path in before for parent in path.parents}
    waiting: list[tuple[Path, list[tuple[Path, int | None]]]] = []  # folder -> entries that one step changes at once
    new: dict[Path, bool] = {}  # folder made meanwhile -> whether the disk has it
    for what, path, more in steps:
        if what == "create":
            now[path] = len(contents)
            contents[now[path]] = b""
            waiting.append((path.parent, [(path, now[path])]))
        elif what == "flush":
            contents[now[path]] = more
        elif what == "rename":
            now[path] = now.pop(more)
            waiting.append((path.parent, [(more, None), (path, now[path])]))
        elif what == "remove":
            del now[path]
            waiting.append((path.parent, [(path, None)]))
        elif what == "make":
            if path not in folders:
                new.setdefault(path, False)
        elif what == "sync":
            for _, entries in [each for each in waiting if each[0] == path]:
                _apply(kept, entries)
            waiting = [each for each in waiting if each[0] != path]
            new.update({folder: True for folder in new if folder.parent == path})
    for _, entries in waiting:
        if chance.random() < 0.5:
            _apply(kept, entries)
    gone = [folder for folder, there in new.items() if not there and chance.random() < 0.5]
    return {
        path: contents[number] for path, number in kept.items() if not any(path.is_relative_to(each) for each in gone)
    }


def _apply(kept: dict[Path, int], entries: Sequence[tuple[Path, int | None]]) -> None:
    for path, number in entries:
        if number is None:
            kept.pop(path, None)
        else:
            kept[path] = number

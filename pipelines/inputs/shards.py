"""A part of a run, for one of several machines: which recordings are its own, and what its files are called.

Which part a recording belongs to is decided by its content alone (size, first and last 64 KiB), so that it stays in its
part whatever it is called, wherever it lies and whatever else is in the run; files of equal bytes are in one part.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from diarize.errors import ConfigError
from pipelines.inputs.recordings import Input

EDGE = 64 << 10  # bytes at either end of a file that are read: a terabyte of recordings is sorted in minutes
MOST = 100_000  # parts


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`, from 1 on."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count <= MOST:
            raise ConfigError(
                "--shard",
                f"{self.index}/{self.count}",
                "is not a part of a run",
                "Write I/N, for example 1/4, 2/4, 3/4 or 4/4.",
            )

    @property
    def name(self) -> str:
        return f"shard-{self.index}-of-{self.count}"

    def holds(self, item: Input) -> bool:
        """Whether a recording is in this part."""
        return place(item) % self.count == self.index - 1


def parse(text: str) -> Shard:
    """The part that "2/4" names. Raises ConfigError."""
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if found is None:
        raise ConfigError("--shard", text, "is not a part of a run", "Write I/N, for example 2/4.")
    return Shard(int(found[1]), int(found[2]))


def file(name: str, shard: Shard | None) -> str:
    """What a file of the whole run (`run.json`) is called for a part of it (`run.shard-1-of-4.json`)."""
    stem, dot, suffix = name.rpartition(".")
    return name if shard is None else f"{stem}.{shard.name}{dot}{suffix}"


def found(out: Path, name: str) -> Iterator[tuple[Path, Shard | None]]:
    """The files in `out` that are called `name`, as of a whole run (None), or as of a part of one; by their names."""
    stem, dot, suffix = name.rpartition(".")
    form = re.compile(rf"{re.escape(stem)}(?:\.shard-([0-9]+)-of-([0-9]+))?{re.escape(dot + suffix)}")
    for path in sorted(out.glob(f"{stem}*{dot}{suffix}")):
        if (told := form.fullmatch(path.name)) is not None:
            with contextlib.suppress(ConfigError):  # no part of anything
                yield path, None if told[1] is None else Shard(int(told[1]), int(told[2]))


def place(item: Input) -> int:
    """A number that a recording's content decides; its name where it has none that can be read."""
    digest = hashlib.sha256()
    try:
        if item.problem is not None:
            raise OSError(item.problem.reason)
        _edges(item.path, digest)
    except OSError:
        digest = hashlib.sha256(item.name.encode("utf-8", "surrogatepass"))
    return int.from_bytes(digest.digest()[:8], "big")


def _edges(path: Path, digest: hashlib._Hash) -> None:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):  # opening a pipe would wait for its writer
        raise OSError("no regular file")
    digest.update(f"{found.st_size}:".encode())
    with path.open("rb") as file:
        digest.update(file.read(EDGE))
        file.seek(max(0, found.st_size - EDGE))
        digest.update(file.read(EDGE))

"""A part of a run, for one of several machines: its recordings, and the names of its files.

The content of a recording alone (size, first and last 64 KiB) decides its part, so that it stays in the same part under
another name, in another folder and beside other recordings; files of equal bytes are in one part.
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

EDGE = 64 << 10  # bytes that are read at both ends of a file: minutes for a terabyte of recordings
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
        return content_number(item) % self.count == self.index - 1


def parse(text: str) -> Shard:
    """The part that "2/4" names. Raises ConfigError."""
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if match is None:
        raise ConfigError("--shard", text, "is not a part of a run", "Write I/N, for example 2/4.")
    return Shard(int(match[1]), int(match[2]))


def file_name(name: str, shard: Shard | None) -> str:
    """The name of a file of the whole run (`run.json`) for a part of it (`run.shard-1-of-4.json`)."""
    stem, dot, suffix = name.rpartition(".")
    return name if shard is None else f"{stem}.{shard.name}{dot}{suffix}"


def find_files(out: Path, name: str) -> Iterator[tuple[Path, Shard | None]]:
    """The files in `out` with a `name` of a whole run (None) or of a part of it, in the order of their names."""
    stem, dot, suffix = name.rpartition(".")
    form = re.compile(rf"{re.escape(stem)}(?:\.shard-([0-9]+)-of-([0-9]+))?{re.escape(dot + suffix)}")
    for path in sorted(out.glob(f"{stem}*{dot}{suffix}")):
        if (match := form.fullmatch(path.name)) is not None:
            with contextlib.suppress(ConfigError):  # as of shard-9-of-4
                yield path, None if match[1] is None else Shard(int(match[1]), int(match[2]))


def content_number(item: Input) -> int:
    """A number that the content of a recording decides, or its name where it cannot be read."""
    digest = hashlib.sha256()
    try:
        if item.problem is not None:
            raise OSError(item.problem.reason)
        _edges(item.path, digest)
    except OSError:
        digest = hashlib.sha256(item.name.encode("utf-8", "surrogatepass"))
    return int.from_bytes(digest.digest()[:8], "big")


def _edges(path: Path, digest: hashlib._Hash) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its writer
        raise OSError("not a regular file")
    digest.update(f"{status.st_size}:".encode())
    with path.open("rb") as file:
        digest.update(file.read(EDGE))
        file.seek(max(0, status.st_size - EDGE))
        digest.update(file.read(EDGE))

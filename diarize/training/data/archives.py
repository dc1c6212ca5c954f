"""Common Voice archives, read from the tar as they are: nothing is extracted to the disk.

An archive holds a folder of a language with tables (train.tsv, validated.tsv, ...) and clips/. Clips come before the
tables as often as after them, so the file is read twice: once for the table, once for the clips. Members are data,
whatever they are called: paths are only compared, links and devices passed over, sizes bounded.
"""

from __future__ import annotations

import contextlib
import csv
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from diarize.errors import FormatError

LARGEST_CLIP = 64 << 20  # bytes
LARGEST_TABLE = 2 << 30
MOST_EMPTY = 100  # reads behind the end of an archive; a whole one needs a few
_DAMAGED = (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError)

OnSkipped = Callable[[str, str], None]  # called with (member, reason)


@dataclass(frozen=True, slots=True)
class Member:
    """A clip of an archive."""

    id: str  # language/clip
    speaker: str  # language/client_id: ids of two languages never collide
    content: bytes = field(repr=False)


def read(path: Path, table: str, on_skipped: OnSkipped) -> Iterator[Member]:
    """The clips that `table` lists, in the order of the archive.

    What cannot be used is reported to `on_skipped`. An archive that is cut or damaged gives the clips before that
    place, and is reported. Raises FormatError where it is no tar, or has no such table.
    """
    speakers = _speakers(path, table, on_skipped)
    remaining = set(speakers)
    for name, size, read_content in _members(path, on_skipped):
        if name not in remaining:
            continue
        remaining.discard(name)  # of two members of one name, the first counts
        if size > LARGEST_CLIP:
            on_skipped(name, f"{size} bytes; a clip has {LARGEST_CLIP >> 20} MB at most")
        elif not size:
            on_skipped(name, "empty")
        else:
            language, speaker = speakers[name]
            try:
                content = read_content()
            except _DAMAGED as error:
                on_skipped(name, f"the archive is cut or damaged there: {error}")
                continue
            yield Member(f"{language}/{PurePosixPath(name).name}", f"{language}/{speaker}", content)
    for name in sorted(remaining):
        on_skipped(name, "listed in the table, not in the archive")


def _speakers(path: Path, table: str, on_skipped: OnSkipped) -> dict[str, tuple[str, str]]:
    """Name of a clip in the archive -> (language, client id), of all tables of that name."""
    speakers: dict[str, tuple[str, str]] = {}
    tables = 0
    for name, size, read_content in _members(path, lambda name, reason: None):
        if PurePosixPath(name).name != table or size > LARGEST_TABLE:
            continue
        tables += 1
        folder = PurePosixPath(name).parent
        try:
            text = read_content().decode("utf-8", "replace")
        except _DAMAGED as error:
            raise FormatError(str(path), f"is cut or damaged in its table {name}: {error}") from error
        rows = csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)
        if not {"client_id", "path"} <= set(rows.fieldnames or ()):
            raise FormatError(str(path), f"{name} has no columns client_id and path")
        try:
            for row in rows:
                client, clip = row["client_id"], row["path"]
                if client and clip and "/" not in clip:
                    speakers[(folder / "clips" / clip).as_posix()] = (row.get("locale") or folder.name, client)
                else:
                    on_skipped(f"{name}: {clip}", "no client_id, or no name of a clip")
        except csv.Error as error:
            raise FormatError(str(path), f"{name} is no table: {error}") from error
    if not tables:
        raise FormatError(str(path), f"holds no table {table}", "Is it a Common Voice archive, and whole?")
    return speakers


class _EndingFile(io.FileIO):
    """A file that is not read on and on behind its end.

    tarfile passes over a member by reading it, in steps of 10 KB up to the size in its header, even where the file has
    ended: a header of 512 bytes that claims an exabyte would keep it busy for years.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "rb")
        self._empty = 0  # reads at the end

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(-1 if size is None else size) or b""
        self._empty = 0 if content else self._empty + 1
        if self._empty > MOST_EMPTY:
            raise EOFError("the archive ends within a file")
        return content


def _members(path: Path, on_skipped: OnSkipped) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """(name, bytes, function that reads it) of the regular files; it must be read before the next one is asked for."""
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(_EndingFile(path))
            archive = stack.enter_context(tarfile.open(fileobj=file, mode="r|*"))
        except _DAMAGED as error:
            raise FormatError(str(path), f"cannot be read as a tar archive: {error}") from error
        try:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # else every header stays in memory
                if not member.isreg():
                    continue
                content_file = archive.extractfile(member)
                assert content_file is not None  # as it is a regular file

                def read_content(file: io.BufferedIOBase = content_file, size: int = member.size) -> bytes:  # type: ignore[assignment]
                    content = file.read(size)
                    if len(content) != size:
                        raise EOFError("the archive ends within a file")
                    return content

                yield PurePosixPath(member.name).as_posix(), member.size, read_content
        except _DAMAGED as error:
            on_skipped(path.name, f"the archive is cut or damaged, what follows is lost: {error}")

"""Where utterances of speakers are listed: folders, manifests, lhotse cuts, Common Voice archives."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diarize import files
from diarize.errors import ConfigError, FormatError
from diarize.training.data import archives

SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".amr", ".webm", ".wma", ".aif", ".aiff", ".sph"}
UNLABELLED = "(no name)"  # speaker of recordings without one
LARGEST_LINE = 16 << 20  # bytes; a longer line is no cut


@dataclass(frozen=True, slots=True, eq=False)
class LabelledUtterance:
    """A stretch of speech of one speaker in a file, or in the bytes of an archive's member."""

    id: str
    speaker: str
    path: Path
    start: float = 0.0  # s
    end: float | None = None  # s; None: to the end of the file
    content: bytes | None = field(default=None, repr=False)  # of an archive's member


@dataclass(slots=True)
class Skipped:
    """What a source lists that cannot be used: (utterance, reason)."""

    reasons: list[tuple[str, str]] = field(default_factory=list)

    def add(self, id: str, reason: str) -> None:
        self.reasons.append((id, reason))


def read(kind: str, path: Path, table: str, skipped: Skipped, unlabelled: bool = False) -> Iterator[LabelledUtterance]:
    """The utterances of a source, in an order that depends on its content alone.

    `kind`: folder, manifest, cuts or common_voice, whose `table` lists the utterances. Entries that cannot be used are
    added to `skipped`; recordings directly in a folder too, unless speakers need no names (`unlabelled`). Raises
    ConfigError where the source is not there, FormatError where it is not of its kind.
    """
    if not path.exists():
        raise ConfigError("data", str(path), "does not exist")
    if kind == "folder":
        return _folder(path, skipped, unlabelled)
    if kind == "common_voice":
        return (
            LabelledUtterance(member.id, member.speaker, path, content=member.content)
            for member in archives.read(path, table, skipped.add)
        )
    return _cuts(path, skipped) if kind == "cuts" else _manifest(path, skipped)


def _folder(folder: Path, skipped: Skipped, unlabelled: bool) -> Iterator[LabelledUtterance]:
    """speaker/.../utterance. Hidden files are not read, links not followed."""
    if not folder.is_dir():
        raise ConfigError("data", str(folder), "is not a folder")
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") for part in parts)
        linked = any(parent.is_symlink() for parent in (path, *path.parents[: len(parts) - 1]))
        if path.suffix.lower() not in SUFFIXES or hidden or linked or not path.is_file():
            continue
        if len(parts) == 1 and not unlabelled:
            skipped.add(path.name, "is in no folder of a speaker")
            continue
        yield LabelledUtterance("/".join(parts), parts[0] if len(parts) > 1 else UNLABELLED, path)


def _manifest(path: Path, skipped: Skipped) -> Iterator[LabelledUtterance]:
    """A table with the columns path and speaker, and if there are such, start and duration (s) and language."""
    rows = _parquet(path) if path.suffix == ".parquet" else _csv(path)
    for number, row in enumerate(rows, 1):
        name, speaker = str(row.get("path") or ""), str(row.get("speaker") or "")
        if not name or not speaker:
            skipped.add(f"{path.name}, row {number}", "no path or no speaker")
            continue
        language = str(row.get("language") or "")
        try:
            start = float(row.get("start") or 0)
            end = start + float(row["duration"]) if row.get("duration") not in (None, "") else None
        except (TypeError, ValueError):
            skipped.add(name, f"{path.name}, row {number}: start or duration is not a number")
            continue
        # Relative to the manifest's folder; a speaker of one language is not that of another with the same name.
        id = name if start == 0 and end is None else f"{name}@{start:.3f}"
        yield LabelledUtterance(id, f"{language}/{speaker}" if language else speaker, path.parent / name, start, end)


def _csv(path: Path) -> Iterator[dict[str, Any]]:
    text = files.read_text(path)
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter)
    if not {"path", "speaker"} <= set(reader.fieldnames or ()):
        raise FormatError(str(path), "a manifest has the columns path and speaker", "Write them in its first line.")
    yield from reader


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise FormatError(str(path), f"cannot be read as Parquet: {error}") from error
    if not {"path", "speaker"} <= set(table.column_names):
        raise FormatError(str(path), "a manifest has the columns path and speaker")
    yield from table.to_pylist()


def _cuts(path: Path, skipped: Skipped) -> Iterator[LabelledUtterance]:
    """Supervisions with a speaker, of cuts as lhotse's `CutSet.to_file` writes them: one JSON object a line.

    Only recordings in files are read: a source may also name a shell command or an address, which are never used.
    """
    for number, line in enumerate(_lines(path), 1):
        where = f"{path.name}, line {number}"
        try:
            cut = json.loads(line)
            if cut.get("type", "MonoCut") != "MonoCut":
                skipped.add(where, f"a {cut['type']}; only MonoCut is read")
                continue
            sources = cut["recording"]["sources"]
            if len(sources) != 1 or sources[0].get("type") != "file":
                skipped.add(where, "its recording is not one file")
                continue
            audio = path.parent / str(sources[0]["source"])
            for i, supervision in enumerate(cut.get("supervisions") or ()):
                if not supervision.get("speaker"):
                    skipped.add(where, "a supervision without a speaker")
                    continue
                start = float(cut["start"]) + max(0.0, float(supervision.get("start", 0)))
                end = min(start + float(supervision["duration"]), float(cut["start"]) + float(cut["duration"]))
                yield LabelledUtterance(f"{cut['id']}-{i}", str(supervision["speaker"]), audio, start, end)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            skipped.add(where, f"is no cut ({type(error).__name__}: {error})")


def _lines(path: Path) -> Iterator[bytes]:
    """Lines of a file, also of a compressed one. Raises FormatError where it is damaged, or a line has no end."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else files.regular(path).open("rb") as file:
            while line := file.readline(LARGEST_LINE):
                if len(line) == LARGEST_LINE:
                    raise FormatError(str(path), f"a line is longer than {LARGEST_LINE >> 20} MB")
                if line.strip():
                    yield line
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(str(path), f"cannot be read: {error}") from error

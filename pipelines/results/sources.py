"""Where the recording of a result is now: where it was, near the results, or moved to another folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from diarize.errors import FormatError
from diarize.types import Source, Transcript
from pipelines.results import outputs
from pipelines.results.fingerprint import sha256_or_empty

MOST = 100_000  # files of a folder that are looked at


def find(transcript: Transcript, folder: Path, places: Iterable[Path] = ()) -> Path | None:
    """The recording's file; None where it is not found. `folder` holds its results.

    In order: where `provenance.json` says that it was; a file with its name near the current folder or the results, and
    its size; in `places` (files and folders with their subfolders) the file with its sha256, whatever its name is. Only
    the last kind is known to be the right file: who reads another one compares its sha256.
    """
    source = transcript.provenance.source
    if source is None:
        return None
    for path in _near(source, folder):
        if _size(path) == source.size:
            return path
    for path in _files(places):
        if _size(path) == source.size and sha256_or_empty(path) == source.digest:
            return path
    return next((path for path in _near(source, folder) if _size(path) >= 0), None)


def _near(source: Source, folder: Path) -> Iterator[Path]:
    try:
        recorded = outputs.read_provenance(folder).get("source")
        where = recorded.get("path") if isinstance(recorded, dict) else None
        if isinstance(where, str) and "\0" not in where:
            yield Path(where)
    except FormatError:
        pass
    if source.path and "\0" not in source.path:
        yield from (parent / source.path for parent in (Path(), folder, folder.parent, folder.parent.parent))


def _files(places: Iterable[Path]) -> Iterator[Path]:
    seen = 0
    for place in places:
        if not place.is_dir():
            yield place
            continue
        for parent, folders, names in os.walk(place):
            folders.sort()
            for name in sorted(names):
                seen += 1
                if seen > MOST:
                    return
                yield Path(parent) / name


def _size(path: Path) -> int:
    """Bytes of a regular file; -1 of anything else."""
    try:
        return path.stat().st_size if path.is_file() else -1
    except (OSError, ValueError):
        return -1

"""What a recording leaves in its folder, and in which order: `transcript.json` last, as it says that all is there."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from diarize import files, formats
from diarize.errors import OutputError
from diarize.formats import transcript_json
from diarize.types import Transcript

TRANSCRIPT = "transcript.json"
PROVENANCE = "provenance.json"


def write(folder: Path, transcript: Transcript, names: Iterable[str], circumstances: Mapping[str, Any]) -> None:
    """All exports of one recording into `folder`, which is made if need be.

    `circumstances` (times, machine) go to `provenance.json`, the only file that differs between two identical runs.
    Raises OutputError; a folder without `transcript.json` is not finished.
    """
    make(folder)
    committed = folder / TRANSCRIPT
    try:
        committed.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(str(committed), f"cannot be replaced: {error.strerror}") from error
    export(folder, transcript, [name for name in names if name != "json"])
    files.write(folder / PROVENANCE, as_json(circumstances))
    files.write(committed, transcript_json.dumps(transcript))


def rewrite(folder: Path, transcript: Transcript, names: Iterable[str]) -> None:
    """A finished recording's exports and transcript once more; until the end the former transcript stays.

    Raises OutputError.
    """
    export(folder, transcript, [name for name in names if name != "json"])
    files.write(folder / TRANSCRIPT, transcript_json.dumps(transcript))


def export(folder: Path, transcript: Transcript, names: Iterable[str]) -> tuple[Path, ...]:
    """The named formats of one transcript into `folder`; the paths written."""
    written = []
    for name in names:
        path = folder / f"transcript{formats.suffix(name)}"
        files.write(path, formats.dumps(name, transcript))
        written.append(path)
    return tuple(written)


def read(folder: Path) -> Transcript:
    """The transcript in a recording's folder. Raises FormatError, also where there is none."""
    return transcript_json.read(folder / TRANSCRIPT)


def make(folder: Path) -> None:
    """Make a folder with its parents. Raises OutputError, also where `folder` is a link or no folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        cure = "Choose another output folder."
        raise OutputError(str(folder), f"cannot be made: {error.strerror or error}", cure) from error
    if folder.is_symlink():
        raise OutputError(str(folder), "is a link, and results are not written through links", "Remove the link.")


def as_json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=1, ensure_ascii=True, sort_keys=False) + "\n"


def machine() -> dict[str, str]:
    """Where this runs, for `provenance.json`."""
    return {"system": platform.platform(), "python": platform.python_version(), "host": platform.node()}

"""Formats written again from `transcript.json`, without any model and without the recording."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from diarize import formats
from pipelines import outputs


def export(folders: Sequence[Path], names: Sequence[str]) -> Iterator[Path]:
    """The paths written, one by one. Raises FormatError for an unknown format or a folder without a transcript."""
    for name in names:
        formats.suffix(name)
    for folder in folders:
        yield from outputs.export(folder, outputs.read(folder), names)

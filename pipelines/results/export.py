"""Formats written again from `transcript.json`, without any model and without the recording."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from diarize import files, formats
from diarize.errors import ConfigError
from pipelines.results import outputs
from pipelines.results.integrity import is_results


def export(folders: Sequence[Path], names: Sequence[str]) -> Iterator[Path]:
    """Write the named formats into folders of recordings; the paths written, one by one.

    Raises FormatError for an unknown format or a folder without a transcript, OutputError, and ConfigError for the
    folder of a run.
    """
    for name in names:
        formats.suffix(name)
    for folder in folders:
        if is_results(folder) and not (folder / outputs.TRANSCRIPT).exists():
            cure = f"Name folders of recordings in it: {folder}/ID."
            raise ConfigError("export", str(folder), "holds the results of a run, of many recordings", cure)
        for name, content in outputs.render(outputs.read(folder), names).items():
            files.write(folder / name, content)
            yield folder / name

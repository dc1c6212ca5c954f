"""Formats written again from `transcript.json` and its corrections, without any model and without the recording."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from diarize import files, formats
from pipelines.results import corrections, outputs
from pipelines.results.integrity import is_results


def export(folders: Sequence[Path], names: Sequence[str], machine: bool = False) -> Iterator[Path]:
    """Write the named formats into folders of recordings, or of all recordings of a run; the paths written, one by one.

    `machine`: without the corrections of people. Raises FormatError for an unknown format or a folder without a
    transcript, and OutputError.
    """
    for name in names:
        formats.suffix(name)
    for folder in folders:
        if (folder / outputs.TRANSCRIPT).exists():
            yield from _export_recording(folder, names, machine)
        elif is_results(folder):
            for path in sorted(folder.glob(f"*/{outputs.TRANSCRIPT}")):
                yield from _export_recording(path.parent, names, machine)
        else:
            outputs.read(folder)  # raises


def _export_recording(folder: Path, names: Sequence[str], machine: bool) -> Iterator[Path]:
    people = corrections.exist(folder) and not machine
    transcript = outputs.read_corrected(folder) if people else outputs.read(folder)
    for name, content in outputs.render(transcript, names).items():
        path = folder / (corrections.CORRECTED if people and name == outputs.TRANSCRIPT else name)
        files.write(path, content)
        yield path

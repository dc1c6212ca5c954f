"""Formats written again from `transcript.json` and its corrections, without any model and without the recording."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from string import Formatter

from diarize import files, formats
from diarize.errors import ConfigError
from diarize.formats.naming import encodable, visible
from diarize.formats.options import DEFAULT, ExportOptions
from diarize.types import Transcript
from pipelines.results import corrections, outputs
from pipelines.results.integrity import is_results

FIELDS = ("stem", "id", "lang", "suffix")  # of a name template
_LONGEST = 150  # bytes of a name of a recording; a file system allows 255 in all
_NO_FILE_NAME = re.compile(r'[/\\:*?"<>|]')  # what a file system, or a shell of Windows, does not allow


@dataclass(frozen=True, slots=True)
class Export:
    """A file that was written, and which rules of its format could not be kept."""

    path: Path
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What is exported, and where to.

    `machine`: without the corrections of people. `template`: names of the files, as `{stem}.{lang}{suffix}`; "": that
    of `process`. `folder`: for the files of all recordings; None: each recording's own.
    """

    names: Sequence[str]
    machine: bool = False
    options: ExportOptions = DEFAULT
    template: str = ""
    folder: Path | None = None

    def __post_init__(self) -> None:
        for name in self.names:
            formats.suffix(name)
        if self.folder is not None and not self.template:
            raise ConfigError("--to", str(self.folder), "all recordings would have the same names", _CURE)
        if self.template:
            _check_template(self.template)

    def export(self, folders: Sequence[Path]) -> Iterator[Export]:
        """Write the formats of these recordings' folders, or of all recordings of runs; the files, one by one.

        Raises FormatError for a folder without a transcript, ConfigError for two files with one name, and OutputError.
        """
        if self.folder is not None:
            outputs.make_folder(self.folder)
        used: dict[Path, Path] = {}
        for folder in _recordings(folders):
            people = corrections.exist(folder) and not self.machine
            transcript = outputs.read_corrected(folder) if people else outputs.read(folder)
            for name in self.names:
                path = self._path(folder, transcript, name, people)
                if used.setdefault(path, folder / name) != folder / name:
                    problem = f"{path.name} would be written twice"
                    raise ConfigError("--name-template", self.template, problem, _CURE)
                if self.folder is None:
                    outputs.export(folder, path.name, name, transcript, self.options)
                else:
                    files.write(path, formats.encode(name, transcript, self.options))
                yield Export(path, formats.remarks(name, transcript, self.options))

    def _path(self, folder: Path, transcript: Transcript, format: str, people: bool) -> Path:
        if not self.template:
            name = f"transcript{formats.suffix(format)}"
            return folder / (corrections.CORRECTED if people and name == outputs.TRANSCRIPT else name)
        source = transcript.provenance.source
        stem = PurePosixPath(transcript.recording if source is None else source.path.replace("\\", "/")).stem
        values = {
            "stem": _file_name(stem, _LONGEST) or folder.name,
            "id": folder.name,
            "lang": _file_name(transcript.language or "", 20) or "und",  # undetermined (ISO 639-2)
            "suffix": formats.suffix(format),
        }
        name = self.template.format_map(values)
        if (self.folder is None and name in _RESERVED) or name.startswith(".") or name != Path(name).name:
            raise ConfigError("--name-template", self.template, f"gives the name {name[:80]!r}", _CURE)
        return (self.folder or folder) / name


_RESERVED = (outputs.TRANSCRIPT, outputs.PROVENANCE, outputs.CHOICES, corrections.LOG, corrections.CORRECTED)
_CURE = "Write --name-template with {stem} or {id}, and {lang} and {suffix}: '{stem}.{lang}{suffix}'."


def _recordings(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        if (folder / outputs.TRANSCRIPT).exists():
            yield folder
        elif is_results(folder):
            yield from (path.parent for path in sorted(folder.glob(f"*/{outputs.TRANSCRIPT}")))
        else:
            outputs.read(folder)  # raises


def _check_template(template: str) -> None:
    """Raises ConfigError for one that gives no file names."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ConfigError("--name-template", template, f"is no template: {error}", _CURE) from None
    for _, field, form, conversion in parts:
        if field is not None and (field not in FIELDS or form or conversion):
            raise ConfigError("--name-template", template, f"has {{{field}}}", f"Known: {', '.join(FIELDS)}.")
    if any(_NO_FILE_NAME.search(text) or not text.isprintable() for text, *_ in parts):
        raise ConfigError("--name-template", template, "holds characters that no file name may have", _CURE)


def _file_name(text: str, longest: int) -> str:
    """A text as a part of a file name, at most `longest` bytes: without separators, characters that cannot be seen,
    and dots at its start."""
    name = "".join(c for c in _NO_FILE_NAME.sub("_", visible(encodable(text))) if c.isprintable()).lstrip(". ")
    return name.encode()[:longest].decode(errors="ignore").rstrip()

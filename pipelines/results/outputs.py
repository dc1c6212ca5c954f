"""The files of a recording's results, and the order in which they are written: `transcript.json` last, as the commit
point."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from diarize import files, formats
from diarize.config import Config
from diarize.errors import AudioError, ConfigError, DiarizeError, FormatError, OutputError
from diarize.formats import transcript_json
from diarize.formats.options import DEFAULT, ExportOptions
from diarize.types import Transcript
from pipelines.inputs.recordings import Input
from pipelines.results import corrections, voiceprints
from pipelines.results.fingerprint import FileState
from pipelines.results.outcomes import PRODUCT, Outcome

TRANSCRIPT = "transcript.json"
PROVENANCE = "provenance.json"
CHOICES = "exports.json"  # file name -> the options that a user chose for it (diarize/formats/options.py)
_SAME_BYTES = re.compile(r"the same bytes as .*: processed once", re.DOTALL)  # the note of a copied recording


def write(
    folder: Path,
    transcript: Transcript,
    names: Iterable[str],
    circumstances: Mapping[str, Any],
    source: tuple[Path, str] | None = None,
    choices: Mapping[str, ExportOptions] | None = None,
) -> None:
    """Write all exports of one recording into `folder`, which is created if need be.

    Exports of an earlier result in other formats are removed. Corrections in the folder are applied to all exports but
    `transcript.json`; a `transcript.json` that somebody changed by hand is kept under another name.

    `circumstances` (times, machine) go to `provenance.json`, the only file that differs between two identical runs,
    with `files`: the sha256 of every other file. `source` (path, sha256) is the recording as it was read; it is hashed
    again while the exports are made, and recorded there too. `choices`: the options of files, by their names.

    Raises OutputError, and AudioError where the recording has changed. A folder without `transcript.json` is not
    finished, and one with it holds files of one result only.
    """
    _refuse_link(folder)
    with ThreadPoolExecutor(1, "hash") as executor:
        hashing = None if source is None else executor.submit(_source_record, *source)
        content = transcript_json.dumps(transcript).encode()
        circumstances = {key: value for key, value in circumstances.items() if key != "corrections"}
        contents: dict[str, bytes] = {}
        if corrections.exist(folder):
            people = corrections.Corrections(folder, content)
            transcript = people.corrected()
            contents[corrections.CORRECTED] = transcript_json.dumps(transcript).encode()
            circumstances["corrections"] = {"entries": len(people.entries), "hash": people.head}
        contents |= render(transcript, [name for name in names if name != "json"], choices or {})
        contents[TRANSCRIPT] = content
    if hashing is not None:
        circumstances = {**circumstances, "source": hashing.result()}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    contents[PROVENANCE] = as_json({**circumstances, "files": digests}).encode()
    if choices:
        contents[CHOICES] = _choices_as_json(choices)
    exports = (corrections.CORRECTED, CHOICES, *(f"transcript{formats.suffix(name)}" for name in formats.FORMATS))
    keep_changed(folder)
    files.write_all(folder, contents, TRANSCRIPT, [name for name in exports if name not in contents])


def rewrite(folder: Path, transcript: Transcript, names: Iterable[str]) -> None:
    """Write a finished recording's exports and transcript again, with its recorded circumstances and the options with
    which they were exported.

    Raises FormatError and OutputError.
    """
    write(folder, transcript, names, read_provenance(folder), choices=read_choices(folder))


def render(
    transcript: Transcript, names: Iterable[str], choices: Mapping[str, ExportOptions] | None = None
) -> dict[str, bytes]:
    """File name -> content, of the named formats of a transcript; `choices`: options of files. Raises MissingExtra."""
    files_of = {f"transcript{formats.suffix(name)}": name for name in names}
    options = choices or {}
    return {file: formats.encode(name, transcript, options.get(file, DEFAULT)) for file, name in files_of.items()}


def read_choices(folder: Path) -> dict[str, ExportOptions]:
    """File name -> options with which it was exported into a recording's folder; {} where all have the defaults.

    Raises FormatError where the record cannot be read.
    """
    path = folder / CHOICES
    if not path.exists():
        return {}
    try:
        values = json.loads(files.read_text(path))
        choices = {name: ExportOptions(**options) for name, options in values.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise FormatError(str(path), "no record of exports", "Delete it, and export again.") from None
    for options in choices.values():
        if any(type(getattr(options, each.name)) is not type(each.default) for each in fields(ExportOptions)):
            raise FormatError(str(path), "no record of exports", "Delete it, and export again.")
    return choices


def export(folder: Path, name: str, format: str, transcript: Transcript, options: ExportOptions = DEFAULT) -> None:
    """Write a format into a recording's folder, as the file `name`, and record the options that were chosen for it.

    Where the run wrote the file, its new sha256 is recorded, too. Raises OutputError, FormatError and MissingExtra.
    """
    content = formats.encode(format, transcript, options)
    choices = read_choices(folder)
    chosen = ExportOptions(**formats.choices(format, options))  # type: ignore[arg-type]
    if choices.get(name, DEFAULT) != chosen:
        choices[name] = chosen
        files.write(folder / CHOICES, _choices_as_json(choices))
    files.write(folder / name, content)
    try:
        record = read_provenance(folder)
    except FormatError:  # results of another program have none
        return
    digests, digest = record.get("files"), hashlib.sha256(content).hexdigest()
    if isinstance(digests, dict) and digests.get(name, digest) != digest:
        files.write(folder / PROVENANCE, as_json({**record, "files": {**digests, name: digest}}))


def _choices_as_json(choices: Mapping[str, ExportOptions]) -> bytes:
    """Only what differs from the defaults."""
    values = {
        name: {key: value for key, value in asdict(options).items() if value != getattr(DEFAULT, key)}
        for name, options in sorted(choices.items())
    }
    return as_json({name: options for name, options in values.items() if options}).encode()


def read(folder: Path) -> Transcript:
    """The transcript in a recording's folder. Raises FormatError, also where there is none."""
    return transcript_json.read(folder / TRANSCRIPT)


def read_corrected(folder: Path) -> Transcript:
    """The transcript in a recording's folder with the corrections of people. Raises FormatError."""
    return corrections.Corrections(folder).corrected() if corrections.exist(folder) else read(folder)


def keep_changed(folder: Path) -> str:
    """Keep a `transcript.json` that is not the one that was written: the name of its copy; "" if there is none.

    One that is no transcript of this recording is damage, not somebody's work. Raises OutputError.
    """
    path = folder / TRANSCRIPT
    try:
        recorded = read_provenance(folder).get("files", {}).get(TRANSCRIPT)
        content = path.read_bytes()
    except (FormatError, OSError, AttributeError):
        return ""
    digest = hashlib.sha256(content).hexdigest()
    if recorded in (None, digest):
        return ""
    try:
        if transcript_json.loads(files.text_of(content, str(path)), str(path)).recording != folder.name:
            return ""
    except FormatError:
        return ""
    copy = folder / f"transcript.by-hand-{digest[:16]}.json"
    files.write(copy, content)
    return copy.name


def read_provenance(folder: Path) -> dict[str, Any]:
    """The content of a recording's `provenance.json`. Raises FormatError, also where there is none."""
    path = folder / PROVENANCE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FormatError(str(path), f"cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(str(path), f"no JSON: {error}") from None
    if not isinstance(content, dict):
        raise FormatError(str(path), "no JSON object")
    return content


def make_folder(folder: Path) -> None:
    """Create a folder with its parents. Raises OutputError, also where `folder` is a link or no folder."""
    files.make_folder(folder)
    _refuse_link(folder)


def require_place(path: Path, option: str, folder: bool = True) -> None:
    """Raises ConfigError where a folder of results, or a single file, cannot be written at `path`: before any work.

    Nothing is created. The parents of a folder may be missing, the folder of a file may not.
    """
    problem, cure = "", "Name another place."
    try:
        if path.is_symlink() and folder:
            problem, cure = "is a link, and results are not written through links", "Name its target."
        elif path.exists() and path.is_dir() != folder:
            problem = "is a file, not a folder" if folder else "is a folder, not a file"
        else:
            nearest = path if folder and path.exists() else path.parent
            while folder and not nearest.exists():
                nearest = nearest.parent
            if not nearest.exists():
                problem, cure = f"there is no folder {nearest}", "Create it, or name another place."
            elif not nearest.is_dir():
                problem = f"{nearest} is a file, not a folder"
            elif not os.access(nearest, os.W_OK | os.X_OK):
                problem = f"{nearest} cannot be written"
    except OSError as error:  # a name that is too long, a folder that may not be entered
        problem = f"cannot be accessed: {error.strerror or error}"
    if problem:
        raise ConfigError(option, str(path), problem, cure)


def _refuse_link(folder: Path) -> None:
    if folder.is_symlink():
        raise OutputError(str(folder), "is a link, and results are not written through links", "Remove the link.")


def _source_record(path: Path, digest: str) -> dict[str, str]:
    """Where a recording lies, its sha256 when it was read and its sha256 now, for `provenance.json`.

    `path` is absolute there, as no other file says where a recording was. The whole file is read a second time: that
    takes a second for ten hours of sound (1.6 GB/s), and an examiner may rely on it. Raises AudioError where it has
    changed or is gone.
    """
    try:
        after = files.sha256(path) if path.is_file() else ""
    except OSError as error:
        problem = f"can no longer be read after it was processed ({error.strerror or error})"
        raise AudioError(str(path), problem, "Try again when it is there.") from error
    if after != digest:
        raise AudioError(str(path), "changed while it was processed", "Try again when it is finished.")
    return {"path": str(path.absolute()), "sha256": digest, "sha256_after": after}


def as_json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=1, ensure_ascii=True, sort_keys=False) + "\n"


def describe_machine() -> dict[str, str]:
    """System, Python version and host name, for `provenance.json`."""
    return {"system": platform.platform(), "python": platform.python_version(), "host": platform.node()}


def describe_circumstances(started: datetime, seconds: dict[str, float], duration: float) -> dict[str, Any]:
    """What differs from run to run: when, where, how long (seconds by stage; `duration` s of sound)."""
    return {
        "product": PRODUCT,
        "started": started.isoformat(timespec="seconds"),
        "seconds": seconds,
        "audio_seconds": round(duration, 3),
        "machine": describe_machine(),
    }


def publish(
    out: Path,
    transcript: Transcript,
    row: Outcome,
    path: Path,
    formats: Iterable[str],
    fingerprint: str,
    circumstances: Mapping[str, Any],
    state: FileState | None = None,
    same_bytes_as: str = "",
) -> Outcome:
    """Write a recording's results into its folder below `out`, with what a later run needs to reuse them; its row.

    `path` is the recording, `state` that of its file before it was read; `same_bytes_as` names the recording of the
    same run that has the same bytes. Raises OutputError, and AudioError where the recording has changed.
    """
    folder = out / row.id
    if by_hand := keep_changed(folder):
        cure = f"`diarize edit {row.id} --adopt {by_hand}` takes its changes"
        row = replace(
            row, notes=(*row.notes, f"{TRANSCRIPT} had been changed by hand and is kept as {by_hand}: {cure}")
        )
    voices = ""
    if row.strangers is not None:
        make_folder(folder)
        voices = voiceprints.save(folder, row.strangers)
    source = transcript.provenance.source
    record = {
        "fingerprint": fingerprint,
        "input": {"size": source.size if source is not None else 0, "looks": state},
        "same_bytes_as": same_bytes_as,
        "strangers": voices,
        "row": row.as_row(),
    }
    try:
        write(folder, transcript, formats, {**circumstances, **record}, (path, row.digest))
    except DiarizeError:
        if voices:  # voiceprints of strangers without a result: no later run would delete them
            voiceprints.delete(folder)
        raise
    return row


def copy_result(
    out: Path,
    original: Outcome,
    item: Input,
    config: Config,
    fingerprint: str = "",
    state: FileState | None = None,
    same_bytes_as: str = "",
) -> Outcome:
    """Publish the results of a recording for another file with the same bytes, as if that had been processed.

    `same_bytes_as` is the name of the first of those of one run, which the notes then mention. Raises OutputError and
    FormatError, and AudioError where the file has changed.
    """
    transcript = read(out / original.id)
    source = transcript.provenance.source
    notes = tuple(note for note in transcript.provenance.notes if not _SAME_BYTES.fullmatch(note))
    provenance = replace(
        transcript.provenance,
        source=replace(source, path=item.name) if source is not None else None,
        notes=(*notes, f"the same bytes as {same_bytes_as}: processed once") if same_bytes_as else notes,
    )
    speakers = tuple(replace(speaker, link=None) for speaker in transcript.speakers)
    transcript = replace(transcript, recording=item.id, provenance=provenance, speakers=speakers)
    row = replace(Outcome.of(transcript, item), strangers=original.strangers)
    circumstances = describe_circumstances(datetime.now(UTC), {}, transcript.duration)
    names = config.output.formats
    return publish(out, transcript, row, item.path, names, fingerprint, circumstances, state, same_bytes_as)

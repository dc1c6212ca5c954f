"""What a recording leaves in its folder, and in which order: `transcript.json` last, as it says that all is there."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from diarize import files, formats
from diarize.config import Config
from diarize.errors import AudioError, DiarizeError, FormatError, OutputError
from diarize.formats import transcript_json
from diarize.types import Transcript
from pipelines.inputs.recordings import Input
from pipelines.results import fingerprint, voiceprints
from pipelines.results.outcomes import PRODUCT, Outcome, outcome, plain

TWIN = re.compile(r"the same bytes as .*: processed once", re.DOTALL)  # the note of a recording that was not
TRANSCRIPT = "transcript.json"
PROVENANCE = "provenance.json"


def write(
    folder: Path,
    transcript: Transcript,
    names: Iterable[str],
    circumstances: Mapping[str, Any],
    source: tuple[Path, str] | None = None,
) -> None:
    """All exports of one recording into `folder`, which is made if need be; exports in other formats, of a former
    result, go.

    `circumstances` (times, machine) go to `provenance.json`, the only file that differs between two identical runs,
    with `files`: the sha256 of every other file. `source` (path, sha256) is the recording as it was read; it is read
    again while the exports are made, and told there too. Raises OutputError, and AudioError as `taken`; a folder
    without `transcript.json` is not finished, and one that has it holds files of one result only.
    """
    _refuse_link(folder)
    with ThreadPoolExecutor(1, "hash") as aside:
        again = None if source is None else aside.submit(taken, *source)
        contents = derived(transcript, [name for name in names if name != "json"])
        contents[TRANSCRIPT] = transcript_json.dumps(transcript).encode()
    if again is not None:
        circumstances = {**circumstances, "source": again.result()}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    former = [name for name in every_export() if name not in contents]
    contents[PROVENANCE] = as_json({**circumstances, "files": digests}).encode()
    files.write_all(folder, contents, TRANSCRIPT, former)


def rewrite(folder: Path, transcript: Transcript, names: Iterable[str]) -> None:
    """A finished recording's exports and transcript once more, under its former circumstances.

    Raises FormatError and OutputError.
    """
    write(folder, transcript, names, provenance(folder))


def derived(transcript: Transcript, names: Iterable[str]) -> dict[str, bytes]:
    """File name -> content, of the named formats of one transcript."""
    return {f"transcript{formats.suffix(name)}": formats.dumps(name, transcript).encode() for name in names}


def every_export() -> tuple[str, ...]:
    """The file names of all formats but `transcript.json`."""
    return tuple(f"transcript{formats.suffix(name)}" for name in formats.FORMATS if name != "json")


def export(folder: Path, transcript: Transcript, names: Iterable[str]) -> tuple[Path, ...]:
    """The named formats of one transcript into `folder`; the paths written. Raises OutputError."""
    written = []
    for name, content in derived(transcript, names).items():
        files.write(folder / name, content)
        written.append(folder / name)
    return tuple(written)


def provenance(folder: Path) -> dict[str, Any]:
    """What a recording's `provenance.json` says. Raises FormatError, also where there is none."""
    path = folder / PROVENANCE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FormatError(str(path), f"cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(str(path), f"no JSON: {error}") from None
    if not isinstance(found, dict):
        raise FormatError(str(path), "no JSON object")
    return found


def read(folder: Path) -> Transcript:
    """The transcript in a recording's folder. Raises FormatError, also where there is none."""
    return transcript_json.read(folder / TRANSCRIPT)


def make(folder: Path) -> None:
    """Make a folder with its parents. Raises OutputError, also where `folder` is a link or no folder."""
    files.make_folder(folder)
    _refuse_link(folder)


def _refuse_link(folder: Path) -> None:
    if folder.is_symlink():
        raise OutputError(str(folder), "is a link, and results are not written through links", "Remove the link.")


def taken(path: Path, digest: str) -> dict[str, str]:
    """The file that a result was made of, for `provenance.json`: where it lies, its sha256 when it was read and now.

    `path` is absolute, as this is the one place that says where a recording was. The file is read a second time,
    whole: what costs a second in ten hours of sound (1.6 GB/s) is what an examiner may rely on. Raises AudioError
    where it is no longer the file that was read, or is gone.
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


def machine() -> dict[str, str]:
    """Where this runs, for `provenance.json`."""
    return {"system": platform.platform(), "python": platform.python_version(), "host": platform.node()}


def publish(
    out: Path,
    transcript: Transcript,
    row: Outcome,
    path: Path,
    formats: Iterable[str],
    made_of: str,
    told: Mapping[str, Any],
    seen: fingerprint.Looks | None = None,
    twin: str = "",
) -> None:
    """A recording's results into its folder, with what a later run must know to keep them. Raises OutputError, and
    AudioError where the recording at `path` is no longer the file that was read.

    `made_of` is the fingerprint, `told` the circumstances, `seen` how the file looked before it was read, `twin` the
    name of the recording of the same run that has the same bytes.
    """
    folder = out / row.id
    voices = ""
    if row.strangers is not None:
        make(folder)
        voices = voiceprints.keep(folder, row.strangers)
    source = transcript.provenance.source
    known = {
        "fingerprint": made_of,
        "input": {"size": source.size if source is not None else 0, "looks": seen},
        "same_bytes_as": twin,
        "strangers": voices,
        "row": plain(row),
    }
    try:
        write(folder, transcript, formats, {**told, **known}, (path, row.digest))
    except DiarizeError:
        if voices:  # of strangers, and of no result: no run would ever take them away
            voiceprints.forget(folder)
        raise


def circumstances(started: datetime, seconds: dict[str, float], duration: float) -> dict[str, Any]:
    """What differs from run to run: when, where, how long."""
    return {
        "product": PRODUCT,
        "started": started.isoformat(timespec="seconds"),
        "seconds": seconds,
        "audio_seconds": round(duration, 3),
        "machine": machine(),
    }


def copy(
    out: Path,
    original: Outcome,
    item: Input,
    config: Config,
    made_of: str = "",
    seen: fingerprint.Looks | None = None,
    twin: str = "",
) -> Outcome:
    """The finished results of a recording once more, for another file with the same bytes, as if it had been processed.

    `twin` is the name of the first of those of one run, which the notes then tell. Raises OutputError and FormatError,
    and AudioError where that file changed meanwhile.
    """
    transcript = read(out / original.id)
    source = transcript.provenance.source
    notes = tuple(note for note in transcript.provenance.notes if not TWIN.fullmatch(note))
    provenance = replace(
        transcript.provenance,
        source=replace(source, path=item.name) if source is not None else None,
        notes=(*notes, f"the same bytes as {twin}: processed once") if twin else notes,
    )
    speakers = tuple(replace(speaker, link=None) for speaker in transcript.speakers)
    transcript = replace(transcript, recording=item.id, provenance=provenance, speakers=speakers)
    row = replace(outcome(transcript, item), strangers=original.strangers)
    told = circumstances(datetime.now(UTC), {}, transcript.duration)
    publish(out, transcript, row, item.path, config.output.formats, made_of, told, seen, twin)
    return row

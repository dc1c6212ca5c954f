"""What of a run is done already: results of earlier runs that are intact, and made of the same bytes and settings."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from diarize import files
from diarize.config import Config
from diarize.errors import AudioError, FormatError, OutputError
from pipelines.inputs.jobs import Job
from pipelines.results import fingerprint, outputs, voiceprints
from pipelines.results.fingerprint import FileState
from pipelines.results.outcomes import Outcome


@dataclass(frozen=True)
class StoredResult:
    """What `provenance.json` in a recording's folder says of its results."""

    row: Outcome
    fingerprint: str
    size: int  # bytes, of the recording
    state: FileState | None  # of the recording, when its digest was computed
    path: str  # of the recording, absolute
    same_bytes_as: str  # name of the recording of the same run that has the same bytes
    strangers: str  # sha256 of the stored voices of unknown speakers; "" where there are none
    files: Mapping[str, str]  # name -> sha256


def read(folder: Path) -> StoredResult | None:
    """The record of the results in `folder`; None where they are not finished. Nothing is verified."""
    if not (folder / outputs.TRANSCRIPT).exists():
        return None
    try:
        record = outputs.read_provenance(folder)
        recording = record["input"]
        texts = (record["fingerprint"], record["same_bytes_as"], record["strangers"], *record["files"].values())
        if not (isinstance(recording["size"], int) and all(isinstance(text, str) for text in texts)):
            return None
        return StoredResult(
            Outcome.from_row(record["row"], id=folder.name),
            record["fingerprint"],
            recording["size"],
            recording["looks"],
            record["source"]["path"],
            record["same_bytes_as"],
            record["strangers"],
            record["files"],
        )
    except (FormatError, KeyError, TypeError, AttributeError):  # of another version, or of another program
        return None


def is_intact(folder: Path, result: StoredResult) -> bool:
    """Whether each file is what was written."""
    try:
        return outputs.TRANSCRIPT in result.files and all(
            hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest for name, digest in result.files.items()
        )
    except OSError:
        return False


@dataclass
class PendingWork:
    """What a run has to do, and which results exist already."""

    waiting: list[Job] = field(default_factory=list)  # to be processed
    reused: dict[str, StoredResult] = field(default_factory=dict)  # id -> results that stay as they are
    copies: list[tuple[Job, StoredResult]] = field(default_factory=list)  # results of the same bytes under another id
    duplicates: dict[str, list[Job]] = field(default_factory=dict)  # id -> later jobs of the same bytes and settings
    digests: dict[str, str] = field(default_factory=dict)  # id -> sha256, of the files that were read, or known
    states: dict[str, FileState | None] = field(default_factory=dict)  # of all jobs


def find_work(
    out: Path,
    jobs: Sequence[Job],
    known: Mapping[str, tuple[FileState | None, str]],
    force: bool = False,
    unusable: Collection[str] = (),
    stopping: Callable[[], bool] = lambda: False,
) -> PendingWork:
    """What of `jobs` has to be done. With `force` all of it; then only equal files are found.

    `known` is id -> (state, sha256) of files whose digest is known from elsewhere; results of the ids in `unusable` are
    not reused. Once `stopping` says so no file is read any more: then too many jobs wait, of which none will start.
    """
    work = PendingWork()
    own = {} if force else {job.input.id: read(out / job.input.id) for job in jobs}
    results = [] if force else [each for each in (*own.values(), *_others(out, own)) if each is not None]
    by_fingerprint: dict[str, list[StoredResult]] = {}
    for each in results:
        by_fingerprint.setdefault(each.fingerprint, []).append(each)

    # To hash a file takes long. It is needed only where another file, or one with results, has the same size.
    work.states = {
        job.input.id: None if job.input.problem is not None else fingerprint.file_state(job.input.path) for job in jobs
    }
    sizes = Counter(state["size"] for state in work.states.values() if state is not None)
    sizes.update(each.size for each in results)

    first: dict[str, Job] = {}  # of each fingerprint
    for job in jobs:
        id, stored = job.input.id, own.get(job.input.id)
        digest = "" if stopping() else _digest(job, work.states[id], stored, known.get(id), sizes)
        if not digest:
            work.waiting.append(job)
            continue
        work.digests[id] = digest
        wanted = fingerprint.compute(job.settings_digest, digest)
        original = first.setdefault(wanted, job)
        same_bytes_as = original.input.name if original is not job else ""

        # Its own results stay, if they also say the same name and the same original: the transcript shows both.
        if (
            stored is not None
            and (stored.fingerprint, stored.row.name, stored.same_bytes_as) == (wanted, job.input.name, same_bytes_as)
            and id not in unusable
            and is_intact(out / id, stored)
        ):
            work.reused[id] = stored
        elif original is not job:
            work.duplicates.setdefault(original.input.id, []).append(job)
        elif copy := next((each for each in by_fingerprint.get(wanted, []) if _is_usable(out, each, unusable)), None):
            work.copies.append((job, copy))
        else:
            work.waiting.append(job)
    return work


def _is_usable(out: Path, result: StoredResult, unusable: Collection[str]) -> bool:
    """Whether results can be copied: they are intact, and so are the voices that are needed to link them."""
    if result.row.id in unusable or restore(out, result) is None:
        return False
    return is_intact(out / result.row.id, result)


def hash_strangers(results: Iterable[StoredResult]) -> str:
    """Digest of the recordings with unknown speakers, in their order: how these are called depends on all of them."""
    recordings = [(each.row.id, each.fingerprint) for each in results if each.strangers]
    return hashlib.sha256(json.dumps(recordings).encode()).hexdigest() if recordings else ""


def restore(out: Path, result: StoredResult) -> Outcome | None:
    """The row of reused results, with the voices of unknown speakers; None where those are gone."""
    row = replace(result.row, reused=True)
    if not result.strangers:
        return row
    strangers = voiceprints.load(out / row.id, result.strangers)
    return None if strangers is None else replace(row, strangers=strangers)


def copy_result(
    out: Path, job: Job, original: Outcome, config: Config, work: PendingWork, same_bytes_as: str = ""
) -> Outcome:
    """The results of `original` for a recording of the same bytes and settings; or a row that says why not."""
    item = job.input
    if original.status != "done":
        reason = f"the same bytes as {original.name}: {original.reason}"
        return replace(original, id=item.id, name=item.name, reason=reason)
    state, digest = fingerprint.if_resting(work.states[item.id]), work.digests[item.id]
    try:
        wanted = fingerprint.compute(job.settings_digest, digest)
        return outputs.copy_result(out, original, item, config, wanted, state, same_bytes_as)
    except OutputError as error:
        return Outcome(item.id, item.name, "failed", "write", str(error), environment=True)
    except AudioError as error:  # the recording changed meanwhile
        return Outcome(item.id, item.name, "failed", "read", error.reason)
    except FormatError as error:  # the results of the original changed meanwhile
        return Outcome(item.id, item.name, "failed", "write", f"the same bytes as {original.name}: {error}")


def update_record(out: Path, job: Job, result: StoredResult, state: FileState | None) -> None:
    """Record the state of a file that was hashed again and has not changed, so that the next run need not hash it; and
    where it lies now, for `verify`."""
    state, path = fingerprint.if_resting(state) or result.state, str(job.input.path.absolute())
    if (state, path) == (result.state, result.path):
        return
    folder = out / job.input.id
    try:
        record: dict[str, Any] = outputs.read_provenance(folder)
        record["input"] = {"size": result.size, "looks": state}
        record["source"] = {**record["source"], "path": path}
        files.write(folder / outputs.PROVENANCE, outputs.as_json(record))
    except (FormatError, OutputError):  # the results are complete without it
        return


def _others(out: Path, own: Mapping[str, Any]) -> Iterator[StoredResult | None]:
    """Results in `out` that have the id of no recording of this run."""
    try:
        names = sorted(entry.name for entry in os.scandir(out) if entry.name not in own and entry.is_dir())
    except OSError:
        return
    yield from (read(out / name) for name in names)


def _digest(
    job: Job,
    state: FileState | None,
    stored: StoredResult | None,
    known: tuple[FileState | None, str] | None,
    sizes: Mapping[int, int],
) -> str:
    """sha256 of a recording's file; "" where it is not needed, or the file cannot be read."""
    if state is None or not state["size"]:  # what the system calls empty may be a pipe into itself
        return ""
    if stored is not None and stored.state == state:
        return stored.row.digest
    if known is not None and known[0] == state:
        return known[1]
    if known is None and sizes[state["size"]] < 2:
        return ""
    return fingerprint.sha256_or_empty(job.input.path)

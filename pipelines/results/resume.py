"""What of a run is done already: results of earlier runs that are whole, and made of the same bytes and settings."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from diarize import files
from diarize.errors import AudioError, FormatError, OutputError
from pipelines.inputs.jobs import Job
from pipelines.plan import Plan
from pipelines.results import fingerprint, outputs, voiceprints
from pipelines.results.fingerprint import Looks
from pipelines.results.outcomes import Outcome
from pipelines.results.outputs import copy

STRANGERS = "strangers"


@dataclass(frozen=True)
class Finished:
    """What `provenance.json` in a recording's folder says of its results."""

    row: Outcome
    fingerprint: str
    size: int  # bytes, of the recording
    looks: Looks | None  # of the recording, when its digest was made
    path: str  # where the recording lay, absolute
    twin: str  # name of the recording of the same run that has the same bytes
    strangers: str  # sha256 of the voices of unknown speakers that were kept with it; "" where there are none
    files: Mapping[str, str]  # name -> sha256


def read(folder: Path) -> Finished | None:
    """What is known of the results in `folder`; None where they are not finished. Nothing is verified."""
    if not (folder / outputs.TRANSCRIPT).exists():
        return None
    try:
        told = outputs.provenance(folder)
        row = Outcome(**{**told["row"], "notes": tuple(told["row"]["notes"])})
        known = told["input"]
        texts = (told["fingerprint"], told["same_bytes_as"], told[STRANGERS], *told["files"].values())
        if not (isinstance(known["size"], int) and all(isinstance(text, str) for text in texts)):
            raise TypeError("no record of ours")
        return Finished(
            replace(row, id=folder.name),
            told["fingerprint"],
            known["size"],
            known["looks"],
            told["source"]["path"],
            told["same_bytes_as"],
            told[STRANGERS],
            told["files"],
        )
    except (FormatError, KeyError, TypeError, AttributeError):  # made by another version, or by nobody
        return None


def whole(folder: Path, found: Finished) -> bool:
    """Whether each file is what was written."""
    try:
        return outputs.TRANSCRIPT in found.files and all(
            hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest for name, digest in found.files.items()
        )
    except OSError:
        return False


@dataclass
class Remains:
    """What a run has to do, and what is there already."""

    waiting: list[Job] = field(default_factory=list)  # to be processed
    kept: dict[str, Finished] = field(default_factory=dict)  # id -> results that stay as they are
    copies: list[tuple[Job, Finished]] = field(default_factory=list)  # results that lie under another id
    twins: dict[str, list[Job]] = field(default_factory=dict)  # id -> later recordings of the same bytes and settings
    digests: dict[str, str] = field(default_factory=dict)  # id -> sha256, of the files that were read, or known
    looks: dict[str, Looks | None] = field(default_factory=dict)


def look(
    out: Path,
    jobs: Sequence[Job],
    known: Mapping[str, tuple[Looks | None, str]],
    force: bool = False,
    unless: Collection[str] = (),
    ending: Callable[[], bool] = lambda: False,
) -> Remains:
    """What remains to be done of `jobs`. With `force` everything, in which only equal files are found.

    Results of those in `unless` are not kept. Once `ending` says so nothing is read any more: then too much waits, of
    which nothing will be begun.

    `known` is id -> (looks, sha256) of files of which it is known from elsewhere. Files are read only where their size
    is that of another one, of which they may be the twin, or of finished results.
    """
    found = Remains()
    own = {} if force else {job.input.id: read(out / job.input.id) for job in jobs}
    others = {} if force else dict(_others(out, own))
    results = [each for each in (*own.values(), *others.values()) if each is not None]
    for job in jobs:
        found.looks[job.input.id] = None if job.input.problem is not None else fingerprint.looks(job.input.path)
    sizes: dict[int, int] = {}
    for seen in found.looks.values():
        if seen is not None:
            sizes[seen["size"]] = sizes.get(seen["size"], 0) + 1
    for each in results:
        sizes[each.size] = sizes.get(each.size, 0) + 1
    by_print: dict[str, list[Finished]] = {}
    for each in results:
        by_print.setdefault(each.fingerprint, []).append(each)
    firsts: dict[str, Job] = {}
    for job in jobs:
        id = job.input.id
        recorded = own.get(id)
        digest = "" if ending() else _digest(job, found.looks[id], recorded, known.get(id), sizes)
        if not digest:
            found.waiting.append(job)
            continue
        found.digests[id] = digest
        made_of = fingerprint.of(job.recipe, digest)
        first = firsts.setdefault(made_of, job)
        twin = first.input.name if first is not job else ""
        if (
            recorded is not None
            and (recorded.fingerprint, recorded.row.name, recorded.twin) == (made_of, job.input.name, twin)
            and id not in unless
            and whole(out / id, recorded)
        ):
            found.kept[id] = recorded
            continue
        if twin:
            found.twins.setdefault(first.input.id, []).append(job)
            continue
        source = next((each for each in by_print.get(made_of, []) if usable(out, each, unless)), None)
        if source is not None:
            found.copies.append((job, source))
        else:
            found.waiting.append(job)
    return found


def usable(out: Path, found: Finished, unless: Collection[str] = ()) -> bool:
    """Whether results can be copied: they are whole, and so are the voices that are needed to link them."""
    lacking = found.row.id in unless or (found.strangers and recall(out, found) is None)
    return not lacking and whole(out / found.row.id, found)


def company(kept: Iterable[Finished]) -> str:
    """Digest of the recordings with unknown speakers, in their order: who is called alike depends on all of them."""
    found = [(each.row.id, each.fingerprint) for each in kept if each.strangers]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest() if found else ""


def recall(out: Path, found: Finished) -> Outcome | None:
    """The row of kept results, with the voices of unknown speakers; None where those are not there any more."""
    row = replace(found.row, kept=True)
    if not found.strangers:
        return row
    strangers = voiceprints.recall(out / row.id, found.strangers)
    return None if strangers is None else replace(row, strangers=strangers)


def again(out: Path, job: Job, source: Outcome, plan: Plan, remains: Remains, twin: str = "") -> Outcome:
    """The results of `source` for a recording of the same bytes and settings; a row that says why not, where not."""
    item = job.input
    if source.status != "done":
        return replace(source, id=item.id, name=item.name, reason=f"the same bytes as {source.name}: {source.reason}")
    seen, digest = fingerprint.settled(remains.looks[item.id]), remains.digests[item.id]
    try:
        return copy(out, source, item, plan.config, fingerprint.of(job.recipe, digest), seen, twin)
    except OutputError as error:
        return Outcome(item.id, item.name, "failed", "write", str(error), environment=True)
    except AudioError as error:  # it changed meanwhile
        return Outcome(item.id, item.name, "failed", "read", error.reason)
    except FormatError as error:  # somebody has been at the first one's results
        return Outcome(item.id, item.name, "failed", "write", f"the same bytes as {source.name}: {error}")


def refresh(out: Path, job: Job, found: Finished, seen: Looks | None) -> None:
    """Note how a file looks that was read again and has not changed, so that next time it need not be read; and where
    it lies now, for `verify`."""
    seen, path = fingerprint.settled(seen) or found.looks, str(job.input.path.absolute())
    if (seen, path) == (found.looks, found.path):
        return
    folder = out / job.input.id
    try:
        told: dict[str, Any] = outputs.provenance(folder)
        told["input"] = {"size": found.size, "looks": seen}
        told["source"] = {**told["source"], "path": path}
        files.write(folder / outputs.PROVENANCE, outputs.as_json(told))
    except (FormatError, OutputError):  # the results are whole without it
        return


def _others(out: Path, own: Mapping[str, Any]) -> Iterator[tuple[str, Finished]]:
    """Finished results in `out` that have the name of no recording of this run."""
    try:
        names = sorted(entry.name for entry in os.scandir(out) if entry.name not in own and entry.is_dir())
    except OSError:
        return
    for name in names:
        if (found := read(out / name)) is not None:
            yield name, found


def _digest(
    job: Job,
    seen: Looks | None,
    recorded: Finished | None,
    known: tuple[Looks | None, str] | None,
    sizes: Mapping[int, int],
) -> str:
    """sha256 of a recording's file; "" where it is not needed, or cannot be had."""
    if seen is None or not seen["size"]:  # what the system calls empty may be a pipe into itself
        return ""
    if recorded is not None and recorded.looks == seen:
        return recorded.row.digest
    if known is not None and known[0] == seen:
        return known[1]
    if known is None and sizes[seen["size"]] < 2:
        return ""
    try:
        return files.sha256(job.input.path)
    except OSError:
        return ""

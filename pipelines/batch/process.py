"""The main job: recordings in, a folder of labelled transcripts and speaker timelines out."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarize import files, formats
from diarize.config import Config
from diarize.errors import ConfigError
from diarize.models.store import Store
from pipelines import plan
from pipelines.batch.lock import Lock
from pipelines.batch.run import Run, Watcher
from pipelines.inputs import counts, recordings
from pipelines.inputs.annotations import WORDS, attach
from pipelines.inputs.folders import is_folder
from pipelines.inputs.jobs import Job
from pipelines.inputs.recordings import Input, SearchResult
from pipelines.inputs.shards import Shard
from pipelines.plan import Plan
from pipelines.processes.interrupt import Interrupt
from pipelines.results import fingerprint, journal, outputs, settings_conflict
from pipelines.results.outcomes import PRODUCT, Outcome
from pipelines.versions import versions

if TYPE_CHECKING:
    from diarize.library.store import Library


@dataclass(frozen=True)
class Request:
    """What a user asks for, beside the settings."""

    paths: tuple[Path, ...]
    out: Path
    match: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    counts: Path | None = None  # speaker counts known per recording
    words: Path | None = None  # a transcript made elsewhere; a folder of them, named like the recordings
    library: Callable[[], Library] | None = None  # opens the library of enrolled speakers, to be read
    link: bool = False  # unknown people are called alike in all recordings, also without a library
    speech: Path | None = None  # where somebody speaks: RTTM, UEM or JSON; a folder of them, named like the recordings
    known_turns: tuple[Path, ...] = ()  # what is known of who speaks: RTTM, JSON or CSV of links; or folders of them
    shard: Shard | None = None  # only a part of the recordings
    force: bool = False  # everything again, also where `out` holds results of other settings
    retry: bool = False  # what failed or crashed before again
    wait: bool = False  # for another run on `out` to end


@dataclass(frozen=True)
class Report:
    outcomes: tuple[Outcome, ...]  # one an input, in their order
    passed_over: tuple[str, ...]  # files that were not taken for recordings
    notes: tuple[str, ...]  # what the plan leaves to be desired
    interrupted: bool = False
    earlier: tuple[str, ...] = ()  # recordings of earlier runs whose results lie in the same folder
    part: bool = False  # of a run; a part may be empty

    @property
    def status(self) -> int:
        """Exit status: 0 all done, 3 some failed, 4 nothing could be processed, 5 environment, 130 interrupted."""
        if self.interrupted:
            return 130
        if any(row.environment for row in self.outcomes):
            return 5
        if self.part and not self.outcomes:
            return 0
        done = sum(row.status == "done" for row in self.outcomes)
        return 4 if done == 0 else 3 if done < len(self.outcomes) else 0


def process(request: Request, config: Config, store: Store, watcher: Watcher) -> Report:
    """Do the main job. Raises ConfigError, BackendError, ModelError and OutputError before any work is done.

    After that, whatever happens to a recording is a row of the report. Ctrl-C once: what runs is finished, nothing is
    begun; twice: what runs is given up (`interrupt.Interrupt`).
    """
    for name in config.output.formats:
        formats.suffix(name)
    refuse_odd_output(request.out, request.paths)
    found = recordings.find(request.paths, request.match, request.ignore)
    if not found.inputs:
        return Report((), found.skipped, ())
    jobs = _jobs(found.inputs, request, config)
    with request.library() if request.library is not None else nullcontext() as library:
        recognize, detect = request.words is None, request.speech is None
        chosen = plan.make(config, store, watcher.fetching, recognize, library, request.link, detect)
    common = fingerprint.common(chosen, store)
    shard = request.shard
    positions = [i for i, job in enumerate(jobs) if shard is None or shard.holds(job.input)]
    jobs = [replace(jobs[i], recipe=_recipe(common, jobs[i])) for i in positions]
    outputs.make(request.out)
    with Lock(request.out, shard, request.wait, watcher.waiting) as lock:
        former = journal.former(request.out, shard)
        if not request.force:
            settings_conflict.refuse_others(request.out, config)
        _sweep(request.out, jobs, shard, former.clean)
        watcher.planned(chosen, jobs)
        with Interrupt(watcher.ending) as interrupt:
            run = Run(request.out, chosen, jobs, former, interrupt, lock, watcher, shard)
            outcomes = run(request.force, request.retry, _head(chosen, found, shard, positions))
        earlier = _earlier(request.out, found.inputs)
        part = shard is not None
        return Report(outcomes, found.skipped, chosen.notes, interrupt.stopping, earlier, part)


def _head(chosen: Plan, found: SearchResult, shard: Shard | None, positions: Sequence[int]) -> dict[str, Any]:
    """What run.json says beside its rows; of a part of a run also what puts the whole together again."""
    head = {
        "product": PRODUCT,
        "settings": settings_conflict.plain(chosen.config),
        "versions": versions(),
        "models": chosen.models,
        "notes": chosen.notes,
        "passed_over": found.skipped,
    }
    if shard is None:
        return head
    voices = chosen.people.voices.model if chosen.people is not None else None
    names = hashlib.sha256(json.dumps([item.name for item in found.inputs]).encode()).hexdigest()
    return {**head, "shard": [shard.index, shard.count], "inputs": names, "positions": positions, "voices": voices}


def _recipe(common: str, job: Job) -> str:
    """Raises ConfigError where what was given with a recording cannot be read."""
    try:
        return fingerprint.recipe(common, job.cluster, job.annotation_digests())
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
        raise ConfigError(WORDS, str(job.words), problem, "Change its rights, or take it away.") from error


def _sweep(out: Path, jobs: Sequence[Job], shard: Shard | None, clean: bool) -> None:
    """Take away what a run that was killed left half written. Other parts of a run may be writing beside this one.

    Before a run touches the folder of a recording its report says so: `clean` is what that of the last one says.
    """
    files.sweep(out, "" if shard is None else shard.name)
    if clean:
        return
    if shard is not None:
        folders = [out / job.input.id for job in jobs]
    else:
        folders = [Path(entry.path) for entry in os.scandir(out) if entry.is_dir(follow_symlinks=False)]
    for folder in folders:
        files.sweep(folder)


def _earlier(out: Path, found: Sequence[Input]) -> tuple[str, ...]:
    """The recordings in `out` that are not of this run: its tables and `run.json` say nothing of them."""
    own = {item.id for item in found}
    return tuple(sorted(p.parent.name for p in out.glob(f"*/{outputs.TRANSCRIPT}") if p.parent.name not in own))


def refuse_odd_output(out: Path, paths: Iterable[Path]) -> None:
    """Raises ConfigError where results would go through a link, over a file, or into the folder of the inputs."""
    try:
        place, kind = out.resolve(), _kind(out)
    except (OSError, RuntimeError) as error:  # a name that is too long, a folder on the way that may not be entered
        problem = getattr(error, "strerror", None) or str(error)
        raise ConfigError("--out", str(out), f"cannot be looked at: {problem}", "Name another folder.") from error
    if kind == "link":
        raise ConfigError("--out", str(out), "is a link, and results are not written through links", "Name its target.")
    if kind == "file":
        raise ConfigError("--out", str(out), "is a file", "Name a folder.")
    for path in paths:
        if is_folder(path) and place == path.resolve():
            raise ConfigError(
                "--out", str(out), "is the folder of the recordings", "Name another one: inputs stay as they are."
            )


def _kind(out: Path) -> str:
    return "link" if out.is_symlink() else "file" if out.exists() and not out.is_dir() else "folder"


def _jobs(found: Sequence[Input], request: Request, config: Config) -> list[Job]:
    settings = [config.cluster] * len(found)
    if request.counts is not None:
        settings = counts.apply(counts.read(request.counts), found, config.cluster, str(request.counts))
    jobs = [Job(item, cluster) for item, cluster in zip(found, settings, strict=True)]
    return attach(jobs, request.words, request.speech, request.known_turns, config)

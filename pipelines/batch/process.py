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
from pipelines.batch.run import Run, RunObserver
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
class ProcessRequest:
    """The arguments of the main job, beside the settings."""

    paths: tuple[Path, ...]
    out: Path
    match: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    counts: Path | None = None  # speaker counts of recordings: CSV or TOML
    words: Path | None = None  # a transcript of another recognizer; or a folder of them, named like the recordings
    library: Callable[[], Library] | None = None  # opens the library of enrolled speakers for reading
    link: bool = False  # label unknown speakers across recordings, also without a library
    speech: Path | None = None  # speech regions: RTTM, UEM or JSON; or a folder of them, named like the recordings
    known_turns: tuple[Path, ...] = ()  # turns of known speakers: RTTM, JSON or CSV of links; or folders of them
    shard: Shard | None = None  # only a part of the recordings
    force: bool = False  # process everything again, also where `out` holds results of other settings
    retry: bool = False  # try failed and crashed recordings again
    wait: bool = False  # until another run on `out` ends
    keep_voices: bool = False  # of unknown speakers, for `relabel`; they are deleted otherwise


@dataclass(frozen=True)
class RunReport:
    outcomes: tuple[Outcome, ...]  # one an input, in their order
    skipped: tuple[str, ...]  # files that are no recordings
    notes: tuple[str, ...]  # of the plan: what is missing, and what would be better
    interrupted: bool = False
    earlier: tuple[str, ...] = ()  # recordings of earlier runs with results in the same folder
    part: bool = False  # whether it is of a part of a run, which may be empty

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


def process(request: ProcessRequest, config: Config, store: Store, observer: RunObserver) -> RunReport:
    """Do the main job. Raises ConfigError, BackendError, ModelError and OutputError before any recording is processed.

    After that, every problem of a recording is a row of the report. Ctrl-C once: running recordings are finished, no
    other one starts; twice: running recordings are given up (`interrupt.Interrupt`).
    """
    # Everything that can be refused is refused before a file is written.
    for name in config.output.formats:
        formats.suffix(name)
    _check_output(request.out, request.paths)
    recordings.require(request.paths)
    search = recordings.find(request.paths, request.match, request.ignore, request.out)
    if not search.inputs:
        return RunReport((), search.skipped, ())
    jobs = _jobs(search.inputs, request, config)
    with request.library() if request.library is not None else nullcontext() as library:
        recognize, detect = request.words is None, request.speech is None
        chosen = plan.make(config, store, observer.fetching, recognize, library, request.link, detect)
    chosen.examine()
    plan_digest = fingerprint.hash_plan(chosen, store)
    shard = request.shard
    positions = [i for i, job in enumerate(jobs) if shard is None or shard.holds(job.input)]
    jobs = [replace(jobs[i], settings_digest=_settings_digest(plan_digest, jobs[i])) for i in positions]

    # From here on the folder belongs to this run.
    outputs.make_folder(request.out)
    with Lock(request.out, shard, request.wait, observer.waiting) as lock:
        previous = journal.read_previous(request.out, shard)
        if not request.force:
            settings_conflict.check(request.out, chosen.config)
        _remove_partial_files(request.out, jobs, shard, previous.ended)
        observer.planned(chosen, jobs)
        with Interrupt(observer.stopping) as interrupt:
            run = Run(request.out, chosen, jobs, previous, interrupt, lock, observer, shard, request.keep_voices)
            outcomes = run.execute(request.force, request.retry, _head(chosen, search, shard, positions))
        earlier = _earlier(request.out, search.inputs)
        part = shard is not None
        return RunReport(outcomes, search.skipped, chosen.notes, interrupt.stopping, earlier, part)


def _head(chosen: Plan, search: SearchResult, shard: Shard | None, positions: Sequence[int]) -> dict[str, Any]:
    """What run.json says beside its rows; of a part of a run also what `merge-runs` needs."""
    head = {
        "product": PRODUCT,
        "settings": settings_conflict.result_settings(chosen.config),
        "versions": versions(),
        "models": chosen.models,
        "notes": chosen.notes,
        "passed_over": search.skipped,
    }
    if shard is None:
        return head
    voices = chosen.people.voices.model if chosen.people is not None else None
    names = hashlib.sha256(json.dumps([item.name for item in search.inputs]).encode()).hexdigest()
    return {**head, "shard": [shard.index, shard.count], "inputs": names, "positions": positions, "voices": voices}


def _settings_digest(plan_digest: str, job: Job) -> str:
    """Raises ConfigError where an annotation of the recording cannot be read."""
    try:
        return fingerprint.hash_settings(plan_digest, job.cluster, job.annotation_digests())
    except OSError as error:
        problem, cure = f"cannot be read: {error.strerror or error}", "Change its rights, or remove it."
        raise ConfigError(WORDS, str(job.words), problem, cure) from error


def _remove_partial_files(out: Path, jobs: Sequence[Job], shard: Shard | None, ended: bool) -> None:
    """Delete files that a killed run left half written. Other parts of a run may be writing at the same time.

    A run writes its report before it touches the folder of a recording: where the last one `ended`, these are clean.
    """
    files.sweep(out, "" if shard is None else shard.name)
    if ended:
        return
    if shard is not None:
        folders = [out / job.input.id for job in jobs]
    else:
        folders = [Path(entry.path) for entry in os.scandir(out) if entry.is_dir(follow_symlinks=False)]
    for folder in folders:
        files.sweep(folder)


def _earlier(out: Path, inputs: Sequence[Input]) -> tuple[str, ...]:
    """The recordings in `out` that are not in this run, nor in its tables and `run.json`."""
    own = {item.id for item in inputs}
    return tuple(sorted(p.parent.name for p in out.glob(f"*/{outputs.TRANSCRIPT}") if p.parent.name not in own))


def _check_output(out: Path, paths: Iterable[Path]) -> None:
    """Raises ConfigError where results would go through a link, over a file, or into the folder of the inputs."""
    try:
        target, is_link, is_file = out.resolve(), out.is_symlink(), out.exists() and not out.is_dir()
    except (OSError, RuntimeError) as error:  # a name that is too long, a folder on the way that may not be entered
        problem = getattr(error, "strerror", None) or str(error)
        raise ConfigError("--out", str(out), f"cannot be accessed: {problem}", "Name another folder.") from error
    if is_link:
        raise ConfigError("--out", str(out), "is a link, and results are not written through links", "Name its target.")
    if is_file:
        raise ConfigError("--out", str(out), "is a file", "Name a folder.")
    if above := next((parent for parent in out.parents if parent.is_file()), None):
        raise ConfigError("--out", str(out), f"{above} is a file, not a folder", "Name another folder.")
    for path in paths:
        if is_folder(path) and target == path.resolve():
            raise ConfigError(
                "--out", str(out), "is the folder of the recordings", "Name another one: inputs are not changed."
            )


def _jobs(inputs: Sequence[Input], request: ProcessRequest, config: Config) -> list[Job]:
    settings = [config.cluster] * len(inputs)
    if request.counts is not None:
        settings = counts.apply(counts.read(request.counts), inputs, config.cluster, str(request.counts))
    jobs = [Job(item, cluster, any_words=request.force) for item, cluster in zip(inputs, settings, strict=True)]
    return attach(jobs, request.words, request.speech, request.known_turns, config)

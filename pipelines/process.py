"""The main job: recordings in, a folder of labelled transcripts and speaker timelines out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from diarize import files, formats
from diarize.config import Config
from diarize.errors import ConfigError
from diarize.library.store import Library
from diarize.models.store import Store
from pipelines import batch, counts, given, inputs, linking, outputs, plan, tables
from pipelines.inputs import Input
from pipelines.interrupt import Interrupt
from pipelines.plan import Plan
from pipelines.versions import versions
from pipelines.work import PRODUCT, Job, Outcome


class Watcher(Protocol):
    """What is told of a run while it goes on."""

    def fetching(self, file: str, done: int, total: int | None) -> None: ...
    def planned(self, plan: Plan, jobs: Sequence[Job]) -> None: ...
    def entered(self, id: str, stage: str) -> None: ...
    def finished(self, outcome: Outcome) -> None: ...
    def ending(self, running: int) -> None: ...


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


@dataclass(frozen=True)
class Report:
    outcomes: tuple[Outcome, ...]  # one an input, in their order
    passed_over: tuple[str, ...]  # files that were not taken for recordings
    notes: tuple[str, ...]  # what the plan leaves to be desired
    interrupted: bool = False
    earlier: tuple[str, ...] = ()  # recordings of earlier runs whose results lie in the same folder

    @property
    def status(self) -> int:
        """Exit status: 0 all done, 3 some failed, 4 nothing could be processed, 5 environment, 130 interrupted."""
        if self.interrupted:
            return 130
        if any(row.environment for row in self.outcomes):
            return 5
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
    found = inputs.find(request.paths, request.match, request.ignore)
    if not found.inputs:
        return Report((), found.passed_over, ())
    jobs = _jobs(found.inputs, request, config)
    with request.library() if request.library is not None else nullcontext() as library:
        detect, recognize = request.speech is None, request.words is None
        chosen = plan.make(config, store, watcher.fetching, recognize, library, request.link, detect)
    outputs.make(request.out)
    watcher.planned(chosen, jobs)
    started = datetime.now(UTC)
    rows: dict[str, Outcome] = {}
    with Interrupt(watcher.ending) as interrupt:
        begun = batch.run(jobs, chosen, request.out, config.run.workers, watcher.entered, interrupt)
        with suppress(KeyboardInterrupt), closing(begun):
            for row in begun:
                rows[row.id] = row
                watcher.finished(row)
                if row.environment:  # the next recording would meet the same
                    break
        interrupted = interrupt.ending
        reason = "the run was interrupted" if interrupted else "not begun: the run was ended by a fault of the machine"
        outcomes = tuple(
            rows.get(job.input.id, Outcome(job.input.id, job.input.name, "interrupted", reason=reason, tries=0))
            for job in jobs
        )
        outcomes = linking.link(request.out, outcomes, chosen)
        report = Report(outcomes, found.passed_over, chosen.notes, interrupted, _earlier(request.out, found.inputs))
        write(request.out, report, chosen, started)
        return replace(report, interrupted=interrupt.ending)


def write(out: Path, report: Report, chosen: Plan, started: datetime) -> None:
    """The run's own files. `provenance.json` alone differs between two identical runs. Raises OutputError."""
    tables.write(out, (outputs.read(out / row.id) for row in report.outcomes if row.status == "done"))
    run = {
        "schema": "diarize-run/1",
        "product": PRODUCT,
        "settings": chosen.config.model_dump(mode="json", exclude={"run"}),
        "versions": versions(),
        "models": chosen.models,
        "notes": report.notes,
        "recordings": [_plain(row) for row in report.outcomes],
        "passed_over": report.passed_over,
    }
    now = datetime.now(UTC)
    circumstances = {
        "started": started.isoformat(timespec="seconds"),
        "finished": now.isoformat(timespec="seconds"),
        "seconds": round((now - started).total_seconds(), 3),
        "machine": outputs.machine(),
        "run": chosen.config.run.model_dump(mode="json"),
    }
    files.write(out / "provenance.json", outputs.as_json(circumstances))
    files.write(out / "run.json", outputs.as_json(run))


def _plain(row: Outcome) -> dict[str, Any]:
    return {key: value for key, value in asdict(replace(row, strangers=None)).items() if key != "strangers"}


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
        if inputs.is_folder(path) and place == path.resolve():
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
    return given.attach(jobs, request.words, request.speech, request.known_turns, config)

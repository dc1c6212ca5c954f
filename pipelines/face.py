"""What a person sees: progress while it goes on, and a table when it is over.

Progress goes to the error stream, results to the output stream. A closed stream (`| head`) never ends a run; characters
that a terminal cannot show are escaped; file names are shown as text, whatever they hold.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from diarize.errors import printable
from diarize.models.store import Status
from pipelines.doctor import Facts
from pipelines.plan import Plan
from pipelines.process import Report, Watcher
from pipelines.work import Job, Outcome

MOST_ROWS = 50  # of the closing table; longer runs show what failed
STAGES = {  # what a stage is called while it runs
    "read": "decoding",
    "load": "loading the models",
    "detect": "finding speech",
    "embed": "hearing voices",
    "cluster": "telling speakers apart",
    "diarize": "telling speakers apart",
    "identify": "naming speakers",
    "recognize": "recognizing words",
    "label": "labelling words",
    "write": "writing",
}
COLOURS = {"done": "green", "failed": "red", "crashed": "red", "interrupted": "yellow"}


def open_streams() -> None:
    """Make both streams carry any text: what they cannot encode is escaped."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def say(text: str | Table = "", stream: TextIO | None = None) -> None:
    """Print text or a table; a closed stream is no error."""
    console(stream or sys.stdout).print(text if isinstance(text, Table) else Text(text), soft_wrap=True)


def warn(text: str) -> None:
    say(text, sys.stderr)


class Patient(Console):
    """A console that goes on without a reader: rich's own ends the program when its stream is closed."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        with contextlib.suppress(OSError, ValueError):  # or Python complains when it flushes at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


def console(stream: TextIO) -> Console:
    return Patient(file=stream, highlight=False, markup=False, emoji=False)


@contextlib.contextmanager
def watcher(quiet: bool, verbose: bool) -> Iterator[Watcher]:
    """The watcher that fits the terminal: a live one, plain lines, or silence."""
    if quiet:
        yield Silent()
    elif sys.stderr.isatty() and not verbose:
        live = Live(console(sys.stderr))
        with live.progress:
            yield live
    else:
        yield Lines(verbose)


class Silent:
    """Says nothing."""

    def fetching(self, file: str, done: int, total: int | None) -> None: ...
    def planned(self, plan: Plan, jobs: Sequence[Job]) -> None: ...
    def entered(self, id: str, stage: str) -> None: ...
    def finished(self, outcome: Outcome) -> None: ...


class Lines(Silent):
    """A line a recording; with `verbose` a line a stage. For logs and pipes."""

    def __init__(self, verbose: bool) -> None:
        self._verbose, self._jobs, self._done = verbose, 0, 0
        self._fetched = ""

    def fetching(self, file: str, done: int, total: int | None) -> None:
        if file != self._fetched:
            self._fetched = file
            warn(f"fetching {file}" + (f" ({total / 1e6:.1f} MB)" if total else ""))

    def planned(self, plan: Plan, jobs: Sequence[Job]) -> None:
        self._jobs = len(jobs)
        for note in plan.notes:
            warn(f"note: {note}")

    def entered(self, id: str, stage: str) -> None:
        if self._verbose:
            warn(f"{id}: {STAGES.get(stage, stage)}")

    def finished(self, outcome: Outcome) -> None:
        self._done += 1
        warn(f"[{self._done}/{self._jobs}] {summary(outcome)}")


class Live(Silent):
    """A bar for the run, with the time it will take, and a line for each recording in work."""

    def __init__(self, screen: Console) -> None:
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=screen,
            transient=True,
        )
        self._all: TaskID | None = None
        self._running: dict[str, TaskID] = {}

    def fetching(self, file: str, done: int, total: int | None) -> None:
        task = self._running.get(file)
        if task is None:
            task = self._running[file] = self.progress.add_task(f"fetching {file}", total=total)
        self.progress.update(task, completed=done, total=total)
        if total is not None and done >= total:
            self.progress.remove_task(self._running.pop(file))

    def planned(self, plan: Plan, jobs: Sequence[Job]) -> None:
        for note in plan.notes:
            self.progress.console.print(Text(f"note: {note}", style="yellow"))
        self._all = self.progress.add_task("recordings", total=len(jobs))

    def entered(self, id: str, stage: str) -> None:
        steps = list(STAGES)
        task = self._running.get(id)
        if task is None:
            task = self._running[id] = self.progress.add_task(id, total=len(steps))
        at = steps.index(stage) if stage in STAGES else 0
        self.progress.update(task, description=f"{printable(id)}: {STAGES.get(stage, stage)}", completed=at)

    def finished(self, outcome: Outcome) -> None:
        if outcome.id in self._running:
            self.progress.remove_task(self._running.pop(outcome.id))
        if self._all is not None:
            self.progress.advance(self._all)
        self.progress.console.print(Text(summary(outcome), style=COLOURS[outcome.status]))


def summary(row: Outcome) -> str:
    """One line about one recording."""
    name = printable(row.name)
    if row.status != "done":
        return f"{row.status}: {name}: " + (f"{row.stage}: " if row.stage else "") + row.reason
    lost = f", {row.lost:.1f} s lost" if row.lost else ""
    return (
        f"done: {name}: {clock(row.duration or 0)}, {row.speakers} speakers, {row.turns} turns, {row.words} words{lost}"
    )


def closing(report: Report) -> Table:
    """The table that ends a run. Long runs show the recordings that failed, and the sum."""
    rows = report.outcomes
    shown = rows if len(rows) <= MOST_ROWS else [row for row in rows if row.status != "done"][:MOST_ROWS]
    table = Table(show_footer=True, title_justify="left")
    done = [row for row in rows if row.status == "done"]
    table.add_column("recording", f"{len(done)} of {len(rows)} done", overflow="fold")
    table.add_column("length", clock(sum(row.duration or 0 for row in done)), justify="right", no_wrap=True)
    table.add_column("speakers", justify="right")
    table.add_column("turns", str(sum(row.turns for row in done)), justify="right")
    table.add_column("words", str(sum(row.words for row in done)), justify="right")
    table.add_column("outcome", overflow="fold")
    for row in shown:
        if row.status == "done":
            lost = f"done, {row.lost:.1f} s lost" if row.lost else "done"
            cells = [clock(row.duration or 0), str(row.speakers), str(row.turns), str(row.words), lost]
        else:
            cells = ["", "", "", "", f"{row.status}: {row.reason}"]
        style = COLOURS[row.status] if row.status != "done" or row.lost else ""
        table.add_row(Text(printable(row.name)), *(Text(cell, style=style) for cell in cells))
    return table


def model_table(found: Sequence[Status]) -> Table:
    """The models of the registry, and how each stands in the store."""
    rows = []
    for status in found:
        size = status.entry.size
        state = status.state + (f": {status.problem}" if status.problem else "")
        known = status.entry
        rows.append(
            [known.name, known.role, state, f"{size / 1e6:.1f}" if size else "?", known.licence, known.description]
        )
    return table(["model", "role", "state", "MB", "licence", "what it is"], rows)


def diagnosis(facts: Facts) -> Iterator[str | Table]:
    """What `doctor` found, as lines and tables."""
    yield f"diarize-pipeline {facts.version}, Python {facts.python}, {facts.system}, {facts.cores} cores"
    yield f"ffmpeg: {facts.ffmpeg}"
    for device in facts.devices:
        yield f"{device.runtime}: " + (device.problem or f"runs on {'cuda' if device.cuda else 'cpu'}")
    yield f"model store: {facts.store.path}"
    yield f"temporary files: {facts.temporary.path}"
    packages = [[p.name, p.version or "missing", "core"] for p in facts.core]
    packages += [[p.name, p.version or "missing", extra.name] for extra in facts.extras for p in extra.packages]
    yield table(["package", "version", "part of"], packages)
    yield model_table(facts.models)
    lacks = [[lack.what, "needed" if lack.needed else "optional", lack.cure] for lack in facts.lacks]
    if lacks:
        yield table(["missing", "", "how to get it"], lacks)
    yield "ready: the main job can run" if facts.ready else "not ready: something that is needed is missing"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A plain table of text."""
    made = Table(*columns)
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    return made


def clock(seconds: float) -> str:
    """A length of time as h:mm:ss."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"

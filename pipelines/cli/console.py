"""What a person sees: progress while it goes on, and a table when it is over.

Progress goes to the error stream, results to the output stream. A closed stream (`| head`) never ends a run. Characters
that a terminal cannot show are escaped, and so are those that would command it: names are shown, whatever they hold.
What somebody may want to copy (a name, a command, a path) is never cut or folded.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO, cast

from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from diarize.errors import printable
from diarize.text import counted
from pipelines.inputs import settings

if TYPE_CHECKING:
    from diarize.models.store import ModelStatus
    from pipelines.batch.process import Report
    from pipelines.batch.status import Standing
    from pipelines.cli.doctor import Facts
    from pipelines.inputs.jobs import Job
    from pipelines.inputs.settings import Settings
    from pipelines.plan import Plan
    from pipelines.results.outcomes import Outcome

NARROWEST = 60  # columns of a table; where there are fewer, lines are broken rather than columns left out
MOST_ROWS = 50  # of the closing table; longer runs show what failed
STAGES = {  # what a stage is called while it runs
    "read": "decoding",
    "load": "loading the models",
    "segment": "detecting local speakers",
    "detect": "detecting speech",
    "embed": "computing embeddings",
    "cluster": "clustering speakers",
    "diarize": "clustering speakers",
    "identify": "naming speakers",
    "recognize": "recognizing words",
    "write": "writing",
    "again": "its worker process died; it is tried again after all others",
}
COLOURS = {"done": "green", "failed": "red", "crashed": "red", "interrupted": "yellow"}


def say(text: str | Table = "", stream: TextIO | None = None) -> None:
    """Print text or a table; a closed stream is no error."""
    shown = text if isinstance(text, Table) else Text("\n".join(printable(line) for line in text.split("\n")))
    screen = console(stream or sys.stdout)
    if isinstance(text, Table):
        screen.width = max(screen.width, NARROWEST)
    screen.print(shown, soft_wrap=True)


def warn(text: str) -> None:
    say(text, sys.stderr)


class Steady:
    """A stream that a run outlives: without a reader, or on a full disk, what is said is lost and nothing else."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with self._outlived():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._outlived():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _outlived(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):  # or Python complains when it flushes at its end
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def console(stream: TextIO) -> Console:
    made = Console(file=cast(TextIO, Steady(stream)), highlight=False, markup=False, emoji=False)
    if made.width < 1:  # COLUMNS=0: not a word would be shown, no error either
        made.width = NARROWEST
    return made


class Silent:
    """Says nothing."""

    def fetching(self, file: str, done: int, total: int | None) -> None: ...
    def waiting(self, why: str) -> None: ...
    def planned(self, plan: Plan, jobs: Sequence[Job]) -> None: ...
    def entered(self, id: str, stage: str) -> None: ...
    def finished(self, outcome: Outcome) -> None: ...
    def ending(self, running: int) -> None: ...


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

    def waiting(self, why: str) -> None:
        warn(why)

    def entered(self, id: str, stage: str) -> None:
        if self._verbose:
            warn(f"{id}: {STAGES.get(stage, stage)}")

    def finished(self, outcome: Outcome) -> None:
        self._done += 1
        if not outcome.kept:
            warn(f"[{self._done}/{self._jobs}] {summary(outcome)}")

    def ending(self, running: int) -> None:
        warn(last_words(running))


def last_words(running: int) -> str:
    """What is said after the first Ctrl-C."""
    return f"finishing {counted(running, 'recording')}; Ctrl-C again to stop now"


def summary(row: Outcome) -> str:
    """One line about one recording."""
    name = printable(row.name)
    if row.status != "done":
        return f"{row.status}: {name}: " + (f"{row.stage}: " if row.stage else "") + row.reason
    lost = f", {row.lost:.1f} s lost" if row.lost else ""
    found = (counted(row.speakers, "speaker"), counted(row.turns, "turn"), counted(row.words, "word"))
    return f"done: {name}: {clock(row.duration or 0)}, {', '.join(found)}{lost}"


def closing(report: Report) -> Table:
    """The table that ends a run. Long runs show the recordings that failed, and the sum."""
    rows = report.outcomes
    shown = rows if len(rows) <= MOST_ROWS else [row for row in rows if row.status != "done"][:MOST_ROWS]
    table = Table(show_footer=True, box=box.SIMPLE)
    done = [row for row in rows if row.status == "done"]
    kept = sum(row.kept for row in rows)
    summed = f"{len(done)} of {len(rows)} done" + (f", {kept} from an earlier run" if kept else "")
    table.add_column("recording", summed, overflow="fold")
    table.add_column("length", clock(sum(row.duration or 0 for row in done)), justify="right", no_wrap=True)
    table.add_column("speakers", justify="right")
    table.add_column("turns", str(sum(row.turns for row in done)), justify="right")
    table.add_column("words", str(sum(row.words for row in done)), justify="right")
    table.add_column("outcome", overflow="fold")
    for row in shown:
        if row.status == "done":
            lost = "done" + (" earlier" if row.kept else "") + (f", {row.lost:.1f} s lost" if row.lost else "")
            cells = [clock(row.duration or 0), str(row.speakers), str(row.turns), str(row.words), lost]
        else:
            cells = ["", "", "", "", f"{row.status}: {row.reason}"]
        style = COLOURS[row.status] if row.status != "done" or row.lost else ""
        table.add_row(Text(printable(row.name)), *(Text(cell, style=style) for cell in cells))
    return table


def standing_lines(found: Sequence[Standing]) -> Iterator[str]:
    """How each run on a folder stands: who is at work, what is done, what runs in which stage since when."""
    for run in found:
        now = run.progress
        title = f"{run.part}: " if run.part else ""
        told = {
            "running": f"running ({run.holder})",
            "killed": "stopped unexpectedly (killed, or power loss); rerun the command to resume",
            "interrupted": "interrupted; rerun the command to resume",
            "finished": "finished",
        }[run.life]
        yield title + told
        done = run.counts.get("done", 0)
        bad = ", ".join(f"{number} {what}" for what, number in sorted(run.counts.items()) if what != "done")
        running = now.get("running", [])
        kept = f" ({now['kept']} from an earlier run)" if now.get("kept") else ""
        waits = f", {len(running)} running, {run.waiting} waiting" if now else ""
        yield f"  {done} done{kept}, {bad or '0 failed'}{waits}"
        if run.life == "running" and now:
            eta = f"ETA {clock(now['eta'])}" if now.get("eta") is not None else "ETA unknown until one is done"
            yield f"  {clock(now['seconds'])} elapsed, {eta}, {now['speed']:.1f} hours of audio per hour"
        for each in running:
            yield f"  {each['id']}: {STAGES.get(each['stage'], each['stage'])} since {each['since']}"


def model_lines(found: Sequence[ModelStatus]) -> Iterator[str]:
    """The models of the registry, two lines each: how it stands in the store, and what it is."""
    longest = max((len(status.entry.name) for status in found), default=0)
    for status in found:
        known = status.entry
        size = "?" if known.size is None else f"{known.size / 1e6:.1f}"
        pinned = ", digest fixed by the first download" if status.pinned else ""
        yield f"{known.name:{longest}}  {status.state:7} {known.role:12} {size:>7} MB  {known.licence}{pinned}"
        yield f"    {status.problem or known.description}"


def setting_lines(found: Settings, origin: bool) -> Iterator[str]:
    """Every setting, its value, where that comes from where it is asked for, and what the setting means."""
    for key in settings.known():
        value = settings.value(found.config, key)
        told = ",".join(value) if isinstance(value, tuple) else "unset" if value is None else str(value)
        yield f"{key} = {told}" + (f"    [{found.origins[key]}]" if origin else "")
        yield f"    {settings.describe(key)}"


def diagnosis(facts: Facts, verbose: bool = False) -> Iterator[str | Table]:
    """What `doctor` found: whether the main job can run, what that lacks, the machine; with `verbose` all there is."""
    yield "ready: diarize process can run" if facts.ready else "not ready: something required is missing"
    needed = [lack for lack in facts.lacks if lack.needed]
    others = [lack for lack in facts.lacks if not lack.needed]
    if needed:
        yield "missing, required:"
        yield from (f"  {lack.what}\n      {lack.cure}" for lack in needed)
    cores = counted(facts.cores, "core")
    yield f"diarize-pipeline {facts.version}, Python {facts.python}, {facts.system}, {cores}"
    yield f"ffmpeg: {facts.ffmpeg}"
    for device in facts.devices:
        yield f"{device.runtime}: " + (device.problem or f"runs on {'cuda' if device.cuda else 'cpu'}")
    yield f"model store: {facts.store.path}"
    present = [status.entry.name for status in facts.models if status.state == "present"]
    yield f"models in the store: {', '.join(present) or 'none'}"
    yield f"temporary files: {facts.temporary.path}"
    yield f"cache: {facts.cache}"
    if verbose:
        parts = (("core", facts.core), *((extra.name, extra.packages) for extra in facts.extras))
        told = [[name, ", ".join(f"{p.name} {p.version or '(missing)'}" for p in members)] for name, members in parts]
        yield table(["part", "packages"], told)
    if others and verbose:
        yield "missing, optional:"
        yield from (f"  {lack.what}\n      {lack.cure}" for lack in others)
    elif others:
        names = ", ".join(lack.what.partition(" (")[0] for lack in others)
        yield f"missing, optional: {names}"
        yield "for details, commands to install them, and all packages: diarize doctor --verbose"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A plain table of text. What is too long for its column goes on in the next line; nothing is cut."""
    made = Table(*(Column(name, overflow="fold") for name in columns), box=box.SIMPLE)
    for row in rows:
        made.add_row(*(Text(printable(cell)) for cell in row))
    return made


def clock(seconds: float) -> str:
    """A length of time as h:mm:ss."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"

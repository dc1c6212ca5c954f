"""The picture of a run on a terminal: what is done, what runs in which stage, and how long it will take."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live as Screen
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from diarize.errors import printable
from diarize.text import counted
from pipelines.batch.run import Watcher
from pipelines.cli.console import COLOURS, STAGES, Lines, Silent, clock, console, last_words, summary
from pipelines.inputs.jobs import Job
from pipelines.plan import Plan
from pipelines.results.fingerprint import looks
from pipelines.results.journal import Progress
from pipelines.results.outcomes import Outcome

ROWS = 12  # running recordings that are shown
PER_SECOND = 4  # pictures


@contextlib.contextmanager
def watcher(quiet: bool, verbose: bool) -> Iterator[Watcher]:
    """The watcher that fits the terminal: a live one, plain lines, or silence."""
    if quiet:
        yield Silent()
    elif sys.stderr.isatty() and not verbose:
        live = Live(console(sys.stderr))
        with live.screen:
            yield live
    else:
        yield Lines(verbose)


class Live(Silent):
    """A table that is drawn anew several times a second; each recording that ends leaves a line above it."""

    def __init__(self, screen: Console) -> None:
        self._progress: Progress | None = None
        self._sizes: dict[str, int] = {}
        self._fetched: dict[str, str] = {}
        self._waiting = ""
        self.screen = Screen(get_renderable=self.picture, console=screen, refresh_per_second=PER_SECOND, transient=True)

    def picture(self) -> RenderableType:
        """How things stand now."""
        lines: list[RenderableType] = [Text(text) for text in (*self._fetched.values(), self._waiting) if text]
        if self._progress is not None:
            lines += [_bar(self._progress), _running(self._progress)]
        return Group(*lines)

    def fetching(self, file: str, done: int, total: int | None) -> None:
        of = f" of {total / 1e6:.1f}" if total else ""
        self._fetched[file] = f"fetching {printable(file)}: {done / 1e6:.1f}{of} MB"
        if total is not None and done >= total:
            del self._fetched[file]

    def waiting(self, why: str) -> None:
        self._waiting = printable(why)

    def planned(self, plan: Plan, jobs: Sequence[Job]) -> None:
        self._waiting = ""
        for note in plan.notes:
            self._leave(f"note: {note}", "yellow")
        self._sizes = {job.input.id: (looks(job.input.path) or {"size": 0})["size"] for job in jobs}
        self._progress = Progress(len(jobs), sum(self._sizes.values()))

    def entered(self, id: str, stage: str) -> None:
        if self._progress is not None:
            self._progress.entered(id, stage)

    def finished(self, outcome: Outcome) -> None:
        if self._progress is not None:
            self._progress.finished(outcome, self._sizes.get(outcome.id, 0))
        if not outcome.kept:
            self._leave(summary(outcome), COLOURS[outcome.status])

    def ending(self, running: int) -> None:
        self._leave(last_words(running), "yellow")

    def _leave(self, text: str, style: str) -> None:
        self.screen.console.print(Text(text, style=style), soft_wrap=True)


def _bar(now: Progress) -> Table:
    over = now.done + now.failed
    kept = f" ({now.kept} from an earlier run)" if now.kept else ""
    facts = [f"{now.done} done{kept}", f"{now.failed} failed" if now.failed else "", f"of {now.recordings}"]
    facts += [f"{clock(now.elapsed)} elapsed"]
    facts += [f"ETA {clock(now.eta)}" if now.eta is not None else ""]
    facts += [f"{now.speed:.1f} hours of audio per hour" if now.audio else ""]
    row = Table.grid(padding=(0, 1))
    row.add_row(ProgressBar(max(now.recordings, 1), over, width=24), Text(", ".join(filter(None, facts))))
    return row


def _running(now: Progress) -> Table:
    found = list(now.running.items())
    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    for id, (stage, since, _) in found[:ROWS]:
        table.add_row(Text(printable(id)), STAGES.get(stage, stage), clock(time.monotonic() - since))
    if len(found) > ROWS:
        table.add_row(f"and {counted(len(found) - ROWS, 'recording')} more", "", "")
    return table

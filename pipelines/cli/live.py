"""The live display of a run on a terminal: what is done, what runs in which stage, and how long it will take."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from diarize.errors import printable
from diarize.text import counted
from pipelines.batch.run import RunObserver
from pipelines.cli.console import clock, open_console
from pipelines.cli.run_report import COLOURS, STAGES, progress_facts, reused_note, stopping_line, summary_line
from pipelines.inputs.jobs import Job
from pipelines.plan import Plan
from pipelines.results.fingerprint import file_state
from pipelines.results.journal import RunProgress
from pipelines.results.outcomes import Outcome

ROWS = 12  # running recordings that are shown
PER_SECOND = 4  # updates


class LiveObserver(RunObserver):
    """A table that is drawn again several times a second; each finished recording leaves a line above it."""

    def __init__(self, console: Console | None = None) -> None:
        self._progress: RunProgress | None = None
        self._sizes: dict[str, int] = {}
        self._fetches: dict[str, str] = {}
        self._waiting = ""
        self._console = console or open_console(sys.stderr)
        self._live = Live(
            get_renderable=self.render, console=self._console, refresh_per_second=PER_SECOND, transient=True
        )

    def __enter__(self) -> LiveObserver:
        self._live.start(refresh=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def render(self) -> RenderableType:
        """What is shown now."""
        lines: list[RenderableType] = [Text(text) for text in (*self._fetches.values(), self._waiting) if text]
        if self._progress is not None:
            lines += [_bar(self._progress), _running(self._progress)]
        return Group(*lines)

    def fetching(self, file: str, done: int, total: int | None) -> None:
        of = f" of {total / 1e6:.1f}" if total else ""
        self._fetches[file] = f"fetching {printable(file)}: {done / 1e6:.1f}{of} MB"
        if total is not None and done >= total:
            del self._fetches[file]

    def waiting(self, reason: str) -> None:
        self._waiting = printable(reason)

    def planned(self, plan: Plan, jobs: Sequence[Job]) -> None:
        self._waiting = ""
        for note in plan.notes:
            self._print(f"note: {note}", "yellow")
        self._sizes = {job.input.id: (file_state(job.input.path) or {"size": 0})["size"] for job in jobs}
        self._progress = RunProgress(len(jobs), sum(self._sizes.values()))

    def stage_started(self, id: str, stage: str) -> None:
        if self._progress is not None:
            self._progress.stage_started(id, stage)

    def recording_finished(self, outcome: Outcome) -> None:
        if self._progress is not None:
            self._progress.recording_finished(outcome, self._sizes.get(outcome.id, 0))
        if not outcome.reused:
            self._print(summary_line(outcome), COLOURS[outcome.status])

    def stopping(self, running: int) -> None:
        self._print(stopping_line(running), "yellow")

    def _print(self, text: str, style: str) -> None:
        self._console.print(Text(text, style=style), soft_wrap=True)


def _bar(progress: RunProgress) -> Table:
    finished = progress.done + progress.failed
    facts = [
        f"{progress.done} done{reused_note(progress.reused)}",
        f"{progress.failed} failed" if progress.failed else "",
    ]
    facts += [f"of {progress.recordings}", *progress_facts(progress.elapsed, progress.eta, progress.speed)]
    row = Table.grid(padding=(0, 1))
    row.add_row(
        ProgressBar(max(progress.recordings, 1), finished, width=24), Text(", ".join(fact for fact in facts if fact))
    )
    return row


def _running(progress: RunProgress) -> Table:
    running = list(progress.running.items())
    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    for id, (stage, since, _) in running[:ROWS]:
        table.add_row(Text(printable(id)), STAGES.get(stage, stage), clock(time.monotonic() - since))
    if len(running) > ROWS:
        table.add_row(f"and {counted(len(running) - ROWS, 'recording')} more", "", "")
    return table

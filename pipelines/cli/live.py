"""The live display of a run on a terminal: what is done, what runs in which stage, and how long it will take."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from diarize.errors import printable
from diarize.text import counted
from pipelines.batch.run import RunObserver
from pipelines.cli.console import clock, filled, open_console, wrapped
from pipelines.cli.run_report import COLOURS, STAGES, percent, progress_facts, reused_note, stopping_line, summary_line
from pipelines.inputs.jobs import Job
from pipelines.plan import Plan
from pipelines.results.fingerprint import file_state
from pipelines.results.outcomes import Outcome
from pipelines.results.progress import RunProgress

ROWS = 12  # running recordings that are shown
PER_SECOND = 4  # updates
BAR = 40  # columns of the bar
FACTS = 24 + 5 + 11 + 4 * 2  # columns that the stage, per cent and ETA of a recording need


class LiveObserver(RunObserver):
    """A table that is drawn again several times a second; each finished recording leaves a line above it."""

    def __init__(self, console: Console | None = None) -> None:
        self._progress: RunProgress | None = None
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
            lines += [_bar(self._progress, self._console.width), _running(self._progress, self._console.width)]
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
        sizes = {job.input.id: (file_state(job.input.path) or {"size": 0})["size"] for job in jobs}
        self._progress = RunProgress(len(jobs), sizes, plan.stages)

    def stage_started(self, id: str, stage: str) -> None:
        if self._progress is not None:
            self._progress.stage_started(id, stage)

    def stage_progressed(self, id: str, share: float, duration: float | None) -> None:
        if self._progress is not None:
            self._progress.stage_progressed(id, share, duration)

    def recording_finished(self, outcome: Outcome) -> None:
        if self._progress is not None:
            self._progress.recording_finished(outcome)
        if not outcome.reused:
            self._print(summary_line(outcome), COLOURS[outcome.status])

    def stopping(self, running: int) -> None:
        self._print(stopping_line(running), "yellow")

    def _print(self, text: str, style: str) -> None:
        self._console.print(Text(wrapped(text, self._console.width), style=style), soft_wrap=True)


def _bar(progress: RunProgress, width: int) -> Group:
    """How far the run is: a bar, and facts in as many lines as they need."""
    counts = [
        f"{progress.done} of {progress.recordings} done{reused_note(progress.reused)}",
        f"{progress.failed} failed" if progress.failed else "",
    ]
    share = progress.share_done
    facts = [*filter(None, counts), *progress_facts(progress.elapsed, progress.eta, progress.speed, share)]
    bar = Table.grid()  # a bar alone does not end its line
    bar.add_row(ProgressBar(1.0, share or 0.0, width=min(width, BAR)))
    return Group(bar, *(Text(line) for line in filled(facts, width)))


def _running(progress: RunProgress, width: int) -> Table:
    """A line for each running recording: its stage, how far that is, and when the recording is done."""
    running = list(progress.running.items())
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, max_width=max(width - FACTS, 10))  # a long name is cut: figures are not
    for least in (24, 5, 11):
        table.add_column(no_wrap=True, min_width=least)
    for id, recording in running[:ROWS]:
        facts = progress.facts(id)
        share = "" if facts["stage_share"] is None else f"{percent(facts['stage_share']):>5}"
        rest = "" if facts["eta"] is None else f"ETA {clock(facts['eta'])}"
        table.add_row(Text(printable(id)), STAGES.get(recording.stage, recording.stage), share, rest)
    if len(running) > ROWS:
        table.add_row(f"and {counted(len(running) - ROWS, 'recording')} more", "", "", "")
    return table

"""Observers of a run: one that prints lines, and several as one."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence

from pipelines.batch.run import RunObserver
from pipelines.cli.console import warn
from pipelines.cli.run_report import STAGES, stopping_line, summary_line
from pipelines.inputs.jobs import Job
from pipelines.plan import Plan
from pipelines.results.outcomes import Outcome


@contextlib.contextmanager
def open_observer(quiet: bool, verbose: bool) -> Iterator[RunObserver]:
    """The observer that fits the terminal: a live display, plain lines, or nothing."""
    if quiet:
        yield RunObserver()
    elif sys.stderr.isatty() and not verbose:
        from pipelines.cli.live import LiveObserver

        with LiveObserver() as observer:
            yield observer
    else:
        yield PlainObserver(verbose)


class PlainObserver(RunObserver):
    """Prints a line for each recording; with `verbose` a line for each stage. For logs and pipes."""

    def __init__(self, verbose: bool) -> None:
        self._verbose, self._jobs, self._finished = verbose, 0, 0
        self._fetching = ""

    def fetching(self, file: str, done: int, total: int | None) -> None:
        if file != self._fetching:
            self._fetching = file
            warn(f"fetching {file}" + (f" ({total / 1e6:.1f} MB)" if total else ""))

    def planned(self, plan: Plan, jobs: Sequence[Job]) -> None:
        self._jobs = len(jobs)
        for note in plan.notes:
            warn(f"note: {note}")

    def waiting(self, reason: str) -> None:
        warn(reason)

    def stage_started(self, id: str, stage: str) -> None:
        if self._verbose:
            warn(f"{id}: {STAGES.get(stage, stage)}")

    def recording_finished(self, outcome: Outcome) -> None:
        self._finished += 1
        if not outcome.reused:
            warn(f"[{self._finished}/{self._jobs}] {summary_line(outcome)}")

    def stopping(self, running: int) -> None:
        warn(stopping_line(running))


class CombinedObserver(RunObserver):
    """Passes the events of a run on to several observers."""

    def __init__(self, *observers: RunObserver) -> None:
        self._observers = observers

    def fetching(self, file: str, done: int, total: int | None) -> None:
        for each in self._observers:
            each.fetching(file, done, total)

    def waiting(self, reason: str) -> None:
        for each in self._observers:
            each.waiting(reason)

    def planned(self, plan: Plan, jobs: Sequence[Job]) -> None:
        for each in self._observers:
            each.planned(plan, jobs)

    def stage_started(self, id: str, stage: str) -> None:
        for each in self._observers:
            each.stage_started(id, stage)

    def recording_finished(self, outcome: Outcome) -> None:
        for each in self._observers:
            each.recording_finished(outcome)

    def stopping(self, running: int) -> None:
        for each in self._observers:
            each.stopping(running)

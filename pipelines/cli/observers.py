"""Observers of a run: one that prints lines, and several as one."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence

from diarize.errors import printable
from pipelines.batch.run import RunObserver
from pipelines.cli.console import warn
from pipelines.cli.run_report import STAGES, recording_facts, stopping_line, summary_line
from pipelines.inputs.jobs import Job
from pipelines.plan import Plan
from pipelines.results.fingerprint import file_state
from pipelines.results.outcomes import Outcome
from pipelines.results.progress import RunProgress

EVERY, VERBOSE_EVERY = 60.0, 10.0  # s between lines about running recordings


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
        self._plan_notes: tuple[str, ...] = ()  # printed once, though every recording has them
        self._progress = RunProgress(0, {})
        self._reported = time.monotonic()

    def fetching(self, file: str, done: int, total: int | None) -> None:
        if file != self._fetching:
            self._fetching = file
            warn(f"fetching {file}" + (f" ({total / 1e6:.1f} MB)" if total else ""))

    def planned(self, plan: Plan, jobs: Sequence[Job]) -> None:
        self._jobs = len(jobs)
        sizes = {job.input.id: (file_state(job.input.path) or {"size": 0})["size"] for job in jobs}
        self._progress = RunProgress(len(jobs), sizes, plan.stages)
        self._plan_notes = plan.notes
        for note in plan.notes:
            warn(f"note: {note}")

    def waiting(self, reason: str) -> None:
        warn(reason)

    def stage_started(self, id: str, stage: str) -> None:
        self._progress.stage_started(id, stage)
        if self._verbose:
            warn(f"{id}: {STAGES.get(stage, stage)}")

    def stage_progressed(self, id: str, share: float, duration: float | None) -> None:
        self._progress.stage_progressed(id, share, duration)
        if time.monotonic() - self._reported > (VERBOSE_EVERY if self._verbose else EVERY):
            self._reported = time.monotonic()
            for running, recording in self._progress.running.items():
                facts = [STAGES.get(recording.stage, recording.stage), *recording_facts(self._progress.facts(running))]
                warn(f"{running}: {', '.join(facts)}")

    def recording_finished(self, outcome: Outcome) -> None:
        self._progress.recording_finished(outcome)
        self._finished += 1
        if not outcome.reused:
            warn(f"[{self._finished}/{self._jobs}] {summary_line(outcome)}")
        if self._verbose and outcome.status == "done":
            for note in (note for note in outcome.notes if note not in self._plan_notes):
                warn(f"note: {printable(outcome.name)}: {printable(note)}")

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

    def stage_progressed(self, id: str, share: float, duration: float | None) -> None:
        for each in self._observers:
            each.stage_progressed(id, share, duration)

    def recording_finished(self, outcome: Outcome) -> None:
        for each in self._observers:
            each.recording_finished(outcome)

    def stopping(self, running: int) -> None:
        for each in self._observers:
            each.stopping(running)

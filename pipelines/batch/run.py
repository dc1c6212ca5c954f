"""A run under the lock of its folder: earlier results are reused or copied, and the rest is processed."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.batch import worker_pool
from pipelines.batch.lock import Lock
from pipelines.batch.retries import would_fail_again
from pipelines.inputs.jobs import Job
from pipelines.inputs.shards import Shard, file_name
from pipelines.plan import Plan
from pipelines.processes.interrupt import Interrupt
from pipelines.results import fingerprint, linking, outputs, resume, tables, voiceprints
from pipelines.results.journal import Failure, Journal, PreviousRun
from pipelines.results.outcomes import Outcome
from pipelines.results.resume import PendingWork, StoredResult


class RunObserver:
    """Is notified of the events of a run; this one ignores them."""

    def fetching(self, file: str, done: int, total: int | None) -> None: ...
    def waiting(self, reason: str) -> None: ...
    def planned(self, plan: Plan, jobs: Sequence[Job]) -> None: ...
    def stage_started(self, id: str, stage: str) -> None: ...
    def stage_progressed(self, id: str, share: float, duration: float | None) -> None: ...
    def recording_finished(self, outcome: Outcome) -> None: ...
    def stopping(self, running: int) -> None: ...


class Run:
    """One run, from the search for earlier results to the tables."""

    def __init__(
        self,
        out: Path,
        plan: Plan,
        jobs: Sequence[Job],
        previous: PreviousRun,
        interrupt: Interrupt,
        lock: Lock,
        observer: RunObserver,
        shard: Shard | None = None,
        keep_voices: bool = False,
    ) -> None:
        self._out, self._plan, self._jobs, self._previous = out, plan, jobs, previous
        self._interrupt, self._lock, self._observer, self._shard = interrupt, lock, observer, shard
        self._keep_voices = keep_voices
        self._failed: dict[str, tuple[Job, Failure]] = {}  # failures of the last run that are not tried again
        self._work = PendingWork()

    def execute(self, force: bool, retry: bool, head: Mapping[str, Any]) -> tuple[Outcome, ...]:
        """One row a recording, in their order. `force`: nothing is reused; `retry`: failed recordings are tried again.

        `head` is what run.json says beside the rows. Raises OutputError where the run's own files cannot be written.
        """
        failures = {} if force or retry else self._previous.failures
        self._find_work(force, failures)
        sizes = {id: state["size"] for id, state in self._work.states.items() if state is not None}
        settings = self._plan.config.run.model_dump(mode="json")
        stages = self._plan.stages
        circumstances = {"machine": outputs.describe_machine(), "run": settings}
        with Journal(self._out, self._shard, head, circumstances, self._jobs, sizes, failures, stages) as self._journal:
            with suppress(KeyboardInterrupt):
                self._report_earlier()
                waiting = list(self._copy_results())
                self._process([job for job in waiting if job.input.id not in self._failed])
            if not force:  # then results of this run and older ones look the same
                self._recover_unreported()
            return self._close()

    def _find_work(self, force: bool, failures: Mapping[str, Failure]) -> None:
        known = {id: (failure.state, failure.digest) for id, failure in failures.items()}
        find = partial(resume.find_work, self._out, self._jobs, known, force, stopping=lambda: self._interrupt.stopping)
        self._work = find()
        self._failed = dict(self._lasting(failures))
        # Voices are deleted once they are linked. To link again, their recordings must be processed again.
        unlinkable = {each.row.id for each in self._work.reused.values() if resume.restore(self._out, each) is None}
        if unlinkable and not self._links_are_valid():
            self._work = find(unusable=unlinkable)
            self._failed = dict(self._lasting(failures))

    def _lasting(self, failures: Mapping[str, Failure]) -> Iterator[tuple[str, tuple[Job, Failure]]]:
        """The failures of earlier runs that would happen again."""
        for job in self._work.waiting:
            failure = failures.get(job.input.id)
            if failure is not None and would_fail_again(job, failure, self._work.digests.get(job.input.id)):
                yield job.input.id, (job, failure)

    def _links_are_valid(self) -> bool:
        """Whether the recordings with unknown speakers are the same as when these were linked."""
        all_done = len(self._work.waiting) == len(self._failed) and not self._work.copies
        new = any(jobs for id, jobs in self._work.duplicates.items() if id in self._work.reused)
        return all_done and not new and resume.hash_strangers(self._reused()) == self._previous.linked

    def _reused(self) -> list[StoredResult]:
        reused = self._work.reused
        return [reused[job.input.id] for job in self._jobs if job.input.id in reused]

    def _report_earlier(self) -> None:
        for job in self._jobs:
            if (stored := self._work.reused.get(job.input.id)) is not None:
                resume.update_record(self._out, job, stored, self._work.states[job.input.id])
                self._finish(job, resume.restore(self._out, stored) or replace(stored.row, reused=True))
        for job, failure in self._failed.values():
            self._finish(job, failure.outcome, failure)

    def _copy_results(self) -> Iterator[Job]:
        """Copies results that exist under another id; yields the jobs that are to be processed."""
        yield from self._work.waiting
        for job, stored in self._work.copies:
            self._interrupt.check()
            original = resume.restore(self._out, stored)
            if original is None or not resume.is_intact(self._out / stored.row.id, stored):  # a copy took its place
                yield job
                continue
            row = resume.copy_result(self._out, job, original, self._plan.config, self._work)
            self._finish(job, replace(row, reused=row.status == "done"))

    def _process(self, waiting: Sequence[Job]) -> None:
        if not waiting:  # no worker is started, and no cluster is asked for one
            return
        by_id = {job.input.id: job for job in waiting}
        threading.Thread(target=tables.preload).start()
        workers = self._plan.config.run.workers
        rows = worker_pool.run(
            waiting, self._plan, self._out, workers, self._start_stage, self._interrupt, self._progress
        )
        with closing(rows):
            for row in rows:
                self._lock.check()
                before = self._previous.failures.get(row.id)
                crashes = before.tries if before is not None and before.row["status"] == "crashed" else 0
                job, state = by_id[row.id], self._work.states[row.id]
                self._finish(job, row, Failure.of(job, row, state, crashes + row.tries))
                if row.environment:  # the next recording would meet the same problem
                    return

    def _start_stage(self, id: str, stage: str) -> None:
        self._journal.stage_started(id, stage)
        self._observer.stage_started(id, stage)

    def _progress(self, id: str, share: float, duration: float | None) -> None:
        self._journal.stage_progressed(id, share, duration)
        self._observer.stage_progressed(id, share, duration)

    def _finish(self, job: Job, row: Outcome, failure: Failure | None = None) -> None:
        """Record a row, and copy its results to recordings of the same bytes."""
        self._journal.recording_finished(row, failure)
        self._observer.recording_finished(row)
        for duplicate in self._work.duplicates.get(job.input.id, []):
            self._interrupt.check()
            copy = resume.copy_result(self._out, duplicate, row, self._plan.config, self._work, job.input.name)
            self._finish(duplicate, replace(copy, reused=False))

    def _recover_unreported(self) -> None:
        """Record results that were complete on the disk when their worker was stopped, before it sent the row."""
        for job in self._jobs:
            if job.input.id in self._journal.rows or job.input.id not in self._journal.progress.running:
                continue
            stored = resume.read(self._out / job.input.id)
            if stored is None or stored.fingerprint != fingerprint.compute(job.settings_digest, stored.row.digest):
                continue
            row = resume.restore(self._out, stored)
            if row is not None and resume.is_intact(self._out / job.input.id, stored):
                self._journal.recording_finished(replace(row, reused=False))

    def _close(self) -> tuple[Outcome, ...]:
        """Link unknown speakers, and write the tables and the final report."""
        self._lock.check()
        rows = self._journal.rows
        reason = (
            "the run was interrupted"
            if self._interrupt.stopping
            else "not started: a fault of the machine ended the run"
        )
        all_rows = tuple(
            rows.get(job.input.id) or Outcome(job.input.id, job.input.name, "interrupted", reason=reason, tries=0)
            for job in self._jobs
        )
        complete = not any(row.status == "interrupted" for row in all_rows)
        linked = ""
        if self._shard is None:  # the parts of a run are linked when they are merged
            all_rows, linked = self._link(all_rows, complete)
        transcripts = (outputs.read_corrected(self._out / row.id) for row in all_rows if row.status == "done")
        tables.write(self._out, transcripts, partial(file_name, shard=self._shard))
        self._journal.close(all_rows, "finished" if complete else "interrupted", linked)
        return all_rows

    def _link(self, rows: tuple[Outcome, ...], complete: bool) -> tuple[tuple[Outcome, ...], str]:
        """The rows with linked speakers, and the digest of what was compared.

        Voices are deleted when all recordings were compared, unless they are wanted; an incomplete run leaves them for
        the next one.
        """
        with_strangers = [row for row in rows if row.strangers is not None]
        already_linked = any(
            each.strangers and self._journal.rows[each.row.id].strangers is None for each in self._reused()
        )
        people = self._plan.people
        rows = linking.link(self._out, rows, None if people is None else people.calibration, self._plan.config)
        if already_linked:
            return rows, self._previous.linked
        if not complete or not with_strangers:
            return rows, ""
        linked = resume.hash_strangers(filter(None, (resume.read(self._out / row.id) for row in rows)))
        for row in with_strangers if not self._keep_voices else ():
            voiceprints.delete(self._out / row.id)
        return rows, linked

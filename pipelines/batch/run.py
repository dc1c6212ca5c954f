"""A run under the lock of its folder: what is done is kept, what is there is copied, the rest is done."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from pipelines.batch import worker_pool
from pipelines.batch.lock import Lock
from pipelines.inputs.jobs import Job
from pipelines.inputs.shards import Shard, file
from pipelines.plan import Plan
from pipelines.processes.interrupt import Interrupt
from pipelines.results import fingerprint, journal, linking, outputs, resume, tables, voiceprints
from pipelines.results.journal import Failure, Former, Journal
from pipelines.results.outcomes import Outcome
from pipelines.results.resume import Finished, Remains

TRIES = 3  # at a recording that ends its worker, over all runs of one set of settings


class Watcher(Protocol):
    """What is told of a run while it goes on."""

    def fetching(self, file: str, done: int, total: int | None) -> None: ...
    def waiting(self, why: str) -> None: ...
    def planned(self, plan: Plan, jobs: Sequence[Job]) -> None: ...
    def entered(self, id: str, stage: str) -> None: ...
    def finished(self, outcome: Outcome) -> None: ...
    def ending(self, running: int) -> None: ...


class Run:
    """One run, from what is there already to the tables."""

    def __init__(
        self,
        out: Path,
        chosen: Plan,
        jobs: Sequence[Job],
        former: Former,
        interrupt: Interrupt,
        lock: Lock,
        watcher: Watcher,
        shard: Shard | None = None,
    ) -> None:
        self._out, self._plan, self._jobs, self._former = out, chosen, jobs, former
        self._interrupt, self._lock, self._watcher, self._shard = interrupt, lock, watcher, shard
        self._failed: dict[str, tuple[Job, Failure]] = {}  # rows of the last run that stand
        self._remains = Remains()

    def __call__(self, force: bool, retry: bool, head: Mapping[str, Any]) -> tuple[Outcome, ...]:
        """One row a recording, in their order. `force`: nothing is kept; `retry`: no failure is.

        `head` is what run.json says beside the rows. Raises OutputError where the run's own files cannot be written.
        """
        self._look(force, retry)
        sizes = {id: seen["size"] for id, seen in self._remains.looks.items() if seen is not None}
        config = self._plan.config.run
        circumstances = {"machine": outputs.machine(), "run": config.model_dump(mode="json")}
        failures = {} if force or retry else self._former.failures
        kept = Journal(self._out, self._shard, head, circumstances, self._jobs, sizes, failures)
        with kept as self._journal:
            with suppress(KeyboardInterrupt):
                self._keep()
                waiting = list(self._copied())
                self._process([job for job in waiting if job.input.id not in self._failed])
            if not force:  # of what was there before nobody could tell
                self._committed()
            return self._close()

    def _look(self, force: bool, retry: bool) -> None:
        failures = {} if force or retry else self._former.failures
        known = {id: (each.looks, each.digest) for id, each in failures.items()}
        look = partial(resume.look, self._out, self._jobs, known, force, ending=lambda: self._interrupt.stopping)
        self._remains = look()
        self._failed = dict(self._standing(failures))
        silent = [each for each in self._remains.kept.values() if resume.recall(self._out, each) is None]
        if silent and not self._in_old_company():
            self._remains = look(unless={each.row.id for each in silent})
            self._failed = dict(self._standing(failures))

    def _standing(self, failures: Mapping[str, Failure]) -> Iterator[tuple[str, tuple[Job, Failure]]]:
        """The failures that would happen again: of the recording's own bytes, or after `TRIES` crashes."""
        for job in self._remains.waiting:
            before = failures.get(job.input.id)
            same = before is not None and (before.name, before.recipe) == (job.input.name, job.recipe)
            if before is None or not same or before.digest != self._remains.digests.get(job.input.id):
                continue
            row = before.outcome
            if (row.status == "failed" and row.stage == "read") or (row.status == "crashed" and before.tries >= TRIES):
                yield job.input.id, (job, before)

    def _in_old_company(self) -> bool:
        """Whether those with unknown speakers are the same as when they were linked, so that all are called right."""
        done = len(self._remains.waiting) == len(self._failed) and not self._remains.copies
        new = any(twins for id, twins in self._remains.twins.items() if id in self._remains.kept)
        return done and not new and resume.company(self._kept()) == self._former.linked

    def _kept(self) -> list[Finished]:
        kept = self._remains.kept
        return [kept[job.input.id] for job in self._jobs if job.input.id in kept]

    def _keep(self) -> None:
        for job in self._jobs:
            if (there := self._remains.kept.get(job.input.id)) is not None:
                resume.refresh(self._out, job, there, self._remains.looks[job.input.id])
                self._done(job, resume.recall(self._out, there) or replace(there.row, kept=True))
        for job, failure in self._failed.values():
            self._done(job, failure.outcome, failure)

    def _copied(self) -> Iterator[Job]:
        """Copies what is there under another name; gives those that are to be processed."""
        yield from self._remains.waiting
        for job, there in self._remains.copies:
            self._interrupt.check()
            source = resume.recall(self._out, there)
            if source is None or not resume.whole(self._out / there.row.id, there):  # a copy took its place
                yield job
                continue
            row = resume.again(self._out, job, source, self._plan, self._remains)
            self._done(job, replace(row, kept=row.status == "done"))

    def _process(self, waiting: Sequence[Job]) -> None:
        if not waiting:  # no worker is begun, and no cluster asked for one
            return
        by_id = {job.input.id: job for job in waiting}
        threading.Thread(target=tables.load).start()
        workers = self._plan.config.run.workers
        begun = worker_pool.run(waiting, self._plan, self._out, workers, self._entered, self._interrupt)
        with closing(begun):
            for row in begun:
                self._lock.check()
                before = self._former.failures.get(row.id)
                crashes = before.tries if before is not None and before.row["status"] == "crashed" else 0
                job = by_id[row.id]
                self._done(job, row, journal.failure(job, row, self._remains.looks[row.id], crashes + row.tries))
                if row.environment:  # the next recording would meet the same
                    return

    def _entered(self, id: str, stage: str) -> None:
        self._journal.entered(id, stage)
        self._watcher.entered(id, stage)

    def _done(self, job: Job, row: Outcome, failure: Failure | None = None) -> None:
        """Takes note of a row, and does the twins of its recording."""
        self._journal.finished(row, failure)
        self._watcher.finished(row)
        for twin in self._remains.twins.get(job.input.id, []):
            self._interrupt.check()
            copy = resume.again(self._out, twin, row, self._plan, self._remains, twin=job.input.name)
            self._done(twin, replace(copy, kept=False))

    def _committed(self) -> None:
        """Take note of what was whole on the disk when its worker was stopped, before it could say so."""
        for job in self._jobs:
            if job.input.id in self._journal.rows or job.input.id not in self._journal.progress.running:
                continue
            there = resume.read(self._out / job.input.id)
            if there is None or there.fingerprint != fingerprint.of(job.recipe, there.row.digest):
                continue
            row = resume.recall(self._out, there)
            if row is not None and resume.whole(self._out / job.input.id, there):
                self._journal.finished(replace(row, kept=False))

    def _close(self) -> tuple[Outcome, ...]:
        self._lock.check()
        rows, interrupted = self._journal.rows, self._interrupt.stopping
        reason = "the run was interrupted" if interrupted else "not begun: the run was ended by a fault of the machine"
        found = [
            rows.get(job.input.id) or Outcome(job.input.id, job.input.name, "interrupted", reason=reason, tries=0)
            for job in self._jobs
        ]
        complete = not any(row.status == "interrupted" for row in found)
        linked = ""
        if self._shard is None:
            named = [row for row in found if row.strangers is not None]
            silent = any(each.strangers and rows[each.row.id].strangers is None for each in self._kept())
            found = list(linking.link(self._out, found, self._plan))
            if silent:
                linked = self._former.linked
            elif complete and named:
                linked = resume.company(filter(None, (resume.read(self._out / row.id) for row in found)))
                for row in named:
                    voiceprints.forget(self._out / row.id)
        done = (outputs.read(self._out / row.id) for row in found if row.status == "done")
        tables.write(self._out, done, partial(file, shard=self._shard))
        self._journal.close(found, "finished" if complete else "interrupted", linked)
        return tuple(found)

"""The state of a run on disk, at any time: `run.json`, for everybody, and what the next run must know.

`run.json` is written again while the run goes on, at most once a second. At the end it is the same as that of an
undisturbed run; times, tries and the number of reused results are in `provenance.json`.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from diarize import files
from diarize.errors import OutputError
from pipelines.inputs.jobs import Job
from pipelines.inputs.shards import Shard, file_name
from pipelines.results import RUN, fingerprint, outputs
from pipelines.results.fingerprint import FileState
from pipelines.results.outcomes import Outcome
from pipelines.results.progress import RunProgress

SCHEMA = "diarize-run/1"
EVERY = 1.0  # s at least between two states on the disk
SHARE = 20  # times what the last write took: a very long run spends a twentieth of a core on it

State = Literal["running", "finished", "interrupted"]


@dataclass(frozen=True)
class Failure:
    """A recording that could not be processed, for the next run."""

    name: str
    state: FileState | None
    digest: str  # sha256 of the file; "" where it cannot be read, or changed meanwhile
    settings_digest: str
    row: Mapping[str, Any]
    tries: int

    @classmethod
    def of(cls, job: Job, row: Outcome, before: FileState | None, tries: int) -> Failure | None:
        """What the next run must know of a row that is not done; None where it will simply try again.

        The file is hashed; the digest counts only where its state is the one `before` it was processed.
        """
        if row.status not in ("failed", "crashed") or row.environment or row.transient:
            return None
        state = fingerprint.file_state(job.input.path) if job.input.problem is None else None
        if state is None or state != before or not (digest := fingerprint.sha256_or_empty(job.input.path)):
            return None
        return cls(job.input.name, fingerprint.if_resting(state), digest, job.settings_digest, row.as_row(), tries)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Failure:
        """What `as_dict` made. Raises TypeError, KeyError and AttributeError where it did not."""
        failure = cls(*(fields[key] for key in ("name", "looks", "digest", "recipe", "row", "tries")))
        Outcome.from_row(failure.row)
        return failure

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as `provenance.json` has it."""
        of_file = {"name": self.name, "looks": self.state, "digest": self.digest}
        return {**of_file, "recipe": self.settings_digest, "row": self.row, "tries": self.tries}

    @property
    def outcome(self) -> Outcome:
        return Outcome.from_row(self.row, tries=self.tries, reused=True)


@dataclass(frozen=True)
class PreviousRun:
    """What the last run on a folder recorded of itself."""

    report: Mapping[str, Any]  # its run.json; {} where there is none
    failures: Mapping[str, Failure]
    linked: str  # which unknown speakers it compared, as a digest

    @property
    def ended(self) -> bool:
        """Whether it came to its end."""
        return self.report.get("state") in ("finished", "interrupted")


def read_previous(out: Path, shard: Shard | None) -> PreviousRun:
    """The last run's record; empty where it left nothing that can be read."""
    report, provenance = read_json(out / file_name(RUN, shard)), read_json(out / file_name(outputs.PROVENANCE, shard))
    try:
        failures = {id: Failure.from_dict(fields) for id, fields in provenance.get("failures", {}).items()}
    except (TypeError, KeyError, AttributeError):
        failures = {}
    return PreviousRun(report, failures, str(provenance.get("linked", "")))


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; {} where there is none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


class Journal:
    """Records what happens in a run, while its block lasts; a thread of its own writes it to the disk."""

    def __init__(
        self,
        out: Path,
        shard: Shard | None,
        head: Mapping[str, Any],
        circumstances: Mapping[str, Any],
        jobs: Sequence[Job],
        sizes: Mapping[str, int],
        failures: Mapping[str, Failure],
        stages: Sequence[str] = (),
    ) -> None:
        """`head` is what run.json says of the run beside its rows, `sizes` id -> bytes of the recording.

        `failures` are those of the last run; each counts until its recording is processed. `stages` that a recording
        goes through, as `Plan.stages`.
        """
        self._run, self._provenance = out / file_name(RUN, shard), out / file_name(outputs.PROVENANCE, shard)
        self._head, self._circumstances = head, circumstances
        self._ids = [job.input.id for job in jobs]
        self.rows: dict[str, Outcome] = {}
        self._texts: dict[str, str] = {}  # the same as JSON, so that a write is as quick at the end as at the start
        self.failures = {id: failures[id] for id in self._ids if id in failures}
        self.progress = RunProgress(len(jobs), sizes, stages)
        self._started = datetime.now(UTC)
        self._changed, self._lock, self._over = True, threading.Lock(), threading.Event()
        self._writer = threading.Thread(target=self._save_regularly, daemon=True)

    def __enter__(self) -> Journal:
        self._save("running")
        self._writer.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._writer.join()

    def stage_started(self, id: str, stage: str) -> None:
        """A recording is in a new stage."""
        with self._lock:
            self.progress.stage_started(id, stage)
            self._changed = True

    def stage_progressed(self, id: str, share: float, duration: float | None) -> None:
        """A share of the present stage of a recording is done; `duration` s of sound, if that is known."""
        with self._lock:
            self.progress.stage_progressed(id, share, duration)
            self._changed = True

    def recording_finished(self, row: Outcome, failure: Failure | None = None) -> None:
        """A recording has its row; `failure` is what the next run must know of it."""
        text = _row_text(row)
        with self._lock:
            self.rows[row.id], self._texts[row.id] = row, text
            self.failures.pop(row.id, None)
            if failure is not None:
                self.failures[row.id] = failure
            self.progress.recording_finished(row)
            self._changed = True

    def close(self, rows: Iterable[Outcome], state: State, linked: str) -> None:
        """Write the final state. Raises OutputError."""
        self.__exit__()
        self.rows = {row.id: row for row in rows}
        self._texts = {id: _row_text(row) for id, row in self.rows.items()}
        self._save(state, linked)

    def _save_regularly(self) -> None:
        pause = EVERY
        while not self._over.wait(pause):
            if self._changed:
                began = time.monotonic()
                with contextlib.suppress(OutputError):  # writing results meets the same error, and reports it
                    self._save("running")
                pause = max(EVERY, SHARE * (time.monotonic() - began))

    def _save(self, state: State, linked: str = "") -> None:
        # Under the lock only a copy of the state: writing takes long, and events must not wait for it.
        with self._lock:
            self._changed = False
            texts = [self._texts[id] for id in self._ids if id in self._texts]
            reused = self.progress.reused
            progress = {} if state != "running" else {"progress": self.progress.as_dict()}
            failures = {id: failure.as_dict() for id, failure in self.failures.items()}
        now = datetime.now(UTC)
        times = {
            "started": self._started.isoformat(timespec="seconds"),
            "finished" if not progress else "seen": now.isoformat(timespec="seconds"),
            "seconds": round(self.progress.elapsed, 3),
            "kept": reused,
        }
        provenance = {**times, **self._circumstances, "failures": failures, "linked": linked}
        files.write(self._provenance, outputs.as_json(provenance))
        files.write(self._run, _run_text({"schema": SCHEMA, "state": state, **self._head}, texts, progress))


def _row_text(row: Outcome) -> str:
    """A row as it stands in run.json."""
    return json.dumps(row.as_row(), indent=1).replace("\n", "\n  ")


def _run_text(head: Mapping[str, Any], rows: Sequence[str], tail: Mapping[str, Any]) -> str:
    """The text of run.json: `head`, rows (as JSON) under `recordings`, and `tail`."""
    before = outputs.as_json({**head, "recordings": []}).removesuffix("[]\n}\n")
    listed = "[\n  " + ",\n  ".join(rows) + "\n ]" if rows else "[]"
    after = outputs.as_json(tail).removeprefix("{\n") if tail else "}\n"
    return f"{before}{listed}{',' if tail else ''}\n{after}"


def write_merged(out: Path, part: Mapping[str, Any], rows: Iterable[Outcome], joined: Mapping[str, str]) -> None:
    """Write the run.json of a run from its parts: the head of one `part`, and all rows.

    `joined` is name -> sha256 of the parts' provenance files. Raises OutputError.
    """
    of_part = ("schema", "state", "recordings", "shard", "inputs", "positions", "voices")
    head = {key: value for key, value in part.items() if key not in of_part}
    provenance = {
        "merged": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": outputs.describe_machine(),
        "failures": {},
        "joined": joined,
    }
    files.write(out / RUN, _run_text({"schema": SCHEMA, "state": "finished", **head}, [*map(_row_text, rows)], {}))
    files.write(out / outputs.PROVENANCE, outputs.as_json(provenance))

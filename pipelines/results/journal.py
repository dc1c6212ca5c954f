"""How a run stands, on the disk at any time: `run.json`, which anybody may read, and what the next run must know.

`run.json` is rewritten while the run goes on, at most once a second. At its end it holds nothing that differs from that
of an undisturbed run; times, tries and what was kept are in `provenance.json`.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from diarize import files
from diarize.errors import OutputError
from pipelines import results
from pipelines.inputs.jobs import Job
from pipelines.inputs.shards import Shard, file
from pipelines.results import fingerprint, outputs
from pipelines.results.fingerprint import Looks
from pipelines.results.outcomes import Outcome, plain

SCHEMA = "diarize-run/1"
RUN = results.RUN
EVERY = 1.0  # s between two states on the disk, and at least
SHARE = 20  # times what the last one took to write: a very long run spends a twentieth of a core on it

State = Literal["running", "finished", "interrupted"]


@dataclass
class Progress:
    """How far a run is. Lengths are known of what is done only; what is left is judged by the bytes of the files."""

    recordings: int
    bytes: int  # of all files; those whose results were there already leave
    done: int = 0
    kept: int = 0
    failed: int = 0
    bytes_done: int = 0
    audio: float = 0.0  # s of sound that were processed
    began: float = field(default_factory=time.monotonic)
    running: dict[str, tuple[str, float, datetime]] = field(default_factory=dict)  # id -> stage, since when

    @property
    def elapsed(self) -> float:
        """s since the run began."""
        return time.monotonic() - self.began

    @property
    def speed(self) -> float:
        """Hours of sound an hour."""
        return self.audio / self.elapsed if self.elapsed > 0 else 0.0

    @property
    def eta(self) -> float | None:
        """s until all is done, as it goes now; None: nothing is done yet."""
        return self.elapsed * (self.bytes - self.bytes_done) / self.bytes_done if self.bytes_done else None

    def entered(self, id: str, stage: str) -> None:
        self.running[id] = (stage, time.monotonic(), datetime.now(UTC))

    def finished(self, row: Outcome, size: int) -> None:
        self.running.pop(row.id, None)
        self.done += row.status == "done"
        self.failed += row.status != "done"
        self.kept += row.kept
        if row.kept:
            self.bytes -= size
        else:
            self.bytes_done += size
            self.audio += row.duration or 0.0

    def facts(self) -> dict[str, Any]:
        """The same as plain data, for another process."""
        return {
            "recordings": self.recordings,
            "done": self.done,
            "kept": self.kept,
            "failed": self.failed,
            "seconds": round(self.elapsed, 1),
            "speed": round(self.speed, 2),
            "eta": None if self.eta is None else round(self.eta),
            "running": [
                {"id": id, "stage": stage, "since": since.isoformat(timespec="seconds")}
                for id, (stage, _, since) in self.running.items()
            ],
        }


@dataclass(frozen=True)
class Failure:
    """What is known of a recording that could not be processed, and of its file."""

    name: str
    looks: Looks | None
    digest: str  # sha256 of the file; "" where it cannot be read, or changed meanwhile
    recipe: str
    row: Mapping[str, Any]
    tries: int

    @property
    def outcome(self) -> Outcome:
        return Outcome(**{**self.row, "notes": tuple(self.row["notes"])}, tries=self.tries, kept=True)


@dataclass(frozen=True)
class Former:
    """What the last run on a folder left behind of itself."""

    run: Mapping[str, Any]  # its run.json; {} where there is none
    failures: Mapping[str, Failure]
    linked: str  # which unknown speakers it compared, as a digest

    @property
    def clean(self) -> bool:
        """Whether it came to its end."""
        return self.run.get("state") in ("finished", "interrupted")


def former(out: Path, shard: Shard | None) -> Former:
    """What the last run left; empty where it left nothing that can be read."""
    run, circumstances = read_json(out / file(RUN, shard)), read_json(out / file(outputs.PROVENANCE, shard))
    try:
        failures = {id: Failure(**each) for id, each in circumstances.get("failures", {}).items()}
        for each in failures.values():
            _ = each.outcome
    except (TypeError, KeyError, AttributeError):
        failures = {}
    return Former(run, failures, str(circumstances.get("linked", "")))


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; {} where there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


class Journal:
    """Takes note of what happens in a run, while its block lasts; a thread of its own brings it to the disk."""

    def __init__(
        self,
        out: Path,
        shard: Shard | None,
        head: Mapping[str, Any],
        circumstances: Mapping[str, Any],
        jobs: Sequence[Job],
        sizes: Mapping[str, int],
        failures: Mapping[str, Failure],
    ) -> None:
        """`head` is what run.json says of the run beside its rows, `sizes` id -> bytes of the recording.

        `failures` are those of the last run, known until the recordings are done with.
        """
        self._run, self._told = out / file(RUN, shard), out / file(outputs.PROVENANCE, shard)
        self._head, self._circumstances = head, circumstances
        self._jobs, self._sizes = {job.input.id: job for job in jobs}, sizes
        self.rows: dict[str, Outcome] = {}
        self._texts: dict[str, str] = {}  # the same as JSON, so that a state is written as quickly late as early
        self.failures = {id: each for id, each in failures.items() if id in self._jobs}
        self.progress = Progress(len(jobs), sum(sizes.values()))
        self._started = datetime.now(UTC)
        self._changed, self._lock, self._over = True, threading.Lock(), threading.Event()
        self._writer = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Journal:
        self._save("running")
        self._writer.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._writer.join()

    def entered(self, id: str, stage: str) -> None:
        """A recording is in a new stage."""
        with self._lock:
            self.progress.entered(id, stage)
            self._changed = True

    def finished(self, row: Outcome, failure: Failure | None = None) -> None:
        """A recording is done with; `failure` is what the next run must know of it."""
        text = _text(row)
        with self._lock:
            self.rows[row.id], self._texts[row.id] = row, text
            self.failures.pop(row.id, None)
            if failure is not None:
                self.failures[row.id] = failure
            self.progress.finished(row, self._sizes.get(row.id, 0))
            self._changed = True

    def close(self, rows: Iterable[Outcome], state: State, linked: str) -> None:
        """The last word. Raises OutputError."""
        self.__exit__()
        self.rows = {row.id: row for row in rows}
        self._texts = {id: _text(row) for id, row in self.rows.items()}
        self._save(state, linked)

    def _follow(self) -> None:
        pause = EVERY
        while not self._over.wait(pause):
            if self._changed:
                began = time.monotonic()
                with contextlib.suppress(OutputError):  # what matters more will meet the same
                    self._save("running")
                pause = max(EVERY, SHARE * (time.monotonic() - began))

    def _save(self, state: State, linked: str = "") -> None:
        with self._lock:
            self._changed = False
            texts = [self._texts[id] for id in self._jobs if id in self._texts]
            kept = sum(row.kept for row in self.rows.values())
            going = {} if state != "running" else {"progress": self.progress.facts()}
            failures = {id: asdict(each) for id, each in self.failures.items()}
        now = datetime.now(UTC)
        times = {
            "started": self._started.isoformat(timespec="seconds"),
            "finished" if not going else "seen": now.isoformat(timespec="seconds"),
            "seconds": round(self.progress.elapsed, 3),
            "kept": kept,
        }
        told = {**times, **self._circumstances, "failures": failures, "linked": linked}
        files.write(self._told, outputs.as_json(told))
        files.write(self._run, _run_json({"schema": SCHEMA, "state": state, **self._head}, texts, going))


def _text(row: Outcome) -> str:
    """A row as it stands in run.json."""
    return json.dumps(plain(row), indent=1).replace("\n", "\n  ")


def _run_json(head: Mapping[str, Any], rows: Sequence[str], more: Mapping[str, Any]) -> str:
    """`head`, rows as JSON under `recordings`, and `more`."""
    before = outputs.as_json({**head, "recordings": []}).removesuffix("[]\n}\n")
    listed = "[\n  " + ",\n  ".join(rows) + "\n ]" if rows else "[]"
    after = outputs.as_json(more).removeprefix("{\n") if more else "}\n"
    return f"{before}{listed}{',' if more else ''}\n{after}"


def write_whole(out: Path, part: Mapping[str, Any], rows: Iterable[Outcome], joined: Mapping[str, str]) -> None:
    """The run.json of a run whose parts are like `part`; what they tell lay in the files `joined`, name -> sha256.

    Raises OutputError.
    """
    own = ("schema", "state", "recordings", "shard", "inputs", "positions", "voices")
    head = {key: value for key, value in part.items() if key not in own}
    told = {
        "merged": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": outputs.machine(),
        "failures": {},
        "joined": joined,
    }
    files.write(out / RUN, _run_json({"schema": SCHEMA, "state": "finished", **head}, [*map(_text, rows)], {}))
    files.write(out / outputs.PROVENANCE, outputs.as_json(told))


def failure(job: Job, row: Outcome, before: Looks | None, tries: int) -> Failure | None:
    """What the next run must know of a row that is not done; None where it will simply try again.

    The file is read for its digest, which counts only where the file looks as it did before it was processed.
    """
    if row.status not in ("failed", "crashed") or row.environment or row.passing:
        return None
    seen = fingerprint.looks(job.input.path) if job.input.problem is None else None
    if seen is None or seen != before:
        return None
    try:
        digest = files.sha256(job.input.path)
    except OSError:
        return None
    return Failure(job.input.name, fingerprint.settled(seen), digest, job.recipe, plain(row), tries)

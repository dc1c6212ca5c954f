"""How the runs on a folder of results stand, seen from outside: from their run.json and their locks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from diarize.errors import ConfigError
from pipelines import results
from pipelines.batch import lock
from pipelines.batch.lock import Holder
from pipelines.inputs import shards
from pipelines.results import journal

Life = Literal["running", "finished", "interrupted", "killed"]


@dataclass(frozen=True)
class Standing:
    """One run, or part of one."""

    part: str  # "" of a whole run, else shard-1-of-4
    life: Life
    holder: Holder | None  # who is at work
    counts: Mapping[str, int]  # done, failed, crashed, interrupted
    waiting: int  # recordings that nobody has begun
    progress: Mapping[str, Any]  # while it runs, or where it was killed: what journal.Progress tells


def look(out: Path) -> tuple[Standing, ...]:
    """How each run on `out` stands; of parts, each part.

    Raises ConfigError where there never was any, and for a report that is none.
    """
    holders = lock.running(out)
    found = []
    for path, shard in shards.found(out, results.RUN):
        part = shard.name if shard is not None else ""
        holder = holders.pop(f".lock.{part}" if part else ".lock", None)
        try:
            found.append(_standing(part, journal.read_json(path), holder))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            cure = "Run the same command again."
            raise ConfigError("status", str(path), "is no report of a run", cure) from error
    for locked, holder in holders.items():  # begun, and still looking at what is there
        part = locked.removeprefix(".lock").lstrip(".")
        found.append(Standing(part, "running", holder, {}, 0, {}))
    if not found:
        raise ConfigError("status", str(out), "no run has left anything there", "Name the folder that --out named.")
    return tuple(found)


def _standing(part: str, run: Mapping[str, Any], holder: Holder | None) -> Standing:
    """Raises KeyError, TypeError, ValueError, AttributeError where `run` is no report."""
    counts = Counter(str(row["status"]) for row in run["recordings"])
    state: Life = run["state"]
    if state not in ("running", "finished", "interrupted"):
        raise ValueError(f"a run that is {state!r}")
    progress = _progress(run["progress"]) if state == "running" else {}
    life: Life = "running" if holder is not None else "killed" if state == "running" else state
    rows = counts.total()
    return Standing(
        part,
        life,
        holder,
        dict(counts),
        progress.get("recordings", rows) - rows - len(progress.get("running", ())),
        progress,
    )


def _progress(told: Mapping[str, Any]) -> dict[str, Any]:
    """What `journal.Progress` told, as what it is."""
    eta = told["eta"]
    return {
        **{key: int(told[key]) for key in ("recordings", "done", "kept", "failed")},
        **{key: float(told[key]) for key in ("seconds", "speed")},
        "eta": None if eta is None else int(eta),
        "running": [{key: str(each[key]) for key in ("id", "stage", "since")} for each in told["running"]],
    }

"""The state of the runs on a folder of results, from their run.json and their locks."""

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

SHARES = ("stage_share", "audio_done", "audio_seconds", "share", "eta")  # of `RunProgress.facts`
RunState = Literal["running", "finished", "interrupted", "killed"]


@dataclass(frozen=True)
class RunStatus:
    """The state of one run, or of a part of one."""

    part: str  # "" of a whole run, else shard-1-of-4
    life: RunState
    holder: Holder | None  # the process that runs it
    counts: Mapping[str, int]  # done, failed, crashed, interrupted
    waiting: int  # recordings that have not started
    progress: Mapping[str, Any]  # while it runs, or when it was killed: `RunProgress.as_dict`


def read(out: Path) -> tuple[RunStatus, ...]:
    """The state of each run on `out`, and of each part of a run.

    Raises ConfigError where there was no run, and for a file that is no report of a run.
    """
    holders = lock.running(out)
    statuses = []
    for path, shard in shards.find_files(out, results.RUN):
        part = shard.name if shard is not None else ""
        holder = holders.pop(f".lock.{part}" if part else ".lock", None)
        try:
            statuses.append(_status(part, journal.read_json(path), holder))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            cure = "Rerun the command that wrote it."
            raise ConfigError("status", str(path), "is no report of a run", cure) from error
    for locked, holder in holders.items():  # started, and still looking for earlier results
        part = locked.removeprefix(".lock").lstrip(".")
        statuses.append(RunStatus(part, "running", holder, {}, 0, {}))
    if not statuses:
        raise ConfigError("status", str(out), "there are no results of a run", "Name the --out folder of a run.")
    return tuple(statuses)


def _status(part: str, run: Mapping[str, Any], holder: Holder | None) -> RunStatus:
    """Raises KeyError, TypeError, ValueError, AttributeError where `run` is no report."""
    counts = Counter(str(row["status"]) for row in run["recordings"])
    state: RunState = run["state"]
    if state not in ("running", "finished", "interrupted"):
        raise ValueError(f"a run that is {state!r}")
    progress = _progress(run["progress"]) if state == "running" else {}
    life: RunState = "running" if holder is not None else "killed" if state == "running" else state
    rows = counts.total()
    return RunStatus(
        part,
        life,
        holder,
        dict(counts),
        progress.get("recordings", rows) - rows - len(progress.get("running", ())),
        progress,
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _progress(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What `RunProgress.as_dict` made, with the right types."""
    eta = fields["eta"]
    return {
        **{key: int(fields[key]) for key in ("recordings", "done", "kept", "failed")},
        **{key: float(fields[key]) for key in ("seconds", "speed")},
        "eta": None if eta is None else int(eta),
        "share": _number(fields.get("share")),
        "running": [
            {key: str(each[key]) for key in ("id", "stage", "since")} | {key: _number(each.get(key)) for key in SHARES}
            for each in fields["running"]
        ],
    }

"""How the runs on a folder of results stand, seen from outside: from their run.json and their locks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from diarize.errors import ConfigError
from pipelines import journal, lock
from pipelines.lock import Holder

_RUN = re.compile(r"run(\.shard-[0-9]+-of-[0-9]+)?\.json")

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
    """How each run on `out` stands; of parts, each part. Raises ConfigError where there never was any."""
    holders = lock.running(out)
    found = []
    for path in sorted(out.glob("run*.json")):
        name = _RUN.fullmatch(path.name)
        if name is None:
            continue
        part = (name[1] or "").lstrip(".")
        holder = holders.pop(f".lock.{part}" if part else ".lock", None)
        found.append(_standing(part, journal.read_json(path), holder))
    for locked, holder in holders.items():  # begun, and still looking at what is there
        part = locked.removeprefix(".lock").lstrip(".")
        found.append(Standing(part, "running", holder, {}, 0, {}))
    if not found:
        raise ConfigError("status", str(out), "no run has left anything there", "Name the folder that --out named.")
    return tuple(found)


def _standing(part: str, run: Mapping[str, Any], holder: Holder | None) -> Standing:
    rows = run.get("recordings", [])
    counts = Counter(str(row["status"]) for row in rows)
    progress = run.get("progress", {})
    state = run.get("state", "finished")
    life: Life = state
    if holder is not None:
        life = "running"
    elif state == "running":
        life = "killed"
    total = int(progress.get("recordings", len(rows)))
    return Standing(part, life, holder, counts, total - len(rows) - len(progress.get("running", [])), progress)

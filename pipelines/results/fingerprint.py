"""What decides a recording's result, as one digest: recordings of one fingerprint have one result, their names apart.

recipe      = sha256 of: settings without [run], backends, digests of their models, people looked for, versions (this
              product's with a digest of its code), the recording's own clustering settings, digests of what was given
fingerprint = sha256 of: recipe, sha256 of the recording's file
"""

from __future__ import annotations

import hashlib
import json
import stat
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from diarize import files
from diarize.config import ClusterConfig, Section
from diarize.errors import ConfigError
from diarize.models.store import Store
from pipelines.plan import Choice, Plan
from pipelines.versions import versions

SETTLED = 2_000_000_000  # ns that a file must have been at rest: a change within one tick of its times goes unseen
Looks = dict[str, int]


def common(plan: Plan, store: Store) -> str:
    """Hex sha256 of what all recordings of a run share. Raises ConfigError where a model file cannot be read.

    Models of the store are told by their digests, other model files by their content, somebody's own backend by the
    file it is in. The place of any of them does not count.
    """
    own = [store.folder / name for name in plan.models]

    def plain(value: Any) -> Any:
        if isinstance(value, Section):
            return value.model_dump(mode="json")
        if isinstance(value, Path):
            return "" if any(value.is_relative_to(place) for place in own) else _content(value)
        return value if isinstance(value, str | int | float | bool | None) else repr(value)

    def told(choice: Choice | None) -> Any:
        if choice is None:
            return None
        options = {
            key: plain(value) for key, value in choice.options.items() if key not in ("device", "config", "offline")
        }
        if choice.options.get("digest"):
            options.pop("model", None)
        elif Path(str(choice.options.get("model"))).is_dir():  # an end-to-end diarizer's, which may be an id as well
            options["model"] = _content(Path(choice.options["model"]))
        return [choice.stage, choice.name, options, _origin(choice.name)]

    people = plan.people
    return _digest(
        {
            "settings": plan.config.model_dump(mode="json", exclude={"run", "cluster"}),
            "backends": [told(c) for c in (plan.detect, plan.embed, plan.recognize, plan.diarize, plan.segment)],
            "models": plan.models,
            "notes": plan.notes,
            "people": None if people is None else [people.load().name, people.lacking],
            "versions": versions(),
        }
    )


def recipe(common: str, cluster: ClusterConfig, given: Mapping[str, str]) -> str:
    """Hex sha256 of all that decides one recording's result, its file apart; `given` is what was given with it."""
    return _digest([common, cluster.model_dump(mode="json"), dict(given)])


def of(recipe: str, digest: str) -> str:
    """The fingerprint of a recording whose file has the sha256 `digest`."""
    return _digest([recipe, digest])


def looks(path: Path) -> Looks | None:
    """How a regular file looks without being read: size, times, inode and device. None of what is no regular file."""
    try:
        found = path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return {
        "size": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "ctime_ns": found.st_ctime_ns,
        "inode": found.st_ino,
        "device": found.st_dev,
    }


def settled(seen: Looks | None) -> Looks | None:
    """`seen`, where it can stand for the file's digest from now on; None of a file that was changed just now.

    A further change within the same tick of the file system's clock would not show (as in git's index).
    """
    if seen is None or max(seen["mtime_ns"], seen["ctime_ns"]) > time.time_ns() - SETTLED:
        return None
    return seen


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _content(path: Path) -> str:
    """sha256 of a file; of a folder, of the names and digests of the files in it."""
    try:
        return _digest(files.digests(path)) if path.is_dir() else files.sha256(path)
    except OSError as error:
        raise ConfigError("settings", str(path), f"cannot be read: {error.strerror or error}") from error


def _origin(name: str) -> str:
    """sha256 of the module of somebody's own backend; "" of ours, which `versions` tells."""
    module = name.partition(":")[0] if ":" in name else ""
    spec = find_spec(module) if module else None
    return files.sha256(Path(spec.origin)) if spec and spec.origin and Path(spec.origin).is_file() else ""

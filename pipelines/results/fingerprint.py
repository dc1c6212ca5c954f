"""What decides a recording's result, as one digest: recordings of one fingerprint have one result, their names apart.

settings digest = sha256 of: settings without [run], backends, digests of their models, enrolled people, versions
                  (this product's with a digest of its code), the recording's own clustering settings, digests of its
                  annotations
fingerprint     = sha256 of: settings digest, sha256 of the recording's file
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

RESTING = 2_000_000_000  # ns since a file's last change; within one tick of its times a change goes unseen
FileState = dict[str, int]


def hash_plan(plan: Plan, store: Store) -> str:
    """Hex sha256 of what all recordings of a run share. Raises ConfigError where a model file cannot be read.

    Models of the store count by their digests, other model files by their content, a user's own backend by its source
    file. Where any of them lies does not count.
    """
    own = [store.folder / name for name in plan.models]

    # An option counts by what it means, not by where a file lies: the same files elsewhere give the same results.
    def as_json(value: Any) -> Any:
        if isinstance(value, Section):
            return value.model_dump(mode="json")
        if isinstance(value, Path):
            return "" if any(value.is_relative_to(folder) for folder in own) else _content(value)
        return value if isinstance(value, str | int | float | bool | None) else repr(value)

    def describe(choice: Choice | None) -> Any:
        if choice is None:
            return None
        ignored = ("device", "config", "offline")
        options = {key: as_json(value) for key, value in choice.options.items() if key not in ignored}
        if choice.options.get("digest"):
            options.pop("model", None)
        elif Path(str(choice.options.get("model"))).is_dir():  # an end-to-end diarizer's, which may be an id as well
            options["model"] = _content(Path(choice.options["model"]))
        return [choice.stage, choice.name, options, _source_digest(choice.name)]

    # [run] decides only how results are computed; [cluster] is in `hash_settings`, as recordings may have their own.
    people = plan.people
    return _digest(
        {
            "settings": plan.config.model_dump(mode="json", exclude={"run", "cluster"}),
            "backends": [describe(c) for c in plan.choices],
            "models": plan.models,
            "notes": plan.notes,
            "people": None if people is None else [people.load().name, people.lacking],
            "versions": versions(),
        }
    )


def hash_settings(plan: str, cluster: ClusterConfig, annotations: Mapping[str, str]) -> str:
    """Hex sha256 of all that decides one recording's result, its file apart: the digest of the plan, the recording's
    clustering settings, and the digests of its annotations."""
    return _digest([plan, cluster.model_dump(mode="json"), dict(annotations)])


def compute(settings_digest: str, digest: str) -> str:
    """The fingerprint of a recording whose file has the sha256 `digest`."""
    return _digest([settings_digest, digest])


def file_state(path: Path) -> FileState | None:
    """Size, times, inode and device of a regular file, which is not read; None of anything else."""
    try:
        status = path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return {
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
        "inode": status.st_ino,
        "device": status.st_dev,
    }


def if_resting(state: FileState | None) -> FileState | None:
    """The state, where it can stand for the file's digest from now on; None of a file that has just changed.

    Another change within the same tick of the file system's clock would not show (as in git's index).
    """
    if state is None or max(state["mtime_ns"], state["ctime_ns"]) > time.time_ns() - RESTING:
        return None
    return state


def sha256_or_empty(path: Path) -> str:
    """sha256 of a file; "" where it cannot be read."""
    try:
        return files.sha256(path)
    except OSError:
        return ""


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _content(path: Path) -> str:
    """sha256 of a file; of a folder, of the names and digests of the files in it."""
    try:
        return _digest(files.digests(path)) if path.is_dir() else files.sha256(path)
    except OSError as error:
        raise ConfigError("settings", str(path), f"cannot be read: {error.strerror or error}") from error


def _source_digest(name: str) -> str:
    """sha256 of the module of a user's own backend; "" of this project's, which `versions` covers."""
    module = name.partition(":")[0] if ":" in name else ""
    spec = find_spec(module) if module else None
    return files.sha256(Path(spec.origin)) if spec and spec.origin and Path(spec.origin).is_file() else ""

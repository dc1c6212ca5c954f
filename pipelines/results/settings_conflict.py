"""One folder of results, one set of settings: results that were made differently do not stand side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from diarize.config import Config
from diarize.errors import ConfigError
from pipelines import results
from pipelines.inputs import shards
from pipelines.results import journal

SHOWN = 5  # differences that are told


def plain(config: Config) -> dict[str, Any]:
    """The settings that decide results, as they stand in run.json."""
    return config.model_dump(mode="json", exclude={"run"})


def refuse_others(out: Path, config: Config) -> None:
    """Raises ConfigError where the runs in `out`, or parts of runs, had other settings; it says which."""
    for path, _ in shards.found(out, results.RUN):
        former = journal.read_json(path).get("settings")
        if not isinstance(former, dict):
            continue
        found = list(differences(former, plain(config)))
        if found:
            more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
            raise ConfigError(
                "--out",
                str(out),
                f"holds results of other settings: {'; '.join(found[:SHOWN])}{more}",
                "Name another folder, or do everything again with --force.",
            )


def differences(former: Mapping[str, Any], now: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """`vad.pad is 0.2 there, 0.1 now` for each setting that both know and that differs."""
    for key in sorted(former.keys() & now.keys()):
        name = f"{above}{key}"
        if isinstance(former[key], dict) and isinstance(now[key], dict):
            yield from differences(former[key], now[key], f"{name}.")
        elif former[key] != now[key]:
            yield f"{name} is {_shown(former[key])} there, {_shown(now[key])} now"


def _shown(value: Any) -> str:
    return "unset" if value is None else ",".join(map(str, value)) if isinstance(value, list) else str(value)

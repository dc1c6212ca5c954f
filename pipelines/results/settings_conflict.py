"""One folder of results, one set of settings: results of different settings are not mixed in one folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from diarize.config import Config
from diarize.errors import ConfigError
from pipelines import results
from pipelines.inputs import shards
from pipelines.results import journal

SHOWN = 5  # differences in the message


def result_settings(config: Config) -> dict[str, Any]:
    """The settings that decide results, as run.json has them."""
    return config.model_dump(mode="json", exclude={"run"})


def check(out: Path, config: Config) -> None:
    """Raises ConfigError, with the differences, where the runs in `out`, or parts of runs, had other settings."""
    for path, _ in shards.find_files(out, results.RUN):
        earlier = journal.read_json(path).get("settings")
        if not isinstance(earlier, dict):
            continue
        changes = list(differences(earlier, result_settings(config)))
        if changes:
            more = f", and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
            problem = f"holds results of other settings: {'; '.join(changes[:SHOWN])}{more}"
            cure = "Name another folder, or process everything again with --force."
            raise ConfigError("--out", str(out), problem, cure)


def differences(earlier: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """`vad.pad is 0.2 there, 0.1 now` for each setting that both have and that differs."""
    for key in sorted(earlier.keys() & now.keys()):
        name = f"{prefix}{key}"
        if isinstance(earlier[key], dict) and isinstance(now[key], dict):
            yield from differences(earlier[key], now[key], f"{name}.")
        elif earlier[key] != now[key]:
            yield f"{name} is {_as_text(earlier[key])} there, {_as_text(now[key])} now"


def _as_text(value: Any) -> str:
    return "unset" if value is None else ",".join(map(str, value)) if isinstance(value, list) else str(value)

"""Known numbers of speakers of each recording, from a CSV or TOML file.

CSV: a header with `recording` and any of `num_speakers`, `min_speakers`, `max_speakers`; an empty cell sets nothing.
TOML: a table a recording with the same keys. `recordings.names_of` lists the names that a recording may have.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from diarize import files, validation
from diarize.config import ClusterConfig
from diarize.errors import ConfigError, FormatError
from diarize.text import counted, split_lines
from pipelines.inputs.recordings import Input, RecordingMatcher

KEYS = ("num_speakers", "min_speakers", "max_speakers")


def read(path: Path) -> dict[str, dict[str, int]]:
    """Recording -> its settings. Raises ConfigError, which names the line or table."""
    try:
        text = files.read_text(path)
        rows = _toml(text) if path.suffix.lower() == ".toml" else _csv(text, path)
    except FormatError as error:
        raise ConfigError(str(path), "", error.problem) from error
    except (ValueError, RecursionError, csv.Error) as error:  # ValueError: no TOML, huge numbers
        raise ConfigError(str(path), "", str(error), "Use CSV, or TOML in a file called .toml.") from error
    return {recording: _whole_numbers(row, str(path), recording) for recording, row in rows.items()}


def apply(
    counts: Mapping[str, Mapping[str, int]], inputs: Sequence[Input], base: ClusterConfig, where: str
) -> list[ClusterConfig]:
    """The clustering settings of each input. Raises ConfigError for a name of none of them, or of several."""
    matcher = RecordingMatcher(inputs)
    configs = [base] * len(inputs)
    for recording, row in counts.items():
        at = matcher.match_one(recording, where)
        try:
            configs[at] = ClusterConfig.model_validate(base.model_dump() | dict(row))
        except ValidationError as error:
            key, problem, _ = validation.explain(error, ClusterConfig)
            raise ConfigError(where, recording, problem if key == "settings" else f"{key} {problem}") from error
    return configs


def _csv(text: str, path: Path) -> dict[str, dict[str, Any]]:
    reader = csv.DictReader(split_lines(text, keep_ends=True), strict=True)
    header = tuple(reader.fieldnames or ())
    if "recording" not in header or not set(header) <= {"recording", *KEYS}:
        columns = f"the columns are recording, {', '.join(KEYS)}"
        raise ConfigError(str(path), "line 1", f"{columns}; this file has {', '.join(map(repr, header)) or 'none'}")
    rows: dict[str, dict[str, Any]] = {}
    for row in reader:
        if None in row or None in row.values():
            raise ConfigError(str(path), f"line {reader.line_num}", f"needs {counted(len(header), 'cell')}")
        recording = row.pop("recording")
        if recording in rows:
            raise ConfigError(str(path), f"line {reader.line_num}", f"{recording!r} is there twice")
        rows[recording] = {key: cell for key, cell in row.items() if cell.strip()}
    return rows


def _toml(text: str) -> dict[str, dict[str, Any]]:
    return {name: row if isinstance(row, dict) else {"": row} for name, row in tomllib.loads(text).items()}


def _whole_numbers(row: Mapping[str, Any], where: str, recording: str) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for key, item in row.items():
        if key not in KEYS:
            raise ConfigError(where, f"{recording}: {key or item!r}", "no such setting", f"Known: {', '.join(KEYS)}.")
        try:
            numbers[key] = int(str(item).strip())
        except ValueError as error:  # also of a number too long to be shown
            got = "this huge one" if isinstance(item, int) else validation.show(item)
            raise ConfigError(where, f"{recording}: {key}", f"must be a whole number, not {got}") from error
    return numbers

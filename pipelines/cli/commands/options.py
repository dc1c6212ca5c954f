"""Options that are settings, shared by the commands; diarize/config.py says what each setting means."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diarize.config import Config
from diarize.errors import ConfigError, DiarizeError
from diarize.models.store import Store
from pipelines.inputs import settings
from pipelines.inputs.settings import Settings

OPTIONS: dict[str, dict[str, Any]] = {
    # name of the option -> arguments of argparse; `settings.OPTIONS` has its setting
    "num_speakers": {"type": int, "metavar": "N"},
    "min_speakers": {"type": int, "metavar": "N"},
    "max_speakers": {"type": int, "metavar": "N"},
    "diarizer": {"metavar": "NAME"},
    "vad": {"metavar": "NAME"},
    "segmentation": {"metavar": "NAME"},
    "embedder": {"metavar": "NAME"},
    "profile": {"choices": ("accurate", "fast")},
    "asr": {"metavar": "NAME"},
    "language": {"metavar": "CODE"},
    "hotwords": {"metavar": "TEXT"},
    "initial_prompt": {"metavar": "TEXT"},
    "speakers_from": {"choices": ("recording", "compare", "transcript")},
    "names_in_text": {"choices": ("on", "off")},
    "channel": {"metavar": "auto|mix|N|per-channel"},
    "track": {"type": int, "metavar": "N"},
    "top": {"type": int, "metavar": "N"},
    "prior": {"type": float, "metavar": "P"},
    "exact": {"action": "store_true"},
    "spoof": {"action": "store_true"},
    "countermeasure": {"metavar": "NAME"},
    "spoof_threshold": {"type": float, "metavar": "S"},
    "device": {"choices": ("auto", "cpu", "cuda")},
    "formats": {"metavar": "A,B,...", "type": settings.split_commas},
    "workers": {"type": int, "metavar": "N"},
    "cache": {"metavar": "auto|none|DIR"},
    "engine": {"metavar": "NAME"},
    "ray_address": {"metavar": "HOST:PORT"},
}


def add(command: argparse.ArgumentParser, *options: str) -> None:
    """Add `--config`, `--offline` and the named options (all, where none is named)."""
    group = command.add_argument_group("settings")
    group.add_argument("--config", type=Path, metavar="FILE.toml", help="file with settings")
    group.add_argument(
        "--offline", dest="run.offline", action="store_true", default=None, help="never open a network connection"
    )
    for name in options or OPTIONS:
        key = settings.OPTIONS[name]
        meaning = settings.describe(key).replace("%", "%%")
        group.add_argument(_typed(name), dest=key, default=None, help=meaning, **OPTIONS[name])


def resolve(args: argparse.Namespace) -> Settings:
    """The settings of the command line, the file and the environment.

    Raises ConfigError, which names options as they are typed.
    """
    options = {name: getattr(args, key, None) for name, key in settings.OPTIONS.items()}
    resolved = settings.resolve_options(options, args.config, os.environ, _typed)
    args.settings = resolved  # for `spelled`
    return resolved


def spelled(error: DiarizeError, args: argparse.Namespace) -> DiarizeError:
    """The error of a command; where it is about a setting, with the option, variable or file that the value is from."""
    resolved = getattr(args, "settings", None)
    if not isinstance(error, ConfigError) or error.where != "settings" or resolved is None:
        return error
    name = next((name for name, key in settings.OPTIONS.items() if key == error.key), "")
    origin = resolved.origins.get(error.key, "default")
    if origin == settings.COMMAND_LINE and name:
        return ConfigError(_typed(name), "", error.problem, error.cure)
    if origin == "default":
        return error
    key = "" if origin in settings.variables() else error.key
    return ConfigError(origin, key, error.problem, error.cure)


def _typed(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def store(config: Config) -> Store:
    """The model store, which uses the network only if the settings allow it."""
    return Store(offline=config.run.offline)


def require_count(recordings: Sequence[Path], count: int, why: str) -> None:
    """Raises ConfigError where a command got another number of recordings."""
    if len(recordings) != count:
        raise ConfigError("command line", "recordings", f"{len(recordings)} given, {count} needed {why}")

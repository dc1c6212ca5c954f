"""Options that give settings, shared by the commands; what a setting means stands in diarize/config.py."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diarize.config import Config
from diarize.errors import ConfigError
from diarize.models.store import Store
from pipelines.inputs import settings

OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    # option -> the setting it gives, and how it is read
    "--num-speakers": ("cluster.num_speakers", {"type": int, "metavar": "N"}),
    "--min-speakers": ("cluster.min_speakers", {"type": int, "metavar": "N"}),
    "--max-speakers": ("cluster.max_speakers", {"type": int, "metavar": "N"}),
    "--diarizer": ("diarizer", {"metavar": "NAME"}),
    "--vad": ("vad.backend", {"metavar": "NAME"}),
    "--segmentation": ("segmentation.backend", {"metavar": "NAME"}),
    "--embedder": ("embedder.backend", {"metavar": "NAME"}),
    "--asr": ("asr.backend", {"metavar": "NAME"}),
    "--language": ("asr.language", {"metavar": "CODE"}),
    "--hotwords": ("asr.hotwords", {"metavar": "TEXT"}),
    "--initial-prompt": ("asr.initial_prompt", {"metavar": "TEXT"}),
    "--channel": ("audio.channel", {"metavar": "auto|mix|N|per-channel"}),
    "--top": ("identify.top", {"type": int, "metavar": "N"}),
    "--prior": ("identify.prior", {"type": float, "metavar": "P"}),
    "--device": ("run.device", {"choices": ("auto", "cpu", "cuda")}),
    "--formats": ("output.formats", {"metavar": "A,B,...", "type": settings.split}),
    "--workers": ("run.workers", {"type": int, "metavar": "N"}),
    "--cache": ("run.cache", {"metavar": "auto|none|DIR"}),
    "--engine": ("run.engine", {"metavar": "NAME"}),
    "--ray-address": ("run.ray_address", {"metavar": "HOST:PORT"}),
}


def add(command: argparse.ArgumentParser, *options: str) -> None:
    """`--config`, `--offline` and the named options (all, where none is named)."""
    group = command.add_argument_group("settings")
    group.add_argument("--config", type=Path, metavar="FILE.toml", help="settings from a file")
    group.add_argument("--offline", action="store_true", default=None, help="never open a network connection")
    for option in options or OPTIONS:
        key, how = OPTIONS[option]
        group.add_argument(option, dest=key, default=None, help=settings.describe(key).replace("%", "%%"), **how)


def resolve(given: argparse.Namespace) -> settings.Settings:
    """The settings that the options, the file and the environment give.

    Raises ConfigError, which names options as they are typed.
    """
    asked = {key: getattr(given, key) for key, _ in OPTIONS.values() if getattr(given, key, None) is not None}
    if given.offline is not None:
        asked["run.offline"] = given.offline
    try:
        return settings.resolve(asked, given.config, os.environ)
    except ConfigError as error:
        typed = [name for name, (key, _) in OPTIONS.items() if key in asked and settings.concerns(error.key, key)]
        where = error.where.replace(settings.COMMAND_LINE, ", ".join(typed)) if typed else error.where
        raise ConfigError(where, error.key, error.problem, error.cure) from error


def store(config: Config) -> Store:
    """The model store, under the settings' leave to use the network."""
    return Store(offline=config.run.offline)


def exactly(values: Sequence[Any], count: int, why: str) -> None:
    """Raises ConfigError where a command was given another number of recordings."""
    if len(values) != count:
        raise ConfigError("command line", "recordings", f"{len(values)} given, {count} needed {why}")

"""Where settings come from: command line, then file, then environment, then default; the first that has one decides.

Environment variables are `DIARIZE_<SECTION>_<KEY>`, as `DIARIZE_CLUSTER_MIN_SPEAKERS=2`; `DIARIZE_CONFIG` names a file.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diarize import config as configuration
from diarize.config import Config, Section
from diarize.errors import ConfigError

PREFIX = "DIARIZE_"
COMMAND_LINE = "command line"
NOT_SETTINGS = (
    "DIARIZE_CONFIG",
    "DIARIZE_LIBRARY",
    "DIARIZE_MODELS",
    "DIARIZE_PASSPHRASE",
    "DIARIZE_SHARED",
)  # variables of this name that are read elsewhere


OPTIONS = {  # option, without dashes: --num-speakers of the command line, num_speakers of the Python API -> its setting
    "num_speakers": "cluster.num_speakers",
    "min_speakers": "cluster.min_speakers",
    "max_speakers": "cluster.max_speakers",
    "diarizer": "diarizer",
    "vad": "vad.backend",
    "segmentation": "segmentation.backend",
    "embedder": "embedder.backend",
    "profile": "profile",
    "asr": "asr.backend",
    "language": "asr.language",
    "hotwords": "asr.hotwords",
    "initial_prompt": "asr.initial_prompt",
    "speakers_from": "label.speakers_from",
    "names_in_text": "label.names_in_text",
    "channel": "audio.channel",
    "track": "audio.track",
    "top": "identify.top",
    "prior": "identify.prior",
    "exact": "identify.exact",
    "spoof": "spoof.enabled",
    "countermeasure": "spoof.model",
    "spoof_threshold": "spoof.threshold",
    "device": "run.device",
    "formats": "output.formats",
    "workers": "run.workers",
    "cache": "run.cache",
    "engine": "run.engine",
    "ray_address": "run.ray_address",
    "offline": "run.offline",
}


@dataclass(frozen=True)
class Settings:
    config: Config
    origins: Mapping[str, str]  # dotted key -> "command line", the file, the variable, or "default"


def resolve_options(
    options: Mapping[str, Any],
    file: Path | Mapping[str, Any] | None,
    environment: Mapping[str, str],
    spelling: Callable[[str], str] = str,
) -> Settings:
    """As `resolve`, from options by their names (`OPTIONS`), of which those that are None are not set.

    `spelling` turns a name into the option as its user wrote it. Raises ConfigError, which names it so.
    """
    used = {name: value for name, value in options.items() if value is not None}
    try:
        return resolve({OPTIONS[name]: value for name, value in used.items()}, file, environment)
    except ConfigError as error:
        wrong = [spelling(name) for name in used if is_about(error.key, OPTIONS[name])]
        where = error.where.replace(COMMAND_LINE, ", ".join(wrong)) if wrong else error.where
        key = "" if where == ", ".join(wrong) else error.key  # the option says which setting it is
        raise ConfigError(where, key, error.problem, error.cure) from error


def resolve(
    command_line: Mapping[str, Any], file: Path | Mapping[str, Any] | None, environment: Mapping[str, str]
) -> Settings:
    """All layers merged. `command_line` is dotted key -> value, without what the user did not give; `file` may also be
    the nested values of one.

    Raises ConfigError, which names the layer, the key and the value.
    """
    if file is None and environment.get("DIARIZE_CONFIG"):
        file = Path(environment["DIARIZE_CONFIG"])
    layers: list[tuple[str, dict[str, Any]]] = [
        (variable, {key: value}) for variable, key, value in _read_environment(environment)
    ]
    if file is not None:
        nested, origin = (configuration.read(file), str(file)) if isinstance(file, Path) else (file, "config")
        configuration.parse(nested, origin)  # so that an error names the file
        layers.append((origin, dict(_flatten(nested))))
    layers.append((COMMAND_LINE, dict(command_line)))
    origins = dict.fromkeys(list_keys(), "default")
    merged: dict[str, Any] = {}
    for where, layer in layers:
        for key, value in layer.items():
            origins[key] = where
            _put(merged, key, value)
    where = next((origin for origin in reversed(origins.values()) if origin != "default"), "settings")
    return Settings(_parse(merged, origins, where), origins)


def list_keys(section: type[Section] = Config, prefix: str = "") -> list[str]:
    """Every setting's dotted key, in the order of the sections."""
    keys: list[str] = []
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            keys += list_keys(kind, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


def describe(key: str) -> str:
    """The description of a setting, with its unit."""
    section: type[Section] = Config
    *path, last = key.split(".")
    for name in path:
        section = section.model_fields[name].annotation  # type: ignore[assignment]
    return section.model_fields[last].description or ""


def value_of(config: Config, key: str) -> Any:
    """The value of a dotted key."""
    item: Any = config
    for name in key.split("."):
        item = getattr(item, name)
    return item


def _parse(merged: Mapping[str, Any], origins: Mapping[str, str], otherwise: str) -> Config:
    try:
        return configuration.parse(merged, otherwise)
    except ConfigError as error:
        wrong = [origin for key, origin in origins.items() if is_about(error.key, key) and origin != "default"]
        layer = ", ".join(dict.fromkeys(wrong)) or otherwise
        key = "" if layer in variables() else error.key  # the variable says which setting it is
        raise ConfigError(layer, key, error.problem, error.cure) from error


def is_about(wrong: str, key: str) -> bool:
    """Whether an error at `wrong` is about the setting `key`: it, a part of it, or its section."""
    return f"{key}.".startswith(f"{wrong}.") or wrong.startswith(f"{key}.")


def variables() -> dict[str, str]:
    """Variable of the environment -> dotted key of its setting."""
    return {PREFIX + key.upper().replace(".", "_"): key for key in list_keys()}


def _read_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, str, Any]]:
    """(variable, dotted key, value) of each variable that is a setting. Raises ConfigError for an unknown one."""
    known = variables()
    for variable, text in sorted(environment.items()):
        if not variable.startswith(PREFIX) or variable in NOT_SETTINGS:
            continue
        if variable not in known:
            close = difflib.get_close_matches(variable, known, n=1)
            cure = f"Did you mean {close[0]}?" if close else "See: diarize config show"
            raise ConfigError("environment", variable, "no such setting", cure)
        key = known[variable]
        yield variable, key, split_commas(text) if key == "output.formats" else text


def split_commas(text: str) -> list[str]:
    """The parts of a list with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _flatten(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, item in nested.items():
        if isinstance(item, Mapping):
            yield from _flatten(item, f"{prefix}{name}.")
        else:
            yield prefix + name, item


def _put(nested: dict[str, Any], key: str, item: Any) -> None:
    *path, last = key.split(".")
    for name in path:
        nested = nested.setdefault(name, {})
    nested[last] = item

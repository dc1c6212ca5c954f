"""Keyword arguments of the Python API -> settings, and messages that name keywords where commands name options."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import operator
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from diarize.config import Config
from diarize.errors import ConfigError, DiarizeError
from pipelines.inputs import settings

AnyPath = str | os.PathLike[str]

_COUNTS = ("num_speakers", "min_speakers", "max_speakers", "top")
_OPTION = re.compile(r"(?<![\w-])--([a-z]+(?:-[a-z]+)*)")


def resolve(values: Mapping[str, Any], config: Mapping[str, Any] | Config | AnyPath | None) -> Config:
    """The settings of keyword arguments (None: not given), of `config`, and of the environment, in this order.

    Raises ConfigError, which names the keyword, the file or the variable.
    """
    layer: Path | Mapping[str, Any] | None
    if config is None or isinstance(config, Mapping):
        layer = config
    elif isinstance(config, Config):
        layer = config.model_dump(exclude_unset=True)
    elif isinstance(config, str | os.PathLike):
        layer = Path(config)
    else:
        raise ConfigError("config", type(config).__name__, "settings are a dict, or the path of a TOML file")
    plain = {name: _plain(name, value) for name, value in values.items() if value is not None}
    return settings.resolve_options(plain, layer, os.environ).config


def path_of(value: object, name: str, wanted: str = "the path of a file") -> Path:
    """A path that a caller named. Raises TypeError for what is none, ConfigError for an empty text."""
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(path, str):
        several = isinstance(value, Sequence) and not isinstance(value, bytes)
        cure = ". Call it once for each" if several else ""
        raise TypeError(f"{name}: {wanted} is needed, as a str or a Path, not {type(value).__name__}{cure}")
    if not path:
        raise ConfigError(name, "''", "is no path")
    return Path(path)


def paths_of(value: object, name: str) -> tuple[Path, ...]:
    """One path or several. Raises TypeError for anything else."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return tuple(path_of(each, name) for each in value)
    return (path_of(value, name),)


def refuse_unknown(function: Callable[..., object], unknown: Mapping[str, object]) -> None:
    """Raises TypeError where `function` was called with keyword arguments that it does not have."""
    for name in unknown:
        known = [
            each.name for each in inspect.signature(function).parameters.values() if each.kind is each.KEYWORD_ONLY
        ]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."
        raise TypeError(f"{function.__name__}() got an unexpected keyword argument {name!r}. {hint}")


@contextlib.contextmanager
def python_messages(function: str) -> Iterator[None]:
    """Errors of the block speak of keyword arguments (`known_turns`) where commands have options (`--known-turns`)."""
    try:
        yield
    except DiarizeError as error:
        named = len(error.args) > 1 and not isinstance(error, ConfigError)  # the first is a path or a name, which stays
        renewed: Any = error  # in place, so that there is one traceback
        renewed.__init__(
            *(
                _spelled(value, function) if isinstance(value, str) and not (named and at == 0) else value
                for at, value in enumerate(error.args)
            )
        )
        raise


def _spelled(text: str, function: str) -> str:
    names = {settings.COMMAND_LINE: function, "AUDIO": "files", "NAME": "name"}
    return names.get(text) or _OPTION.sub(lambda option: option[1].replace("-", "_"), text)


def _plain(name: str, value: Any) -> Any:
    """A keyword's value as the settings take it. Raises ConfigError for a count that is no whole number."""
    if name in _COUNTS:
        try:
            if isinstance(value, bool):
                raise TypeError
            return operator.index(value)  # of NumPy's integers too
        except TypeError:
            raise ConfigError(name, repr(value), "is no whole number", f"Write {name}=2, say.") from None
    if name == "channel" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value

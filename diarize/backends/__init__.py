"""Name -> "module:factory". Nothing heavy is imported until a name is asked for.

A backend is a module with a factory `load(**options)` that returns a callable of `diarize.stages`. Anybody's own is
named by its path, "their_package.vad:load". These modules are the only ones that import a model runtime.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from typing import Any

from diarize.errors import BackendError, MissingExtra, UnknownBackend

# The official builds of ONNX Runtime (1.31, Privacy.md) tell Microsoft of each session unless this is set before they
# are first imported, and every import of it goes through this package. Set it to 0 to allow it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

BACKENDS: dict[str, dict[str, tuple[str, str]]] = {
    # stage -> name -> (module:factory, extra that brings its package; "" for the core)
    "vad": {
        "silero": ("diarize.backends.vad_silero:load", ""),
        "energy": ("diarize.backends.vad_energy:load", ""),
    },
    "embedder": {
        "ge2e": ("diarize.backends.embedder_ge2e:load", ""),
        "onnx": ("diarize.backends.embedder_onnx:load", ""),
        "community-1": ("diarize.backends.embedder_community1:load", ""),
    },
    "segmentation": {
        "onnx": ("diarize.backends.segmentation_onnx:load", ""),
    },
    "asr": {
        "whisper": ("diarize.backends.asr_whisper:load", "whisper"),
        "moonshine": ("diarize.backends.asr_moonshine:load", ""),
        "pocketsphinx": ("diarize.backends.asr_pocketsphinx:load", "pocketsphinx"),
    },
    "diarizer": {
        "pyannote": ("diarize.backends.diarizer_pyannote:load", "pyannote"),
    },
}

ARGUMENTS = {  # stage -> arguments of its backends, by position and by name (diarize/stages.py)
    "vad": (("audio",), ("activity",)),
    "segmentation": (("audio",), ()),
    "embedder": (("audio", "segments"), ("activity",)),
    "asr": (("audio", "speech"), ()),
    "diarizer": (("audio",), ()),
}


def check(stage: str, name: str) -> None:
    """Raises UnknownBackend, with the nearest known name, for a backend that is not there. Loads nothing."""
    module = _target(stage, name)[0].partition(":")[0]
    try:
        there = find_spec(module) is not None
    except ModuleNotFoundError:  # a package above it is not there
        there = False
    if not there:
        raise UnknownBackend(stage, name, tuple(BACKENDS[stage]))


def load(stage: str, name: str, **options: Any) -> Any:
    """The backend of `stage` called `name`, or the one at "package.module:factory".

    Raises UnknownBackend (with the nearest known name), MissingExtra (with the extra to install), and BackendError for
    a user's own backend that does not take the arguments of its stage.
    """
    check(stage, name)
    target, extra = _target(stage, name)
    module, _, factory = target.partition(":")
    try:
        backend = getattr(import_module(module), factory)(**options)
    except ModuleNotFoundError as error:
        if not extra or (error.name or "").split(".")[0] == "diarize":
            raise
        raise MissingExtra(name, extra) from error
    if ":" in name and stage in ARGUMENTS:
        _check_arguments(stage, name, backend)
    return backend


def _check_arguments(stage: str, name: str, backend: Any) -> None:
    """Raises BackendError where a call of the backend would fail: once, instead of for each recording."""
    positional, named = ARGUMENTS[stage]
    try:
        signature(backend).bind(*positional, **dict.fromkeys(named))
    except TypeError as error:
        call = f"({', '.join((*positional, *(f'{each}=...' for each in named)))})"
        cure = 'See "Your own backend" in docs/architecture.md.'
        raise BackendError(
            f"{stage} {name}: it is called with {call}, and does not take that: {error}. {cure}"
        ) from None
    except ValueError:  # a function of a native library does not tell its arguments
        return


def _target(stage: str, name: str) -> tuple[str, str]:
    """("module:factory", extra) of a backend."""
    if ":" in name:
        return name, ""
    if name not in BACKENDS[stage]:
        raise UnknownBackend(stage, name, tuple(BACKENDS[stage]))
    return BACKENDS[stage][name]

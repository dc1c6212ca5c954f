"""Name -> "module:factory". Nothing heavy is imported until a name is asked for.

A backend is a module with a factory `load(**options)` that returns a callable of `diarize.stages`. Anybody's own is
named by its path, "their_package.vad:load". These modules are the only ones that import a model runtime.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from diarize.errors import MissingExtra, UnknownBackend

BACKENDS: dict[str, dict[str, tuple[str, str]]] = {
    # stage -> name -> (module:factory, extra that brings its package; "" for the core)
    "vad": {
        "silero": ("diarize.backends.vad_silero:load", ""),
        "energy": ("diarize.backends.vad_energy:load", ""),
    },
    "embedder": {
        "ge2e": ("diarize.backends.embedder_ge2e:load", ""),
        "onnx": ("diarize.backends.embedder_onnx:load", ""),
    },
    "asr": {
        "whisper": ("diarize.backends.asr_whisper:load", "whisper"),
        "pocketsphinx": ("diarize.backends.asr_pocketsphinx:load", "pocketsphinx"),
    },
    "diarizer": {
        "pyannote": ("diarize.backends.diarizer_pyannote:load", "pyannote"),
    },
}


def load(stage: str, name: str, **options: Any) -> Any:
    """The backend of `stage` called `name`, or the one at "package.module:factory".

    Raises UnknownBackend (with the nearest known name) and MissingExtra (with the extra to install).
    """
    if ":" in name:
        target, extra = name, ""
    elif name in BACKENDS[stage]:
        target, extra = BACKENDS[stage][name]
    else:
        raise UnknownBackend(stage, name, tuple(BACKENDS[stage]))
    module, _, factory = target.partition(":")
    try:
        return getattr(import_module(module), factory)(**options)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "diarize":
            raise
        if not extra:
            raise UnknownBackend(stage, name, tuple(BACKENDS[stage])) from error
        raise MissingExtra(name, extra) from error

"""Name -> "module:factory". Nothing heavy is imported until a name is asked for.

A backend is a module with a factory `load(**options)` that returns a callable of `diarize.stages`. Anybody's own is
named by its path, "their_package.vad:load". These modules are the only ones that import a model runtime.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

from diarize.backends import devices
from diarize.errors import BackendRefused, DiarizeError, MissingExtra, UnknownBackend, suggest

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
        "campplus": ("diarize.backends.embedders.campplus:load", ""),
        "speechidentity": ("diarize.backends.embedders.speechidentity:load", ""),
        "transformers": ("diarize.backends.embedders.x_vectors:load", "transformers"),
    },
    "segmentation": {
        "onnx": ("diarize.backends.segmentation_onnx:load", ""),
    },
    "asr": {
        "whisper": ("diarize.backends.asr_whisper:load", "whisper"),
        "moonshine": ("diarize.backends.asr_moonshine:load", ""),
        "pocketsphinx": ("diarize.backends.asr_pocketsphinx:load", "pocketsphinx"),
    },
    "countermeasure": {
        "onnx": ("diarize.backends.countermeasures.onnx_windows:load", ""),
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
    "countermeasure": (("audio", "segments"), ()),
    "diarizer": (("audio",), ()),
}


PACKAGES = {
    "whisper": "faster_whisper",
    "pocketsphinx": "pocketsphinx",
    "pyannote": "pyannote.audio",
    "transformers": "transformers",
}  # of the extras
SEE = 'See "Your own backend" in docs/architecture.md.'


def check(stage: str, name: str) -> None:
    """Raises UnknownBackend, with the nearest known name, for a backend that is not there, and BackendRefused where the
    module of a user's own is not there. Loads nothing. Modules in the current folder count as installed ones do.
    """
    module = _target(stage, name)[0].partition(":")[0]
    if _is_there(module):
        return
    here = Path.cwd()
    if (here / module.partition(".")[0]).is_dir() or (here / f"{module}.py").is_file():
        sys.path.append(str(here))  # last, so that no file there hides an installed package
        if _is_there(module):
            return
        sys.path.remove(str(here))
    problem = f"there is no module {module}, neither installed nor in the current folder"
    raise BackendRefused(stage, name, problem, f"Known names: {', '.join(BACKENDS[stage])}; or MODULE:FACTORY.")


def examine(stage: str, name: str, **options: Any) -> None:
    """Raises what `load` raises because of the user's settings, as far as that is known without loading a large model:
    a package, device or language that is missing, a file of another kind, a module that cannot be used.

    A built-in backend whose `load` is slow has a function `check` that takes the same options.
    """
    check(stage, name)
    target, extra = _target(stage, name)
    if extra and not _is_there(PACKAGES[extra]):
        raise MissingExtra(name, extra)
    if ":" in name or name == "onnx":
        load(stage, name, **options)
        devices.release_memory()
        return
    if (own_check := getattr(import_module(target.partition(":")[0]), "check", None)) is not None:
        own_check(**options)
    elif options.get("device") == "cuda":
        devices.require_cuda("onnxruntime")


def load(stage: str, name: str, **options: Any) -> Any:
    """The backend of `stage` called `name`, or the one at "package.module:factory".

    Raises UnknownBackend (with the nearest known name), MissingExtra (with the extra to install), and BackendRefused
    for a user's own backend that cannot be loaded, or does not do what its stage needs.
    """
    check(stage, name)
    target, extra = _target(stage, name)
    module, _, factory = target.partition(":")
    if ":" in name:
        return _load_own(stage, name, options)
    try:
        return getattr(import_module(module), factory)(**options)
    except ModuleNotFoundError as error:
        if not extra or (error.name or "").split(".")[0] == "diarize":
            raise
        raise MissingExtra(name, extra) from error


def _load_own(stage: str, name: str, options: Mapping[str, Any]) -> Any:
    """A user's own backend. Raises BackendRefused, once, where each recording would fail."""
    module, _, factory = name.partition(":")
    try:
        loaded = import_module(module)
        make = getattr(loaded, factory, None)
        if not callable(make):
            functions = [each for each in vars(loaded) if not each.startswith("_") and callable(vars(loaded)[each])]
            raise BackendRefused(stage, name, f"{module} has no function {factory!r}", suggest(factory, functions))
        backend = make(**options)
    except DiarizeError:
        raise
    except (Exception, SystemExit) as error:  # code of others raises anything
        problem = f"it cannot be loaded: {type(error).__name__}: {error}"
        cure = f"It is called as {factory}({', '.join(f'{each}=...' for each in options)}). {SEE}"
        raise BackendRefused(stage, name, problem, cure) from error
    _check_arguments(stage, name, backend)
    if stage == "diarizer" and not callable(getattr(backend, "bounded", None)):
        raise BackendRefused(stage, name, "it has no method bounded(cluster), for the number of speakers", SEE)
    return backend


def _check_arguments(stage: str, name: str, backend: Any) -> None:
    """Raises BackendRefused where a call of the backend would fail: once, instead of for each recording."""
    if stage not in ARGUMENTS:
        return
    positional, named = ARGUMENTS[stage]
    try:
        signature(backend).bind(*positional, **dict.fromkeys(named))
    except TypeError as error:
        call = f"({', '.join((*positional, *(f'{each}=...' for each in named)))})"
        raise BackendRefused(stage, name, f"it is called with {call}, and does not take that: {error}", SEE) from None
    except ValueError:  # a function of a native library does not tell its arguments
        return


def _is_there(module: str) -> bool:
    if sys.modules.get(module) is not None:
        return True
    try:
        return find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):  # a package above it is not there, or it is a bare dot
        return False


def _target(stage: str, name: str) -> tuple[str, str]:
    """("module:factory", extra) of a backend."""
    if ":" in name:
        return name, ""
    if name not in BACKENDS[stage]:
        raise UnknownBackend(stage, name, tuple(BACKENDS[stage]))
    return BACKENDS[stage][name]

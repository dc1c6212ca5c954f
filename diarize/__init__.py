"""Speaker diarization and transcript labelling: who said what, when.

    import diarize

    result = diarize.process("meeting.m4a", num_speakers=4)
    for turn in result.turns:
        print(turn.start, turn.end, turn.speaker)
    result.save("meeting.vtt")

The nouns are in `diarize.types`, the verbs in `diarize.stages`; recipes that put them together are in `pipelines`, and
`pipelines.api` is what this module exports (docs/python.md). Names are imported when they are first used, so that
importing this package loads nothing heavy: no model runtime (torch, onnxruntime, faster_whisper), no numpy, no pandas.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from diarize.version import __version__

if TYPE_CHECKING:
    from diarize.errors import (
        AudioError,
        BackendError,
        ConfigError,
        DiarizeError,
        FormatError,
        LibraryError,
        MissingExtra,
        ModelError,
        OutputError,
        StageError,
    )
    from diarize.types import Segment, Speaker, Turn, Word
    from pipelines.api.conversions import from_annotation, from_seglst, read
    from pipelines.api.library import Library
    from pipelines.api.processing import process
    from pipelines.api.transcript import Transcript


__all__ = [
    "AudioError",
    "BackendError",
    "ConfigError",
    "DiarizeError",
    "FormatError",
    "Library",
    "LibraryError",
    "MissingExtra",
    "ModelError",
    "OutputError",
    "Segment",
    "Speaker",
    "StageError",
    "Transcript",
    "Turn",
    "Word",
    "__version__",
    "from_annotation",
    "from_seglst",
    "process",
    "read",
]

_MODULES = {  # exported name -> the module that it is imported from when it is first used
    "AudioError": "diarize.errors",
    "BackendError": "diarize.errors",
    "ConfigError": "diarize.errors",
    "DiarizeError": "diarize.errors",
    "FormatError": "diarize.errors",
    "Library": "pipelines.api.library",
    "LibraryError": "diarize.errors",
    "MissingExtra": "diarize.errors",
    "ModelError": "diarize.errors",
    "OutputError": "diarize.errors",
    "Segment": "diarize.types",
    "Speaker": "diarize.types",
    "StageError": "diarize.errors",
    "Transcript": "pipelines.api.transcript",
    "Turn": "diarize.types",
    "Word": "diarize.types",
    "from_annotation": "pipelines.api.conversions",
    "from_seglst": "pipelines.api.conversions",
    "process": "pipelines.api.processing",
    "read": "pipelines.api.conversions",
}

if not TYPE_CHECKING:  # a type checker would take every misspelt name for one that this function gives

    def __getattr__(name):
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            value = getattr(import_module(_MODULES[name]), name)
        except ModuleNotFoundError as error:
            if error.name not in ("pipelines", "pipelines.api"):
                raise
            problem = "needs the package 'pipelines' that is installed beside it, and another one of that name hides it"
            raise ImportError(f"diarize.{name} {problem}: {sys.modules.get('pipelines')}") from error
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

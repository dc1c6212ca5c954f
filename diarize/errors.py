"""All errors that this library raises on purpose.

DiarizeError
├── ConfigError            a setting is unknown or out of range
├── BackendError           a backend cannot be used
│   ├── UnknownBackend     no backend has this name
│   ├── BackendRefused     a user's own backend that cannot be used as this stage
│   ├── DeviceMissing      the device that is asked for is not there
│   └── MissingExtra       its package is not installed
├── ModelError             a model file is missing, or is not the expected one
│   ├── UnknownModel       no model in the registry has this name
│   ├── ModelMissing       not in the model store
│   ├── ModelDamaged       its digest is not the pinned one
│   │   └── SourceDamaged  that of a source's file is not; nothing is stored
│   ├── ModelUnavailable   it cannot be fetched: offline, access denied, no such source
│   └── ModelRefused       it is another kind of model, or holds more than data
├── FormatError            a value cannot be written in, or read from, a file format
├── FileError              an error of one file or folder
│   ├── AudioError         a recording cannot be read, or holds no usable samples
│   ├── OutputError        a result cannot be written
│   ├── CaseError          an error of a forensic case
│   │   └── CaseDamaged        its log or a file of it was changed
│   └── LibraryError       an error of the library of enrolled speakers
│       ├── LibraryMissing     it does not exist
│       ├── LibraryUnreadable  the file is not a library
│       ├── LibraryNewer       a newer version of this package created it
│       ├── LibraryLocked      another process is using it
│       ├── LibraryReadOnly    it may not be written
│       ├── LibraryFull        its disk is full
│       ├── LibraryDamaged     its content is damaged
│       ├── PassphraseError    a passphrase is missing, wrong, or not needed
│       └── UnknownPerson      no person of that name or id, or several of them
├── CalibrationError       a calibration cannot be computed from these trials, or used for these scores
└── StageError             a stage failed on one recording; carries recording and stage

Every error carries its values, names the cure, and can be pickled: constructor arguments go to `super().__init__`, the
text is built in `__str__`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import ClassVar


class DiarizeError(Exception):
    """Base class. Its `args` are its constructor's arguments, so that it pickles."""

    exit_status: ClassVar[int] = 4  # of a command that ends with this error; run_pipeline.py lists them


class ConfigError(DiarizeError):
    """A setting is unknown or out of range. `where` is the file, variable or option it came from."""

    exit_status = 2

    def __init__(self, where: str, key: str, problem: str, cure: str = "") -> None:
        super().__init__(where, key, problem, cure)
        self.where, self.key, self.problem, self.cure = where, key, problem, cure

    def __str__(self) -> str:
        section = self.problem == "no such section"
        name = ": ".join(part for part in (self.where, f"[{self.key}]" if section else self.key) if part)
        joint = " " if self.problem.startswith("must ") else ": "
        return _sentence(f"{printable(name)}{joint}{self.problem}", self.cure)


class BackendError(DiarizeError):
    """A backend cannot be used."""

    exit_status = 5


class UnknownBackend(BackendError):
    exit_status = 2

    def __init__(self, stage: str, name: str, known: Sequence[str]) -> None:
        super().__init__(stage, name, tuple(known))
        self.stage, self.name, self.known = stage, name, tuple(known)

    def __str__(self) -> str:
        return f"No {self.stage} backend is called {self.name!r}. {suggest(self.name, self.known)}"


class BackendRefused(BackendError):
    exit_status = 2

    def __init__(self, stage: str, name: str, problem: str, cure: str = "") -> None:
        super().__init__(stage, name, problem, cure)
        self.stage, self.name, self.problem, self.cure = stage, name, problem, cure

    def __str__(self) -> str:
        return _sentence(f"{self.stage} {self.name}: {self.problem}", self.cure)


class DeviceMissing(BackendError):
    exit_status = 2

    def __init__(self, problem: str, cure: str = "Use --device cpu") -> None:
        super().__init__(problem, cure)
        self.problem, self.cure = problem, cure

    def __str__(self) -> str:
        return f"{self.problem}. {self.cure}."


class MissingExtra(BackendError):
    exit_status = 2

    def __init__(self, backend: str, extra: str) -> None:
        super().__init__(backend, extra)
        self.backend, self.extra = backend, extra

    def __str__(self) -> str:
        return (
            f"{self.backend!r} needs a package that is not installed. Run: pip install 'diarize-pipeline[{self.extra}]'"
        )


class ModelError(DiarizeError):
    """A model file is missing, or is not the expected one."""

    exit_status = 5


class UnknownModel(ModelError):
    exit_status = 2

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(name, tuple(known))
        self.name, self.known = name, tuple(known)

    def __str__(self) -> str:
        return f"No model is called {self.name!r}. {suggest(self.name, self.known)}"


class ModelMissing(ModelError):
    def __init__(self, model: str, store: str) -> None:
        super().__init__(model, store)
        self.model, self.store = model, store

    def __str__(self) -> str:
        return (
            f"The model {self.model!r} is not in the model store ({self.store}). Run: diarize models pull {self.model}"
        )


class ModelDamaged(ModelError):
    exit_status = 6

    def __init__(self, model: str, path: str, expected: str, actual: str) -> None:
        super().__init__(model, path, expected, actual)
        self.model, self.path, self.expected, self.actual = model, path, expected, actual

    def __str__(self) -> str:
        return (
            f"The model file {self.path} is damaged: its sha256 is {self.actual}, that of {self.model!r} is "
            f"{self.expected}. "
            f"Run: diarize models pull {self.model} --force"
        )


class SourceDamaged(ModelDamaged):
    """`path` is the source, or the folder that is imported."""

    def __str__(self) -> str:
        return (
            f"The model {self.model!r} is not stored: {self.path} has the sha256 {self.actual}, not {self.expected}. "
            "Run the command again; if nothing changes, the source, or a mirror or proxy in front of it, delivers "
            "another file: bring the right one with diarize models import FOLDER"
        )


class ModelUnavailable(ModelError):
    def __init__(self, model: str, problem: str, cure: str = "") -> None:
        super().__init__(model, problem, cure)
        self.model, self.problem, self.cure = model, problem, cure

    def __str__(self) -> str:
        return _sentence(f"The model {self.model!r} cannot be fetched: {self.problem}", self.cure)


class ModelRefused(ModelError):
    exit_status = 2

    def __init__(self, model: str, problem: str, cure: str = "") -> None:
        super().__init__(model, problem, cure)
        self.model, self.problem, self.cure = model, problem, cure

    def __str__(self) -> str:
        return _sentence(f"The model {self.model!r} is refused: {self.problem}", self.cure)


class FormatError(DiarizeError):
    """A value cannot be written in, or read from, a file format. `where` is a file, with a line where there is one."""

    def __init__(self, where: str, problem: str, cure: str = "") -> None:
        super().__init__(where, problem, cure)
        self.where, self.problem, self.cure = where, problem, cure

    def __str__(self) -> str:
        return _sentence(f"{printable(self.where)}: {self.problem}", self.cure)


class FileError(DiarizeError):
    """An error of one file or folder."""

    def __init__(self, path: str, problem: str, cure: str = "") -> None:
        super().__init__(path, problem, cure)
        self.path, self.problem, self.cure = path, problem, cure

    def __str__(self) -> str:
        return f"{printable(self.path)}: {self.reason}"

    @property
    def reason(self) -> str:
        """Problem and cure, without the path, which differs between machines."""
        return _sentence(self.problem, self.cure)


class AudioError(FileError):
    """A recording cannot be read, or holds no usable samples."""


class OutputError(FileError):
    """A result cannot be written: the disk is full, access is denied, or the place is refused."""

    exit_status = 5


class CaseError(FileError):
    """An error of the forensic case at `path`."""

    exit_status = 2


class CaseDamaged(CaseError):
    """The log of a case, or a file that the log names, was changed."""

    exit_status = 6


class LibraryError(FileError):
    """An error of the library of enrolled speakers at `path`."""

    exit_status = 5


class LibraryMissing(LibraryError):
    """It does not exist."""

    exit_status = 2


class LibraryUnreadable(LibraryError):
    """The file is not a library."""

    exit_status = 2


class LibraryNewer(LibraryError):
    """A newer version of this package created it."""


class LibraryLocked(LibraryError):
    """Another process is using it, and did not finish in time."""


class LibraryReadOnly(LibraryError):
    """It may not be written."""


class LibraryFull(LibraryError):
    """Its disk is full."""


class LibraryDamaged(LibraryError):
    """Its content is damaged."""

    exit_status = 6


class PassphraseError(LibraryError):
    """It is encrypted and the passphrase is missing or wrong, or it is not encrypted and there is a passphrase."""

    exit_status = 2


class UnknownPerson(LibraryError):
    """No person of that name or id, or several of them."""

    exit_status = 2


class CalibrationError(DiarizeError):
    """A calibration cannot be computed, or does not fit the scores."""

    exit_status = 2

    def __init__(self, problem: str, cure: str = "") -> None:
        super().__init__(problem, cure)
        self.problem, self.cure = problem, cure

    def __str__(self) -> str:
        return _sentence(f"Calibration: {self.problem}", self.cure)


class StageError(DiarizeError):
    """A stage failed on one recording."""

    def __init__(self, recording: str, stage: str, reason: str) -> None:
        super().__init__(recording, stage, reason)
        self.recording, self.stage, self.reason = recording, stage, reason

    def __str__(self) -> str:
        return f"{printable(self.recording)}: {self.stage} failed: {self.reason}"


def printable(path: str) -> str:
    """A file name that is safe in a terminal or a log: control characters and undecodable bytes are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in path)


def suggest(name: str, known: Iterable[str]) -> str:
    """What to say about an unknown name: the most similar of the `known` ones, if any is similar, and all of them."""
    names = tuple(known)
    similar = difflib.get_close_matches(name, names, n=1)
    return f"{f'Did you mean {similar[0]!r}? ' if similar else ''}Known: {', '.join(names)}."


def _sentence(problem: str, cure: str) -> str:
    return f"{problem}. {cure}" if cure else f"{problem}."

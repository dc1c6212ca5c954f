"""Every error this library raises on purpose.

DiarizeError
├── ConfigError            a setting is unknown or out of range
├── BackendError           a backend cannot be used
│   ├── UnknownBackend     no such name
│   └── MissingExtra       the package behind it is not installed
├── ModelError             a model file is not there, or is not what it should be
│   ├── UnknownModel       no such name in the registry
│   ├── ModelMissing       not in the store
│   ├── ModelDamaged       its digest is not the pinned one
│   ├── ModelUnavailable   it cannot be fetched: offline, denied, no such source
│   └── ModelRefused       it is of another kind than asked for, or holds more than data
├── AudioError             a recording cannot be read, or holds no usable samples
├── FormatError            a value cannot be written in, or read from, a file format
├── OutputError            a result cannot be written
├── LibraryError           the library of enrolled speakers cannot do what was asked
│   ├── LibraryMissing     there is none at that place
│   ├── LibraryUnreadable  what is there is no library
│   ├── LibraryNewer       a newer version of this package made it
│   ├── LibraryLocked      another process is using it
│   ├── LibraryReadOnly    it may not be written
│   ├── LibraryFull        the disk it lies on is full
│   ├── LibraryDamaged     it is not what was written
│   ├── LibraryLockedAway  it is encrypted and the passphrase is missing or wrong, or the other way round
│   └── UnknownPerson      nobody of that name or id is in it, or several are
├── CalibrationError       a calibration cannot be made of these trials, or used on these scores
└── StageError             a stage failed on one recording; carries recording and stage

Every error carries its values, names the cure, and crosses process borders whole: constructor arguments go to
`super().__init__`, the text is built in `__str__`.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence


class DiarizeError(Exception):
    """Base class. Its `args` are its constructor's arguments, so that it pickles."""


class ConfigError(DiarizeError):
    """A setting is unknown or out of range. `where` is the file, variable or option it came from."""

    def __init__(self, where: str, key: str, problem: str, cure: str = "") -> None:
        super().__init__(where, key, problem, cure)
        self.where, self.key, self.problem, self.cure = where, key, problem, cure

    def __str__(self) -> str:
        return _sentence(f"{self.where}: {self.key}: {self.problem}", self.cure)


class BackendError(DiarizeError):
    """A backend cannot be used."""


class UnknownBackend(BackendError):
    def __init__(self, stage: str, name: str, known: Sequence[str]) -> None:
        super().__init__(stage, name, tuple(known))
        self.stage, self.name, self.known = stage, name, tuple(known)

    def __str__(self) -> str:
        close = difflib.get_close_matches(self.name, self.known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return f"No {self.stage} backend is called {self.name!r}.{hint} Known: {', '.join(self.known)}."


class MissingExtra(BackendError):
    def __init__(self, backend: str, extra: str) -> None:
        super().__init__(backend, extra)
        self.backend, self.extra = backend, extra

    def __str__(self) -> str:
        return (
            f"{self.backend!r} needs a package that is not installed. Run: pip install 'diarize-pipeline[{self.extra}]'"
        )


class ModelError(DiarizeError):
    """A model file is not there, or is not what it should be."""


class UnknownModel(ModelError):
    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(name, tuple(known))
        self.name, self.known = name, tuple(known)

    def __str__(self) -> str:
        close = difflib.get_close_matches(self.name, self.known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return f"No model is called {self.name!r}.{hint} Known: {', '.join(self.known)}."


class ModelMissing(ModelError):
    def __init__(self, model: str, store: str) -> None:
        super().__init__(model, store)
        self.model, self.store = model, store

    def __str__(self) -> str:
        return (
            f"The model {self.model!r} is not in the model store ({self.store}). Run: diarize models pull {self.model}"
        )


class ModelDamaged(ModelError):
    def __init__(self, model: str, path: str, expected: str, found: str) -> None:
        super().__init__(model, path, expected, found)
        self.model, self.path, self.expected, self.found = model, path, expected, found

    def __str__(self) -> str:
        return (
            f"The model file {self.path} is damaged: sha256 {self.found}, but {self.model!r} is {self.expected}. "
            f"Run: diarize models pull {self.model} --force"
        )


class ModelUnavailable(ModelError):
    def __init__(self, model: str, problem: str, cure: str = "") -> None:
        super().__init__(model, problem, cure)
        self.model, self.problem, self.cure = model, problem, cure

    def __str__(self) -> str:
        return _sentence(f"The model {self.model!r} cannot be fetched: {self.problem}", self.cure)


class ModelRefused(ModelError):
    def __init__(self, model: str, problem: str, cure: str = "") -> None:
        super().__init__(model, problem, cure)
        self.model, self.problem, self.cure = model, problem, cure

    def __str__(self) -> str:
        return _sentence(f"The model {self.model!r} is refused: {self.problem}", self.cure)


class AudioError(DiarizeError):
    """A recording cannot be read, or holds no usable samples."""

    def __init__(self, path: str, problem: str, cure: str = "") -> None:
        super().__init__(path, problem, cure)
        self.path, self.problem, self.cure = path, problem, cure

    def __str__(self) -> str:
        return f"{printable(self.path)}: {self.reason}"

    @property
    def reason(self) -> str:
        """Problem and cure, without the path, which is another on every machine."""
        return _sentence(self.problem, self.cure)


class FormatError(DiarizeError):
    """A value cannot be written in, or read from, a file format. `where` is a file, with a line where there is one."""

    def __init__(self, where: str, problem: str, cure: str = "") -> None:
        super().__init__(where, problem, cure)
        self.where, self.problem, self.cure = where, problem, cure

    def __str__(self) -> str:
        return _sentence(f"{printable(self.where)}: {self.problem}", self.cure)


class OutputError(DiarizeError):
    """A result cannot be written: no room, no rights, or a place that is refused."""

    def __init__(self, path: str, problem: str, cure: str = "") -> None:
        super().__init__(path, problem, cure)
        self.path, self.problem, self.cure = path, problem, cure

    def __str__(self) -> str:
        return _sentence(f"{printable(self.path)}: {self.problem}", self.cure)


class LibraryError(DiarizeError):
    """The library of enrolled speakers at `path` cannot do what was asked."""

    def __init__(self, path: str, problem: str, cure: str = "") -> None:
        super().__init__(path, problem, cure)
        self.path, self.problem, self.cure = path, problem, cure

    def __str__(self) -> str:
        return _sentence(f"{printable(self.path)}: {self.problem}", self.cure)


class LibraryMissing(LibraryError):
    """There is no library at that place."""


class LibraryUnreadable(LibraryError):
    """What is there is no library."""


class LibraryNewer(LibraryError):
    """A newer version of this package made it."""


class LibraryLocked(LibraryError):
    """Another process is using it, and did not finish in time."""


class LibraryReadOnly(LibraryError):
    """It may not be written."""


class LibraryFull(LibraryError):
    """The disk it lies on is full."""


class LibraryDamaged(LibraryError):
    """It is not what was written."""


class LibraryLockedAway(LibraryError):
    """It is encrypted and the passphrase is missing or wrong, or a passphrase was given and it is not encrypted."""


class UnknownPerson(LibraryError):
    """Nobody of that name or id is in it, or several are."""


class CalibrationError(DiarizeError):
    """A calibration cannot be made, or is not for the scores that it was to be used on."""

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
    """A file name that cannot disturb a terminal or a log: control characters and undecodable bytes are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in path)


def _sentence(problem: str, cure: str) -> str:
    return f"{problem}. {cure}" if cure else f"{problem}."

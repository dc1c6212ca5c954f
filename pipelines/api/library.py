"""Enrolled people, whom `diarize.process` names."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Never, Self

from diarize.config import Config, Device
from diarize.errors import ConfigError, LibraryError, printable
from diarize.library import store as stores
from diarize.library.database import encryption
from diarize.library.database.records import Person
from diarize.models.store import Store
from diarize.text import counted
from pipelines.api import keywords
from pipelines.api.keywords import AnyPath
from pipelines.batch.run import RunObserver
from pipelines.guard import personal
from pipelines.guard.personal import OnPerson
from pipelines.people import speakers
from pipelines.people.enroll import EnrolmentRequest, EnrolmentResult, enroll
from pipelines.people.enrolment_checks import CHECKS
from pipelines.people.identify import identify


class Library:
    """The people who may be recognised: an open library of voices. Close it, or use it in a `with`.

        with diarize.Library("people.db") as people:
            people.enroll("Anna", ["anna1.wav", "anna2.wav"], consent="by letter, 2026-03-01")
            result = diarize.process("meeting.m4a", library=people)

    One object belongs to the thread that made it; any number of processes may use the library. Voices are biometric
    data: enrol people who agreed to it (docs/library.md).
    """

    def __init__(self, path: AnyPath, passphrase: str | None = None) -> None:
        """Open the library at `path`, a file or postgresql://user@host/database; a new one is made where there is none,
        encrypted if a passphrase is given.

        `passphrase` None: DIARIZE_PASSPHRASE, where it is set. Raises LibraryError, and MissingExtra for encryption
        without its package.
        """
        secret = passphrase if passphrase is not None else encryption.passphrase_of(os.environ)
        with keywords.python_messages("Library"):
            self._address, self._secret = _address(path, "Library"), secret
            self._store: stores.Library | None = stores.open(self._address, secret, create=True)
        self.place = self._store.place

    def __repr__(self) -> str:
        state = "closed" if self._store is None else counted(self._store.counts()[0], "person")
        return f"<Library {self.place!r}: {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close it; once more does nothing."""
        if self._store is not None:
            self._store.close()
            self._store = None

    @property
    def store(self) -> stores.Library:
        """The library as `pipelines.people` takes it. Raises LibraryError where it is closed."""
        if self._store is None:
            raise LibraryError(self.place, "this library is closed", "Open it again: diarize.Library(...).")
        return self._store

    def people(self) -> tuple[Person, ...]:
        """Everybody, in the order in which they were enrolled; those whose consent has ended are marked `expired`."""
        return self.store.people()

    def enroll(
        self,
        name: str,
        files: AnyPath | Sequence[AnyPath],
        *,
        consent: str | None = None,
        expires: date | str | None = None,
        new: bool = False,
        keep_audio: bool = False,
        accept: Collection[str] = (),
        start: float | None = None,
        end: float | None = None,
        calibration: AnyPath | None = None,
        vad: str | None = None,
        embedder: AnyPath | None = None,
        profile: Literal["accurate", "fast"] | None = None,
        channel: str | int | None = None,
        track: int | None = None,
        device: Device | None = None,
        offline: bool | None = None,
        config: Mapping[str, Any] | Config | AnyPath | None = None,
        **unknown: Never,
    ) -> EnrolmentResult:
        """Enrol a person from recordings in which they alone speak; somebody who is known gets more utterances.

        `consent` is what they agreed to, `expires` the last day on which their voice may be used ("2030-12-31"), `new`
        says that it is somebody else of the same name, `keep_audio` keeps the speech for later models, `accept` names
        checks to ignore (noise, clipping, voices, agreement, spoofing, replay), `start` and `end` (s) take a part of
        one recording, `calibration` is a file of `diarize calibrate` (default: the one shipped for the embedder). What
        was refused, and why, is in the result, and is warned of.

        Raises ConfigError, LibraryError, UnknownPerson, CalibrationError, BackendError and ModelError.
        """
        keywords.refuse_unknown(self.enroll, unknown)
        if not isinstance(name, str):
            raise TypeError(f"name is a str, not {type(name).__name__}")
        paths = keywords.paths_of(files, "files")
        calibration_path = None if calibration is None else keywords.path_of(calibration, "calibration")
        options = {
            "vad": vad,
            "embedder": embedder,
            "profile": profile,
            "channel": channel,
            "track": track,
            "device": device,
            "offline": offline,
        }
        with keywords.python_messages("enroll"):
            settings = keywords.resolve(options, config)
            ignored = {accept} if isinstance(accept, str) else set(accept)
            if wrong := sorted(ignored - set(CHECKS)):
                raise ConfigError("accept", ", ".join(wrong), "no such check", f"Known: {', '.join(CHECKS)}.")
            checks = frozenset(CHECKS).intersection(ignored)
            request = EnrolmentRequest(name, new, consent, _day(expires), keep_audio, checks)
            models = Store(offline=settings.run.offline)
            times = {"start": start, "end": end}
            result = enroll(self.store, request, paths, settings, models, **times, calibration=calibration_path)
        for row in result.rows:
            if row.outcome == "refused":
                warnings.warn(f"{printable(name)}: {row.origin} was refused: {row.reason}", stacklevel=2)
        return result

    def preferences(self, who: str) -> dict[str, Any]:
        """What applications should know of a person (name or id): whatever `set_preferences` kept; else empty.

        Raises UnknownPerson.
        """
        return self.store.guard.preferences(self.store.find(who).id)

    def set_preferences(self, who: str, value: Mapping[str, Any]) -> None:
        """Replace the preferences of a person by an object that JSON can say, of at most 64 KiB; {} deletes them.

        Raises UnknownPerson, ConfigError.
        """
        try:
            self.store.set_preferences(self.store.find(who).id, value)
        except (ValueError, TypeError) as error:
            raise ConfigError("set_preferences", "value", str(error)) from error

    def identify(
        self, files: AnyPath | Sequence[AnyPath], then: OnPerson, *, config: Mapping[str, Any] | Config | None = None
    ) -> None:
        """Call `then` for each speaker of recordings, with a dict: recording, speaker, seconds, person (id and name;
        None: unknown), score (log-likelihood ratio) and preferences (empty for an unknown speaker).

        Raises ConfigError, LibraryError, BackendError, ModelError, and whatever `then` raises.
        """
        with keywords.python_messages("identify"):
            settings = keywords.resolve({}, config)
            opened = partial(stores.open, self._address, self._secret, read_only=True)
            paths = keywords.paths_of(files, "files")
            models = Store(offline=settings.run.offline)
            happened = personal.events(identify(paths, opened, settings, models, RunObserver()), self.store)
        personal.call(then, happened)

    def rename(self, who: str, name: str) -> Person:
        """Give a person (name or id) another name. Raises UnknownPerson, ConfigError for a name that is none."""
        with keywords.python_messages("rename"):
            return speakers.rename(self.store, who, name)

    def merge(self, keep: str, gone: str) -> Person:
        """Two entries are one person: `keep` gets the utterances of `gone`. Raises UnknownPerson, ConfigError."""
        with keywords.python_messages("merge"):
            return speakers.merge(self.store, keep, gone)

    def remove(self, who: str) -> None:
        """Delete a person (name or id) with everything that is kept of them. Raises UnknownPerson, LibraryLocked.

        Transcripts and copies of the library that were made before still hold what they held.
        """
        self.store.remove(self.store.find(who).id)


@contextlib.contextmanager
def reading(library: Library | AnyPath) -> Iterator[stores.Library]:
    """The library that a caller names; one that is opened here is closed again."""
    if isinstance(library, Library):
        yield library.store
        return
    with speakers.open_library(_address(library, "library"), os.environ, read_only=True) as opened:
        yield opened


def _address(value: AnyPath, name: str) -> str | Path:
    """A path, or a str that may be the address of a server. Raises TypeError for anything else."""
    path = keywords.path_of(
        value, name, "a path or an address" if name == "Library" else "a Library, a path or an address"
    )
    return value if isinstance(value, str) else path


def _day(value: date | str | None) -> date | None:
    """Raises ConfigError for a text that is no day."""
    if not isinstance(value, str):
        return value
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise ConfigError("expires", value, "is no day", "Write it as 2030-12-31.") from error

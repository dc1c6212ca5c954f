"""Corrections in a recording's folder: `corrections.jsonl`, to which one operation at a time is appended.

`transcript.json` is never changed. Beside the log lies a copy of each transcript.json on which corrections were made
(`corrections.base-SHA256.json`): if the recording is processed again, the corrections are brought to the new transcript
from there. `corrected.json` is the corrected transcript, and all other exports are written from it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from diarize import files
from diarize.corrections import history, overlay
from diarize.corrections.anchoring import Anchors
from diarize.corrections.history import Applied, Entry, History
from diarize.corrections.operations import Change, DoesNotFit, Operation
from diarize.corrections.state import State
from diarize.errors import FormatError, OutputError
from diarize.formats import transcript_json
from diarize.types import Transcript
from pipelines.results.fingerprint import file_state

LOG = "corrections.jsonl"
CORRECTED = "corrected.json"
REPLACED = 5.0  # s in which a transcript.json that is being replaced is there again
_TRANSCRIPT = "transcript.json"
_MOST = 20  # turns and words that an entry lists as they were and are


class Stale(Exception):
    """Somebody else corrected in between: the operation was made for an older state."""


class Corrections:
    """The corrections of one recording, in the folder of its results. Safe for several threads and processes."""

    def __init__(self, folder: Path, content: bytes | None = None) -> None:
        """`content`: that of a transcript.json which is not written yet.

        Raises FormatError where there is no transcript, or the log cannot be read.
        """
        self.folder = folder
        self._lock = threading.RLock()
        self._load(content)

    def _load(self, content: bytes | None = None) -> None:
        path = self.folder / _TRANSCRIPT
        self._seen = file_state(path)
        self._content = files.read(path) if content is None else content
        self.base = hashlib.sha256(self._content).hexdigest()
        self.transcript = transcript_json.loads(files.text_of(self._content, str(path)), str(path))
        self._machine = State.of(self.transcript)
        self._anchors: dict[str, Anchors | str] = {}
        self._reload()

    def _load_again(self) -> None:
        """Load what is there now. While exports are written, transcript.json is away for a moment: it is waited for.

        Raises FormatError, at once where the whole folder is gone.
        """
        end = time.monotonic() + REPLACED
        while True:
            try:
                return self._load()
            except FormatError as error:
                is_away = isinstance(error.__cause__, FileNotFoundError) and self.folder.is_dir()
                if not is_away or time.monotonic() > end:
                    raise
            time.sleep(0.01)

    def _reload(self) -> None:
        self._size = _size(self.folder / LOG)  # before it is read: what is appended meanwhile is read next time
        self.entries, self.problem = read_log(self.folder)
        self._draft, self._applied = history.replay_draft(self._machine, self.entries, self._translate)

    @property
    def history(self) -> History:
        """The state after all corrections that fit, and what became of each."""
        return History(self._draft.freeze(), tuple(self._applied))

    @property
    def machine(self) -> State:
        """The state before any correction."""
        return self._machine

    @property
    def applied(self) -> tuple[Applied, ...]:
        """What became of each entry, in order."""
        return tuple(self._applied)

    def operation(self, entry: Entry) -> Operation:
        """The operation of an entry, for the transcript that is here now; as it was made where it does not fit."""
        try:
            return self._translate(entry)
        except DoesNotFit:
            return entry.operation

    @property
    def head(self) -> str:
        """The hash of the last entry."""
        return self.entries[-1].hash if self.entries else history.START

    def corrected(self) -> Transcript:
        """The transcript with all corrections that fit."""
        return overlay.corrected(self.transcript, self._draft.freeze()) if self.entries else self.transcript

    def append(self, operation: Operation, author: str, after: int | None = None) -> Entry:
        """Add an operation; it is on the disk when this returns.

        `after`: the number of the last entry that the author has seen. Raises DoesNotFit for an operation that cannot
        be applied, Stale where there are entries beyond `after`, OutputError where the log cannot be written.
        """
        entries, problem = self.append_all([operation], author, after)
        if problem:
            raise DoesNotFit(problem)
        return entries[0]

    def append_all(
        self, operations: Sequence[Operation], author: str, after: int | None = None, base: str | None = None
    ) -> tuple[tuple[Entry, ...], str]:
        """Add operations in order, up to the first that cannot be applied: the entries, and the problem of that one.

        All entries are on the disk when this returns; nobody else's are between them. `after`: as in `append`; `base`:
        the sha256 of the transcript.json that the author has seen. Raises Stale and OutputError.
        """
        with self._lock, _locked(self.folder / LOG) as file:
            before = self.base
            self.refresh()
            if self.problem:
                raise OutputError(str(self.folder / LOG), self.problem, "Restore the file, or move it away.")
            if base not in (None, self.base) or (after is not None and self.base != before):
                raise Stale("the recording has been processed again")
            if after is not None and after != len(self.entries):
                raise Stale(f"there are {len(self.entries)} corrections, and this one was made after {after}")
            known, problem = len(self.entries), ""
            entries = list(self.entries)
            try:
                for operation in operations:
                    entries.append(self._applied_entry(operation, author, entries))
            except DoesNotFit as error:
                problem = str(error)
            if len(entries) > known:
                try:
                    self._keep_base()
                    _write_lines(file, "".join(entry.as_line() for entry in entries[known:]), self.folder / LOG)
                except OutputError:
                    self._reload()
                    raise
                self.entries = tuple(entries)
                self._size = _size(self.folder / LOG)
            return self.entries[known:], problem

    def _applied_entry(self, operation: Operation, author: str, entries: Sequence[Entry]) -> Entry:
        """The entry of an operation after `entries`, applied to the draft. Raises DoesNotFit."""
        operation = history.check_entry(operation, entries)
        number = len(entries) + 1
        is_change = operation["op"] not in ("undo", "redo")
        change = self._draft.apply(operation, number) if is_change else None
        entry = Entry(number, _now(), author, self.base, dict(operation), *_describe(change))
        entry = replace(entry, hash=entry.chained(entries[-1].hash if entries else history.START))
        if is_change:
            self._applied.append(Applied(entry))
        else:
            self._draft, self._applied = history.replay_draft(self._machine, [*entries, entry], self._translate)
        return entry

    def refresh(self) -> bool:
        """Read what others have written since; whether the recording was processed again, with another result.

        Raises FormatError as the constructor does.
        """
        with self._lock:
            before = self.base
            if file_state(self.folder / _TRANSCRIPT) != self._seen:
                self._load_again()
            elif _size(self.folder / LOG) != self._size:
                self._reload()
            return self.base != before

    def _keep_base(self) -> None:
        path = base_path(self.folder, self.base)
        if not path.exists():
            files.write(path, self._content)

    def _translate(self, entry: Entry) -> Operation:
        """The operation of an entry, for the transcript that is here now. Raises DoesNotFit."""
        if entry.base == self.base:
            return entry.operation
        if entry.base not in self._anchors:
            self._anchors[entry.base] = _anchors(base_path(self.folder, entry.base), entry.base, self._machine)
        anchors = self._anchors[entry.base]
        if isinstance(anchors, str):
            raise DoesNotFit(anchors)
        return anchors.translate(entry.operation)


def exist(folder: Path) -> bool:
    """Whether anybody has corrected the recording."""
    return (folder / LOG).is_file()


def read_log(folder: Path) -> tuple[tuple[Entry, ...], str]:
    """The entries, and the problem of their chain. Raises FormatError where the file cannot be read."""
    path = folder / LOG
    return history.read(files.read_text(path), str(path)) if path.exists() else ((), "")


def base_path(folder: Path, digest: str) -> Path:
    """The copy of the transcript.json with this sha256."""
    return folder / f"corrections.base-{digest[:16]}.json"


def _anchors(path: Path, digest: str, state: State) -> Anchors | str:
    """Anchors from the transcript in `path`, or the reason why there are none."""
    try:
        data = files.read(path)
        if hashlib.sha256(data).hexdigest() != digest:
            return f"the transcript on which it was made has been changed ({path.name})"
        return Anchors(State.of(transcript_json.loads(data.decode(), path.name)), state)
    except (FormatError, UnicodeDecodeError):
        return f"the transcript on which it was made is not there any more ({path.name})"


def _describe(change: Change | None) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What was changed, before and after, for readers of the log."""
    if change is None:
        return {}, {}
    sides = []
    for items, speakers in ((change.before, change.speakers_before), (change.after, change.speakers_after)):
        side: dict[str, Any] = {}
        if speakers:
            side["speakers"] = [asdict(speaker) for speaker in speakers]
        if items:
            side["items"] = [asdict(item) for item in items[:_MOST]]
            side["count"] = len(items)
        sides.append(side)
    return sides[0], sides[1]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """The log, opened to append, for one process at a time. Raises OutputError."""
    try:
        with path.open("a+b") as file:
            _lock_file(file)
            yield file
    except OSError as error:
        raise OutputError(
            str(path), f"cannot be written: {error.strerror or error}", files.suggest_cure(error)
        ) from error


def _lock_file(file: BinaryIO) -> None:
    """Until the file is closed."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined]
    else:
        fcntl.flock(file, fcntl.LOCK_EX)


def _write_lines(file: BinaryIO, lines: str, path: Path) -> None:
    """Append lines and wait for the disk; a part of a line that a killed process left is removed first."""
    end = file.seek(0, os.SEEK_END)
    start = _end_of_last_line(file, end)
    try:
        file.truncate(start)
        file.seek(start)
        file.write(lines.encode("ascii"))
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
        with contextlib.suppress(OSError):
            file.truncate(start)
        raise OutputError(
            str(path), f"cannot be written: {error.strerror or error}", files.suggest_cure(error)
        ) from error
    if start == 0:
        files.sync_folder(path.parent)


def _end_of_last_line(file: BinaryIO, end: int) -> int:
    """The position behind the last line end; 0 where there is none."""
    while end > 0:
        start = max(0, end - 65_536)
        file.seek(start)
        block = file.read(end - start)
        if (at := block.rfind(b"\n")) >= 0:
            return start + at + 1
        end = start
    return 0

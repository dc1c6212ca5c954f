"""A case on the disk: the log, and a numbered folder with the files of each act. Nothing is changed or overwritten.

    CASE/log.jsonl, log.head        every act, in order; the number of lines and the last hash again
    CASE/0001-new/case.json         what the case is about
    CASE/0002-add/item.json, ...    what the act wrote; the log has the sha256 of every file

The files of an act are written to a hidden folder, then the log gets its line, then the folder its name: a crash leaves
either no act, or one that the next command completes. A full disk leaves the case as it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diarize import files
from diarize.errors import CaseDamaged, CaseError, OutputError
from pipelines.evidence import log
from pipelines.evidence.log import HEAD, LOG, Act
from pipelines.results.integrity import Difference


@dataclass(frozen=True, slots=True)
class Case:
    """A case whose log is intact."""

    folder: Path
    acts: tuple[Act, ...]

    def of(self, *actions: str) -> list[Act]:
        """The acts of these kinds, in order."""
        return [act for act in self.acts if act.action in actions]

    def read_json(self, act: Act, name: str) -> dict[str, Any]:
        """A JSON file of an act. Raises CaseDamaged where its bytes are not those that the log names."""
        path = f"{name_of(act)}/{name}"
        data = self.read(act, name)
        value = json.loads(data)
        if not isinstance(value, dict):
            raise CaseDamaged(str(self.folder / path), "is no JSON object")
        return value

    def read(self, act: Act, name: str) -> bytes:
        """A file of an act. Raises CaseDamaged where its bytes are not those that the log names."""
        path = f"{name_of(act)}/{name}"
        try:
            data = files.regular(self.folder / path).read_bytes()
        except OSError as error:
            raise CaseDamaged(str(self.folder / path), f"cannot be read: {error.strerror or error}") from error
        if hashlib.sha256(data).hexdigest() != act.files.get(path):
            raise CaseDamaged(str(self.folder / path), "was changed since the log recorded it", _CURE)
        return data

    def record(
        self, action: str, detail: Mapping[str, Any], contents: Mapping[str, str | bytes], operator: str = ""
    ) -> Case:
        """The case with one more act, whose files are `contents` (name -> content). Raises OutputError, CaseError."""
        with _locked(self.folder):
            current = _load(self.folder)
            if current.acts != self.acts:
                raise CaseError(
                    str(self.folder), "another command changed the case meanwhile", "Run the command again."
                )
            data = {name: text.encode() if isinstance(text, str) else text for name, text in contents.items()}
            place = f"{len(self.acts) + 1:04d}-{action}"
            digests = {f"{place}/{name}": hashlib.sha256(content).hexdigest() for name, content in data.items()}
            act = log.next_act(self.acts, action, operator, detail, digests)
            part = self.folder / f".{place}.part"
            try:
                _remove(part)
                if data:
                    files.make_folder(part)
                    for name, content in data.items():
                        files.write(part / name, content)
                files.write(self.folder / LOG, log.dumps((*self.acts, act)))
            except BaseException:
                if _read_log(self.folder) == log.dumps(self.acts):  # else the act is recorded: `open_case` completes it
                    _remove(part)
                raise
            return _complete(Case(self.folder, (*self.acts, act)))


def name_of(act: Act) -> str:
    """The folder of an act's files, below the case."""
    return f"{act.number:04d}-{act.action}"


def as_json(value: Mapping[str, Any]) -> str:
    """JSON as all files of a case are written."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def create(folder: Path, facts: Mapping[str, Any], operator: str = "") -> Case:
    """A new case. Raises CaseError where something is there already, OutputError where it cannot be written."""
    if os.path.lexists(folder) and not _is_free(folder):
        raise CaseError(str(folder), "exists and is not empty", "Choose another folder for the case.")
    files.make_folder(folder)
    files.write(folder / LOG, b"")
    return Case(folder, ()).record("new", {"number": facts.get("number", "")}, {"case.json": as_json(facts)}, operator)


def _is_free(folder: Path) -> bool:
    """Whether a case may be made there: an empty folder, or one that a failed `create` left."""
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir() if not path.name.endswith(".part")}
    return not names or (names == {LOG} and (folder / LOG).is_file() and (folder / LOG).stat().st_size == 0)


def open_case(folder: Path) -> Case:
    """The case in a folder; an act that a crash interrupted is completed.

    Raises CaseError where there is none, CaseDamaged where its log is not intact: no act may be added then.
    """
    with _locked(folder):
        case = _load(folder)
        if not case.acts:
            raise CaseError(str(folder), "holds a case without any act", "Make another: diarize case new DIR.")
        return _complete(case)


def examine(folder: Path) -> tuple[Case, list[Difference]]:
    """(the case as far as its log can be followed, all that is not as the log has it). Nothing is written.

    Raises CaseError where there is no case.
    """
    acts, problems = log.loads(_read_log(folder))
    problems += _check_head(folder, acts)
    expected = {LOG, HEAD}
    for act in acts:
        for path, digest in act.files.items():
            expected |= {path, path.partition("/")[0]}
            problems += _check_file(folder, path, str(digest))
        if act.files and (folder / f".{name_of(act)}.part").exists():
            problems.append(
                Difference(name_of(act), "missing", "the act was interrupted: `diarize case status` completes it")
            )
    for each in sorted(folder.rglob("*")):
        name = each.relative_to(folder).as_posix()
        if name not in expected:
            problems.append(Difference(name, "extra", "does not belong to the case"))
    return Case(folder, acts), problems


def _check_file(folder: Path, name: str, digest: str) -> list[Difference]:
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts or path.is_symlink() or path.parent.is_symlink():
        return [Difference(name, "changed", "is no file of the case")]
    try:
        data = files.regular(path).read_bytes()
    except FileNotFoundError:
        return [Difference(name, "missing", "the log names it")]
    except OSError as error:
        return [Difference(name, "changed", f"cannot be read: {error.strerror or error}")]
    actual = hashlib.sha256(data).hexdigest()
    return [] if actual == digest else [Difference(name, "changed", f"sha256 {actual}, the log has {digest}")]


def _check_head(folder: Path, acts: tuple[Act, ...]) -> list[Difference]:
    try:
        stored = files.regular(folder / HEAD).read_bytes()
    except OSError as error:
        return [Difference(HEAD, "missing", f"cannot be read: {error.strerror or error}")]
    if stored == log.head(acts):
        return []
    return [
        Difference(
            HEAD, "changed", f"does not belong to the log, which has {len(acts)} acts: lines were removed or added"
        )
    ]


def _load(folder: Path) -> Case:
    """The case with an intact log. Raises CaseDamaged."""
    acts, problems = log.loads(_read_log(folder))
    broken = [problem for problem in problems if "the clock went back" not in problem.what]
    if not broken and acts:
        stored = (folder / HEAD).read_bytes() if (folder / HEAD).is_file() else b""
        # After a crash the second copy is one act behind.
        if stored not in (log.head(acts), log.head(acts[:-1])) and not (len(acts) == 1 and not stored):
            broken = _check_head(folder, acts)
    if broken:
        raise CaseDamaged(str(folder / LOG), broken[0].what, _CURE)
    return Case(folder, acts)


def _complete(case: Case) -> Case:
    """Give the last act's folder its name, and write the second copy of the log's end."""
    if case.acts:
        place = name_of(case.acts[-1])
        part = case.folder / f".{place}.part"
        if part.is_dir() and not (case.folder / place).exists():
            try:
                part.rename(case.folder / place)
                files.sync_folder(case.folder)
            except OSError as error:
                raise OutputError(str(case.folder / place), f"cannot be written: {error.strerror or error}") from error
        if not (case.folder / HEAD).is_file() or (case.folder / HEAD).read_bytes() != log.head(case.acts):
            files.write(case.folder / HEAD, log.head(case.acts))
    return case


def _read_log(folder: Path) -> bytes:
    try:
        return files.regular(folder / LOG).read_bytes()
    except OSError as error:
        cure = "Make one: diarize case new DIR."
        raise CaseError(str(folder), f"is no case: {LOG} cannot be read ({error.strerror or error})", cure) from error


def _remove(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """No other process changes the case meanwhile, where the system can lock folders. Raises CaseError."""
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):  # not POSIX, or no such folder: reading the log says so
        yield
        return
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


_CURE = "Run: diarize case verify DIR. It names all that differs; restore the case from a copy."

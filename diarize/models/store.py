"""Where models lie on this machine: one folder a model, its files compared with the registry before they are read.

    STORE/<model>/<file>           the files, under the names of the registry
    STORE/<model>/verified.json    what was hashed: file -> [bytes, mtime_ns, inode, sha256]; saves hashing again
    STORE/<model>/pins.json        digests that the first download settled, where the registry knows none

A model appears as a whole, by one rename of a folder that was filled and flushed beside it. Files are compared with
their digests whenever size, time or inode have changed since they were hashed last; `verify` hashes always.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import platformdirs

from diarize import files
from diarize.errors import ConfigError, ModelDamaged, ModelError, ModelMissing, ModelUnavailable, OutputError
from diarize.models import recognise
from diarize.models.registry import REGISTRY, ModelEntry, Progress, find_entry

State = Literal["present", "missing", "damaged"]

_VERIFIED, _PINS = "verified.json", "pins.json"
_ABANDONED = 86_400  # s after which a half-filled folder belongs to nobody any more


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One model of the registry, and how it stands in the store."""

    entry: ModelEntry
    state: State
    path: Path
    pinned: bool = False  # a digest was settled by the first download or import, not by the registry
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What became of something that `import_folder` found."""

    path: Path
    model: str | None  # None: not recognised, or not complete; `problem` says which
    pinned: bool = False
    problem: str = ""


class Store:
    """The models of this machine. Making one touches nothing; the folder is created by the first pull or import."""

    def __init__(
        self, folder: Path | None = None, offline: bool = False, registry: Mapping[str, ModelEntry] = REGISTRY
    ) -> None:
        """`folder` None: DIARIZE_MODELS, else the platform's data folder. Raises ConfigError where there is none."""
        self.folder = folder if folder is not None else default_folder()
        self.offline = offline
        self.registry = registry

    def path(self, name: str) -> Path:
        """The file of a one-file model, the folder of another, its bytes being the pinned ones.

        Raises UnknownModel, ModelMissing, ModelDamaged; ModelUnavailable where a file may not be read.
        """
        known = find_entry(name, self.registry)
        self._digests(known)
        place = self.folder / name
        return place / known.files[0].name if len(known.files) == 1 else place

    def find(self, name: str) -> Path | None:
        """As `path`, but None where the model is missing."""
        try:
            return self.path(name)
        except ModelMissing:
            return None

    def digest(self, name: str) -> str:
        """sha256 of the one file; of several: sha256 of their sorted digests, one a line. Raises as `path`."""
        digests = sorted(self._digests(find_entry(name, self.registry)).values())
        return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()

    def pins(self, name: str) -> dict[str, str]:
        """file -> sha256 of the files whose digest the first download settled."""
        return {key: value for key, value in _read(self.folder / name / _PINS).items() if isinstance(value, str)}

    def list(self) -> tuple[ModelStatus, ...]:
        """Every model of the registry, in its order."""
        return tuple(self._status(known, rehash=False) for known in self.registry.values())

    def verify(self) -> tuple[ModelStatus, ...]:
        """As `list`, of the models that are there, every byte read and hashed again."""
        present = (known for known in self.registry.values() if (self.folder / known.name).exists())
        return tuple(self._status(known, rehash=True) for known in present)

    def pull(self, name: str, progress: Progress | None = None, force: bool = False) -> Path:
        """Fetch a model that is not there yet (or replace it: `force`), check it, and give its path.

        Raises UnknownModel; ModelUnavailable where no source can be reached, or the store is offline; ModelDamaged
        where a source sends other bytes than the pinned ones, or where those in the store are damaged and not `force`.
        """
        known = find_entry(name, self.registry)
        if not force and (there := self.find(name)) is not None:
            return there
        from diarize.models import fetch  # and with it all that speaks with networks

        sources = [source for source in known.sources if not self.offline or fetch.is_local(source)]
        failures: list[ModelError] = []
        with self._filling(known) as staging:
            for source in sources:
                try:
                    self._fill(known, source, staging, progress or _silent)
                except (ModelUnavailable, ModelDamaged) as failure:
                    failures.append(failure)
                else:
                    self._install(known, staging)
                    return self.path(name)
            if self.offline:
                raise ModelUnavailable(
                    name,
                    "this run is offline, and it is not in the model store",
                    f"With a network: diarize models pull {name}; without: diarize models import FOLDER",
                )
            raise _worst(name, failures)

    def import_folder(self, folder: Path) -> tuple[ImportResult, ...]:
        """Copy in every model whose files lie anywhere under `folder`, recognised by digest (`recognise.match_models`).

        Models that are not complete, and .onnx files that no entry pins, are reported and left. Raises ConfigError
        where `folder` is none or cannot be read; ModelUnavailable where the store cannot be written; ModelDamaged where
        a file differs from what was pinned earlier.
        """
        if not folder.is_dir():
            raise ConfigError(
                "models import", str(folder), "is not a folder", "Name the one that holds the model files."
            )
        try:
            found, strangers = recognise.match_models(folder, self.registry)
        except OSError as error:
            problem = f"cannot be read ({error.strerror})"
            cure = "Change its rights, or copy it to another place."
            raise ConfigError("models import", str(error.filename), problem, cure) from error
        return (
            *(self._import(model, folder) for model in found),
            *(ImportResult(path, None, problem="its sha256 is that of no known model") for path in strangers),
        )

    def _import(self, found: recognise.ModelMatch, folder: Path) -> ImportResult:
        known = found.entry
        if found.missing:
            problem = f"{known.name} is not complete: {', '.join(found.missing)} missing"
            return ImportResult(found.path, None, problem=problem)
        if self._status(known, rehash=True).state != "present":
            with self._filling(known) as staging:
                for name, path in found.parts.items():
                    with path.open("rb") as source, (staging / name).open("xb") as sink:
                        shutil.copyfileobj(source, sink, 1 << 20)
                        sink.flush()
                        os.fsync(sink.fileno())
                self._seal(known, str(folder), staging)
                self._install(known, staging)
        return ImportResult(found.path, known.name, pinned=bool(self.pins(known.name)))

    def _fill(self, known: ModelEntry, source: str, staging: Path, progress: Progress) -> None:
        from diarize.models import fetch

        for file in known.files:
            target = staging / file.name
            target.unlink(missing_ok=True)
            fetch.fetch(known.name, source, file, target, progress)
        self._seal(known, source, staging)

    def _seal(self, known: ModelEntry, source: str, staging: Path) -> None:
        """Compare the files in `staging` with their digests, and note what was found beside them."""
        earlier = self.pins(known.name)
        pins: dict[str, str] = {}
        verified: dict[str, Any] = {}
        for file in known.files:
            path = staging / file.name
            digest = files.sha256(path)
            expected = file.sha256 or earlier.get(file.name) or digest
            if digest != expected:
                raise ModelDamaged(known.name, f"{source} ({file.name})", expected, digest)
            if file.sha256 is None:
                pins[file.name] = digest
            verified[file.name] = [*_mark(path), digest]
        if pins:
            files.write(staging / _PINS, json.dumps(pins, indent=1))
        files.write(staging / _VERIFIED, json.dumps(verified, indent=1))

    @contextlib.contextmanager
    def _filling(self, known: ModelEntry) -> Iterator[Path]:
        """A folder beside the final one, gone at the end whatever happens; disk errors are told with their cure."""
        staging = self.folder / f".{known.name}.{os.getpid()}-{secrets.token_hex(4)}.part"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            if known.size is not None and (free := shutil.disk_usage(self.folder).free) < known.size:
                raise OSError(errno.ENOSPC, f"{known.size} bytes are needed, {free} are free")
            staging.mkdir()
            yield staging
        except (OSError, OutputError) as error:
            raise self._disk_failure(known.name, error) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _install(self, known: ModelEntry, staging: Path) -> None:
        """Put the filled folder under its final name. Where another process was faster, its right bytes stay."""
        final = self.folder / known.name
        while True:
            try:
                staging.rename(final)
                break
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    raise
                if self._status(known, rehash=True).state == "present":
                    return
                aside = staging.with_name(f".{known.name}.{secrets.token_hex(4)}.part")
                with contextlib.suppress(FileNotFoundError):
                    final.rename(aside)
                shutil.rmtree(aside, ignore_errors=True)
        files.sync_folder(self.folder)

    def _sweep(self) -> None:
        """Remove what pulls that were killed left behind."""
        for path in self.folder.glob(".*.part"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    shutil.rmtree(path)

    def _status(self, known: ModelEntry, rehash: bool) -> ModelStatus:
        place = self.folder / known.name
        try:
            self._digests(known, rehash)
        except ModelMissing:
            return ModelStatus(known, "missing", place)
        except ModelError as error:
            return ModelStatus(known, "damaged", place, problem=str(error))
        return ModelStatus(known, "present", place, pinned=bool(self.pins(known.name)))

    def _digests(self, known: ModelEntry, rehash: bool = False) -> dict[str, str]:
        """file -> sha256, each equal to the pinned one. Raises as `path`."""
        place = self.folder / known.name
        verified = {} if rehash else _noted(place / _VERIFIED)
        pins = self.pins(known.name)
        marks: dict[str, Any] = {}
        for file in known.files:
            path = place / file.name
            try:
                mark = _mark(path)
                *noted, digest = verified.get(file.name) or [None]
                if noted != mark:
                    digest = files.sha256(path)
            except (FileNotFoundError, NotADirectoryError):
                raise ModelMissing(known.name, str(self.folder)) from None
            except OSError as error:
                problem = f"{path} cannot be read ({error.strerror})"
                raise ModelUnavailable(
                    known.name, problem, "Change the rights of the file, or set DIARIZE_MODELS"
                ) from error
            expected = file.sha256 or pins.get(file.name)
            if digest != expected:
                raise ModelDamaged(known.name, str(path), expected or "no digest yet", digest)
            marks[file.name] = [*mark, digest]
        if marks != verified:
            with contextlib.suppress(OutputError):  # a store that is read-only is hashed every time
                files.write(place / _VERIFIED, json.dumps(marks, indent=1))
        return {name: mark[3] for name, mark in marks.items()}

    def _disk_failure(self, name: str, error: OSError | OutputError) -> ModelUnavailable:
        cause = error if isinstance(error, OSError) else error.__cause__
        number = cause.errno if isinstance(cause, OSError) else None
        text = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(error)
        full = "Free some space, or set DIARIZE_MODELS to a folder on another disk, and run the command again"
        cures = {errno.ENOSPC: full, errno.EDQUOT: full}
        cure = cures.get(number or 0, "Set DIARIZE_MODELS to a folder that you may write to")
        return ModelUnavailable(name, f"{self.folder} cannot be written ({text})", cure)


def default_folder() -> Path:
    """DIARIZE_MODELS, else the platform's data folder. Raises ConfigError where neither names an absolute place."""
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
    """What to tell when every source failed: other bytes than the pinned ones before anything else."""
    for failure in failures:
        if isinstance(failure, ModelDamaged):
            return failure
    told = [failure for failure in failures if isinstance(failure, ModelUnavailable)]
    cures = [failure.cure for failure in told if failure.cure]
    return ModelUnavailable(name, "; ".join(failure.problem for failure in told), cures[-1] if cures else "")


def _mark(path: Path) -> list[int]:
    """What changes when a file does: bytes, time of the last change (ns), inode."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def _noted(path: Path) -> dict[str, list[Any]]:
    """What `verified.json` holds; empty where it is not there or is damaged, since it can be made again."""
    value = _read(path)
    return {name: mark for name, mark in value.items() if isinstance(mark, list) and mark}


def _read(path: Path) -> dict[str, Any]:
    """A small JSON object; empty where it is not there or is damaged."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _silent(file: str, done: int, total: int | None) -> None: ...

"""What is installed, which models are in the store, what is missing, and how to get it: examined, and printed."""

from __future__ import annotations

import os
import platform
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from rich.table import Table

from diarize.backends import devices
from diarize.cache import store as cache
from diarize.models.store import ModelStatus, Store
from diarize.text import counted
from diarize.version import __version__
from pipelines.cli import console
from pipelines.plan import EMBEDDERS

DISTRIBUTION = "diarize-pipeline"
NEEDED = ("silero-vad-v6", "ge2e")  # models that the main job cannot run without; any embedder does in place of ge2e
# The default models that are in one wheel: two for turns, and one for English words. The main job runs without them.
RECOMMENDED = ("community-1-segmentation", "community-1-embedding", "moonshine-tiny-en")


@dataclass(frozen=True, slots=True)
class Package:
    """A required package: its installed version (None: not installed), and the requirement of the project."""

    name: str
    version: str | None
    requirement: str


@dataclass(frozen=True, slots=True)
class Extra:
    """An optional part of the project and its packages."""

    name: str
    packages: tuple[Package, ...]

    @property
    def installed(self) -> bool:
        return all(package.version is not None for package in self.packages)

    @property
    def command(self) -> str:
        return f"pip install '{DISTRIBUTION}[{self.name}]'"


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that must be writable; `problem` says why it is not."""

    path: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Missing:
    """A missing part: what it is, how to get it, and whether the main job needs it."""

    what: str
    cure: str
    needed: bool


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The state of this machine, for the start of every bug report."""

    version: str
    python: str  # version and implementation
    system: str
    cores: int
    core: tuple[Package, ...]
    extras: tuple[Extra, ...]
    devices: tuple[devices.Device, ...]
    models: tuple[ModelStatus, ...]
    store: Folder
    temporary: Folder
    ffmpeg: str
    cache: str  # of results of stages: folder and size

    @property
    def missing(self) -> tuple[Missing, ...]:
        """What is missing; first the parts that the main job needs."""
        missing = [
            Missing(package.name, f"pip install '{package.requirement}'", True) for package in _absent(self.core)
        ]
        missing += [
            Missing(
                f"{device.runtime} ({device.problem})",
                f"pip install --force-reinstall {device.runtime}",
                device.runtime == "onnxruntime",
            )
            for device in self.devices
            if device.problem
        ]
        missing += [
            Missing(f"{folder.path} ({folder.problem})", cure, True)
            for folder, cure in (
                (self.store, "Set DIARIZE_MODELS to a folder that you may write to"),
                (self.temporary, "Set TMPDIR to a folder that you may write to"),
            )
            if folder.problem
        ]
        has_embedder = any(s.entry.name in EMBEDDERS and s.state == "present" for s in self.models)
        for status in self.models:
            name = status.entry.name
            needed = name in NEEDED and not (name in EMBEDDERS and has_embedder)
            pull = f"diarize models pull {name}"
            if status.state == "damaged":
                missing.append(Missing(f"model {name} (damaged)", f"{pull} --force", needed))
            elif status.state == "missing":
                missing.append(Missing(f"model {name} ({status.entry.description})", pull, needed))
        for extra in self.extras:
            if not extra.installed:
                names = ", ".join(package.name for package in _absent(extra.packages))
                missing.append(Missing(f"extra {extra.name} ({names})", extra.command, False))
        return tuple(sorted(missing, key=lambda each: not each.needed))

    @property
    def ready(self) -> bool:
        """Whether the main job can run."""
        return not any(each.needed for each in self.missing)


def examine(store: Store) -> Diagnosis:
    """Examine this machine and the model store; nothing is changed, fetched or installed."""
    core, extras = _requirements()
    return Diagnosis(
        version=__version__,
        python=f"{platform.python_version()} ({platform.python_implementation()})",
        system=platform.platform(),
        cores=devices.cores(),
        core=core,
        extras=extras,
        devices=devices.probe_runtimes(),
        models=store.list(),
        store=_writable(store.folder),
        temporary=_temporary(),
        ffmpeg="not needed: PyAV includes FFmpeg" if find_spec("av") else "PyAV, which includes FFmpeg, is missing",
        cache=_cache(),
    )


def _requirements() -> tuple[tuple[Package, ...], tuple[Extra, ...]]:
    """The packages that the installed project requires: of the core, and of each extra."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return (Package(DISTRIBUTION, None, DISTRIBUTION),), ()
    core: list[Package] = []
    extras: dict[str, list[Package]] = {}
    for line in lines:
        requirement, _, marker = (part.strip() for part in line.partition(";"))
        name = re.split(r"[\s\[<>=!~(]", requirement, maxsplit=1)[0]
        if name == DISTRIBUTION:  # an extra that consists of other extras
            continue
        package = Package(name, _version(name), requirement)
        extra = re.search(r"""extra\s*==\s*['"]([^'"]+)""", marker)
        (extras.setdefault(extra[1], []) if extra else core).append(package)
    return tuple(core), tuple(Extra(name, tuple(packages)) for name, packages in extras.items())


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _absent(packages: tuple[Package, ...]) -> tuple[Package, ...]:
    return tuple(package for package in packages if package.version is None)


def _writable(folder: Path) -> Folder:
    """Whether `folder`, or the nearest folder above it that exists, can be written to."""
    nearest = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    if not nearest.is_dir():
        return Folder(str(folder), f"{nearest} is not a folder")
    return Folder(str(folder), "" if os.access(nearest, os.W_OK | os.X_OK) else f"{nearest} is not writable")


def _cache() -> str:
    """The default folder of cached results, and its size; it is never missing, as runs work without it."""
    folder = cache.cache_folder("auto")
    if folder is None:
        return "none"
    try:
        return f"{folder} ({cache.Cache(folder, 0).status().size / 1e6:.1f} MB)"
    except OSError as error:
        return f"{folder} (cannot be read: {error.strerror or error})"


def _temporary() -> Folder:
    try:
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"x")
            return Folder(tempfile.gettempdir())
    except OSError as error:
        return Folder(os.environ.get("TMPDIR", "the temporary folder"), error.strerror or str(error))


def doctor_lines(diagnosis: Diagnosis, verbose: bool = False) -> Iterator[str | Table]:
    """Whether the main job can run, what is missing for it, and the machine; with `verbose` everything else too."""
    yield "ready: diarize process can run" if diagnosis.ready else "not ready: something required is missing"
    needed = [each for each in diagnosis.missing if each.needed]
    optional = [each for each in diagnosis.missing if not each.needed]
    if needed:
        yield "missing, required:"
        yield from (f"  {each.what}\n      {each.cure}" for each in needed)

    # The machine: what a bug report should begin with.
    cores = counted(diagnosis.cores, "core")
    yield f"diarize-pipeline {diagnosis.version}, Python {diagnosis.python}, {diagnosis.system}, {cores}"
    yield f"ffmpeg: {diagnosis.ffmpeg}"
    for device in diagnosis.devices:
        yield f"{device.runtime}: " + (device.problem or f"runs on {'cuda' if device.cuda else 'cpu'}")
    yield f"model store: {diagnosis.store.path}"
    present = [status.entry.name for status in diagnosis.models if status.state == "present"]
    yield f"models in the store: {', '.join(present) or 'none'}"
    yield f"temporary files: {diagnosis.temporary.path}"
    yield f"cache: {diagnosis.cache}"

    # Optional parts last: most users need none of them.
    if verbose:
        parts = (("core", diagnosis.core), *((extra.name, extra.packages) for extra in diagnosis.extras))
        rows = [[name, ", ".join(f"{p.name} {p.version or '(missing)'}" for p in members)] for name, members in parts]
        yield console.table(["part", "packages"], rows)
    if optional and verbose:
        yield "missing, optional:"
        yield from (f"  {each.what}\n      {each.cure}" for each in optional)
    elif optional:
        names = ", ".join(each.what.partition(" (")[0] for each in optional)
        yield f"missing, optional: {names}"
        yield "for details, commands to install them, and all packages: diarize doctor --verbose"

"""What is installed, which models are there, what is missing, and how to get it: facts, for somebody else to print."""

from __future__ import annotations

import os
import platform
import re
import sys
import tempfile
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import diarize
from diarize.backends import devices
from diarize.cache import store as cache
from diarize.models.store import ModelStatus, Store
from pipelines.cli import models

DISTRIBUTION = "diarize-pipeline"


@dataclass(frozen=True, slots=True)
class Package:
    """One required package: its version here (None: not installed), and the requirement as the project states it."""

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
class Place:
    """A folder that must be writable; `problem` is empty where it is."""

    path: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that is not there: what it is for, how to get it, and whether the main job cannot do without."""

    what: str
    cure: str
    needed: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a report of a fault should begin with."""

    version: str
    python: str  # version and implementation
    executable: str
    system: str
    cores: int
    core: tuple[Package, ...]
    extras: tuple[Extra, ...]
    devices: tuple[devices.Device, ...]
    models: tuple[ModelStatus, ...]
    store: Place
    temporary: Place
    ffmpeg: str  # decoding needs none of the system
    cache: str  # of results of stages: where, and how much is there

    @property
    def cuda(self) -> bool:
        return any(device.cuda for device in self.devices)

    @property
    def lacks(self) -> tuple[Lack, ...]:
        """What is missing, what the main job needs first."""
        found = [Lack(package.name, f"pip install '{package.requirement}'", True) for package in _absent(self.core)]
        found += [
            Lack(
                f"{device.runtime} ({device.problem})",
                f"pip install --force-reinstall {device.runtime}",
                device.runtime == "onnxruntime",
            )
            for device in self.devices
            if device.problem
        ]
        found += [
            Lack(f"{place.path} ({place.problem})", cure, True)
            for place, cure in (
                (self.store, "Set DIARIZE_MODELS to a folder that you may write to"),
                (self.temporary, "Set TMPDIR to a folder that you may write to"),
            )
            if place.problem
        ]
        for status in self.models:
            name, needed = status.entry.name, status.entry.name in models.NEEDED
            if status.state == "damaged":
                found.append(Lack(f"model {name} (damaged)", f"{models.command(name)} --force", needed))
            elif status.state == "missing":
                found.append(Lack(f"model {name} ({status.entry.description})", models.command(name), needed))
        for extra in self.extras:
            if not extra.installed:
                names = ", ".join(package.name for package in _absent(extra.packages))
                found.append(Lack(f"extra {extra.name} ({names})", extra.command, False))
        return tuple(sorted(found, key=lambda lack: not lack.needed))

    @property
    def ready(self) -> bool:
        """True where the main job can run as things are."""
        return not any(lack.needed for lack in self.lacks)


def examine(store: Store) -> Facts:
    """Look at everything; nothing is changed, fetched or installed."""
    core, extras = _requirements()
    return Facts(
        version=diarize.__version__,
        python=f"{platform.python_version()} ({platform.python_implementation()})",
        executable=sys.executable,
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
    """The packages that the installed project asks for. Where it is not installed, that is what is missing."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return (Package(DISTRIBUTION, None, DISTRIBUTION),), ()
    core: list[Package] = []
    extras: dict[str, list[Package]] = {}
    for line in lines:
        requirement, _, marker = (part.strip() for part in line.partition(";"))
        name = re.split(r"[\s\[<>=!~(]", requirement, maxsplit=1)[0]
        if name == DISTRIBUTION:  # an extra that is made of other extras
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


def _writable(folder: Path) -> Place:
    """Whether `folder`, or the nearest folder above it that exists, can be written to."""
    there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    if not there.is_dir():
        return Place(str(folder), f"{there} is not a folder")
    return Place(str(folder), "" if os.access(there, os.W_OK | os.X_OK) else f"{there} is not writable")


def _cache() -> str:
    """Where results of stages are kept by default, and how much there is; it is never missing, as runs do without."""
    folder = cache.cache_folder("auto")
    if folder is None:
        return "none"
    try:
        return f"{folder} ({cache.Cache(folder, 0).status().size / 1e6:.1f} MB)"
    except OSError as error:
        return f"{folder} (cannot be read: {error.strerror or error})"


def _temporary() -> Place:
    try:
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"x")
            return Place(tempfile.gettempdir())
    except OSError as error:
        return Place(os.environ.get("TMPDIR", "the temporary folder"), error.strerror or str(error))

"""The known models: `registry.toml` beside this file, as typed entries."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from diarize.errors import UnknownModel

Progress = Callable[[str, int, int | None], None]  # called with file, bytes so far, and total bytes if known


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model. Where `sha256` is None, the first download pins it."""

    name: str
    sha256: str | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model: its purpose, its sources, the digests of its files, and its input and output."""

    name: str
    role: str  # "vad", "embedder", "segmentation", "asr"
    sources: tuple[str, ...]  # tried in order; the kinds are listed at the head of registry.toml
    files: tuple[ModelFile, ...]
    licence: str  # SPDX identifier of the weights
    format: Mapping[str, Any]  # read by the backend of that role
    description: str
    measured: bool = False  # the digests were computed from the files, not taken from the publisher
    attribution: str = ""  # authors, whom a licence such as CC-BY demands to be named

    @property
    def terms(self) -> str:
        """The licence, with those to be named."""
        return f"{self.licence}, {self.attribution}" if self.attribution else self.licence

    @property
    def size(self) -> int | None:
        """Bytes of all files; None where one is unknown."""
        sizes = [file.bytes for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)


class _Registry(Mapping[str, ModelEntry]):
    """The entries by name, read at the first access."""

    def __getitem__(self, name: str) -> ModelEntry:
        return _entries()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_entries())

    def __len__(self) -> int:
        return len(_entries())


REGISTRY: Mapping[str, ModelEntry] = _Registry()


def find_entry(name: str, registry: Mapping[str, ModelEntry] = REGISTRY) -> ModelEntry:
    """The entry called `name`. Raises UnknownModel, which names the most similar one."""
    try:
        return registry[name]
    except KeyError:
        raise UnknownModel(name, tuple(registry)) from None


def parse(text: str) -> dict[str, ModelEntry]:
    """The entries of a registry in TOML, in its order."""
    return {
        name: ModelEntry(
            name=name,
            role=table["role"],
            sources=tuple(table["sources"]),
            files=tuple(ModelFile(**file) for file in table["files"]),
            licence=table["licence"],
            format=table["format"],
            description=table["description"],
            measured=table["measured"],
            attribution=table.get("attribution", ""),
        )
        for name, table in tomllib.loads(text).items()
    }


@functools.cache
def _entries() -> dict[str, ModelEntry]:
    return parse((resources.files("diarize.models") / "registry.toml").read_text(encoding="utf-8"))

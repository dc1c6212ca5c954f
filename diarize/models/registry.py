"""The known models, as typed entries: `registry.toml` beside this file, and a user's own in the model store."""

from __future__ import annotations

import functools
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from diarize.errors import ModelRefused, UnknownModel

ENTRY = "entry.json"  # file, in the folder of a user's own model, that describes it
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_RESERVED = {"auto", "none", "onnx"}  # values of settings that name a model

Progress = Callable[[str, int, int | None], None]  # called with file, bytes so far, and total bytes if known


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model. Where `sha256` is None, the first download pins it."""

    name: str
    sha256: str | None = None
    bytes: int | None = None
    source: str | None = None  # of this file alone; None: the sources of the model


@dataclass(frozen=True, slots=True)
class ModelScoring:
    """How two vectors of an embedder are compared, as its authors do it."""

    metric: Literal["cosine", "euclidean"] = "cosine"
    threshold: float | None = None  # one person: a cosine at or above it, a distance at or below it
    origin: str = ""  # whose threshold it is, and what it holds for
    preparation: str = "speech"  # what of a recording is embedded, a key of diarize.speech.preparation
    bandwidth: float = 0.0  # Hz up to which a recording needs sound

    def __post_init__(self) -> None:
        if self.metric not in ("cosine", "euclidean"):
            raise ValueError(f"a metric is cosine or euclidean, got {self.metric!r}")

    @property
    def is_distance(self) -> bool:
        """Whether a lower value speaks for one person."""
        return self.metric == "euclidean"

    def is_same(self, value: float) -> bool:
        """Whether a cosine or distance is on the side of one person. Raises ValueError without a threshold."""
        if self.threshold is None:
            raise ValueError("there is no threshold")
        return value <= self.threshold if self.is_distance else value >= self.threshold


COSINE_ONLY = ModelScoring()


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model: its purpose, its sources, the digests of its files, and its input and output."""

    name: str
    role: str  # "vad", "embedder", "segmentation", "asr", "countermeasure"
    sources: tuple[str, ...]  # tried in order; the kinds are listed at the head of registry.toml
    files: tuple[ModelFile, ...]
    licence: str  # SPDX identifier of the weights
    format: Mapping[str, Any]  # read by the backend of that role
    description: str
    measured: bool = False  # the digests were computed from the files, not taken from the publisher
    attribution: str = ""  # authors, whom a licence such as CC-BY demands to be named
    scoring: ModelScoring = COSINE_ONLY  # of an embedder

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


def check_own_name(name: str) -> None:
    """Raises ModelRefused for a name that a user's own model may not have."""
    cure = "Use small letters, digits, '.', '_' and '-', 64 of them at most."
    if not _NAME.fullmatch(name) or name.endswith((".onnx", ".ort", ".part")):
        raise ModelRefused(name, "this is no name for a model", cure)
    if name in REGISTRY or name in _RESERVED:
        raise ModelRefused(name, "a known model has this name", "Choose another one.")


def own_entries(folder: Path) -> dict[str, ModelEntry]:
    """The user's own models in a store: those whose folder has an entry. A file that is no entry is passed over."""
    entries = {}
    for path in sorted(folder.glob(f"*/{ENTRY}")):
        try:
            values = json.loads(path.read_bytes())
            files = tuple(ModelFile(**file) for file in values.pop("files"))
            scoring = ModelScoring(**values.pop("scoring", {}))
            entry = ModelEntry(**values | {"files": files, "sources": tuple(values["sources"]), "scoring": scoring})
            check_own_name(entry.name)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, ModelRefused):
            continue
        if entry.name == path.parent.name and all(Path(file.name).name == file.name for file in files):
            entries[entry.name] = entry
    return entries


def entry_json(entry: ModelEntry) -> str:
    """An entry as `own_entries` reads it."""
    return json.dumps(asdict(entry), indent=1, ensure_ascii=False) + "\n"


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
            scoring=ModelScoring(**table.get("scoring", {})),
        )
        for name, table in tomllib.loads(text).items()
    }


@functools.cache
def _entries() -> dict[str, ModelEntry]:
    return parse((resources.files("diarize.models") / "registry.toml").read_text(encoding="utf-8"))

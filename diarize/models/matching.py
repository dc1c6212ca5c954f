"""Recognises the models in a folder by digest, whatever the files are called."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from diarize import files
from diarize.models.registry import ModelEntry, ModelFile


@dataclass(frozen=True, slots=True)
class ModelMatch:
    """The files of one model, by their names in the registry; `missing` names those that are not there."""

    entry: ModelEntry
    parts: Mapping[str, Path]
    missing: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The largest file: the one that a person would call the model."""
        return self.parts[_largest(self.entry).name]


def match_models(folder: Path, registry: Mapping[str, ModelEntry]) -> tuple[tuple[ModelMatch, ...], tuple[Path, ...]]:
    """The models under `folder`, and the .onnx and .ort files that no entry pins.

    Only files of a pinned size are hashed. A model is recognised by its largest file: small ones, such as a tokenizer,
    are shared by several models. If that file has no digest in the registry, a folder of the model's name with a file
    of that name counts. Raises OSError if a file cannot be read.
    """
    pinned = {file.sha256: file.bytes for entry in registry.values() for file in entry.files if file.sha256}
    sizes = set(pinned.values())
    by_digest: dict[str, Path] = {}
    unknown: list[Path] = []
    paths = sorted(_files(folder))
    for path in paths:
        digest = files.sha256(path) if None in sizes or path.stat().st_size in sizes else ""
        if digest in pinned:
            by_digest.setdefault(digest, path)
        elif path.suffix in (".onnx", ".ort"):
            unknown.append(path)
    present = frozenset(paths)
    matches = [_match(entry, by_digest, present) for entry in registry.values()]
    parts = {path for match in matches if match is not None for path in match.parts.values()}
    return tuple(match for match in matches if match is not None), tuple(path for path in unknown if path not in parts)


def _match(entry: ModelEntry, by_digest: Mapping[str, Path], present: frozenset[Path]) -> ModelMatch | None:
    largest = _largest(entry)
    if largest.sha256 is not None:
        if largest.sha256 not in by_digest:
            return None
        home = by_digest[largest.sha256].parent
    else:
        homes = sorted(path.parent for path in present if path.name == largest.name and path.parent.name == entry.name)
        if not homes:
            return None
        home = homes[0]
    parts: dict[str, Path] = {}
    for file in entry.files:
        if file.sha256 is None:
            if home / file.name in present:
                parts[file.name] = home / file.name
        elif file.sha256 in by_digest:
            parts[file.name] = by_digest[file.sha256]
    return ModelMatch(entry, parts, tuple(file.name for file in entry.files if file.name not in parts))


def _largest(entry: ModelEntry) -> ModelFile:
    return max(entry.files, key=lambda file: file.bytes or 0)


def _files(folder: Path) -> Iterator[Path]:
    """Regular files, also through links to files (as in a hub's cache); opens nothing that could block."""
    for place, _, names in os.walk(folder):
        for name in names:
            if (path := Path(place) / name).is_file():
                yield path

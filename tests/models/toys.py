"""Models of a few bytes, stores that know them, and a hub on this machine that does what a test tells it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from diarize.errors import ModelUnavailable
from diarize.models.registry import ModelEntry, ModelFile
from diarize.models.store import Store

WEIGHTS = b"weights " * 1000
CONFIG = b'{"rate": 16000}'


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def known(name: str = "tiny", *sources: str, data: bytes = WEIGHTS, pinned: bool = True) -> ModelEntry:
    file = ModelFile("tiny.onnx", sha(data) if pinned else None, len(data) if pinned else None)
    return ModelEntry(name, "embedder", sources or ("hf:lab/tiny@v1",), (file,), "MIT", {"rate": 16000}, "a toy")


def pair(pinned: bool = True) -> ModelEntry:
    files = (
        ModelFile("model.bin", sha(WEIGHTS) if pinned else None, len(WEIGHTS) if pinned else None),
        ModelFile("config.json", sha(CONFIG) if pinned else None, len(CONFIG) if pinned else None),
    )
    return ModelEntry("pair", "asr", ("hf:lab/pair@v1",), files, "MIT", {}, "a toy of two files")


def store_of(folder: Path, *entries: ModelEntry, offline: bool = False) -> Store:
    return Store(folder, offline, registry={one.name: one for one in entries})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


TINY = "/lab/tiny/resolve/v1/tiny.onnx"


@dataclass
class Hub:
    """A hub on this machine that does what a test tells it: path -> how to answer."""

    address: str = ""
    answers: dict[str, object] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # (path, Authorization)


def refused(store: Store, cure: str, name: str = "tiny") -> str:
    """Pull, which must fail with one line that holds `cure`, and leave nothing behind."""
    with pytest.raises(ModelUnavailable) as caught:
        store.pull(name)
    text = str(caught.value)
    assert "\n" not in text
    assert cure in text
    assert names(store.folder) == []
    return text

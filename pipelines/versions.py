"""What is installed and may change a result: this product's own code, packages, and the libraries that decode."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import diarize

OWN = "diarize-pipeline"
ROOTS = tuple(Path(__file__).parents[1] / name for name in ("diarize", "pipelines"))
PACKAGES = (
    "av", "ctranslate2", "faster-whisper", "kaldi-native-fbank", "librosa", "numpy", "onnxruntime", "pocketsphinx",
    "pyannote.audio", "scikit-learn", "scipy", "torch",
)  # fmt: skip
LIBRARIES = ("libavcodec", "libavformat", "libavutil", "libswresample")  # of FFmpeg, that sound goes through


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    import av

    found = {OWN: f"{diarize.__version__}+{code(ROOTS)[:16]}"}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    found |= {name: ".".join(map(str, av.library_versions[name])) for name in LIBRARIES}
    return tuple(found.items())


def versions() -> dict[str, str]:
    """Package or library of FFmpeg -> its version, of those that are installed here.

    That of this product ends with a digest of its code: a change within one version counts too.
    """
    return dict(_versions())


def code(roots: Iterable[Path]) -> str:
    """Hex sha256 over the names and contents of all files below the folders `roots`, compiled and hidden ones apart.

    All of them, not only those that a result is known to need: exports and backends are found by name, and 180 files
    take 6 ms.
    """
    hashed = hashlib.sha256()
    for root in roots:
        for path in sorted(root.rglob("*")):
            parts = path.relative_to(root.parent).parts
            if "__pycache__" in parts or any(part.startswith(".") for part in parts) or not path.is_file():
                continue
            hashed.update(f"{'/'.join(parts)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return hashed.hexdigest()

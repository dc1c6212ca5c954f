"""Versions of everything installed that may change a result: this product's code, packages, and FFmpeg's libraries."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from diarize.version import __version__

OWN = "diarize-pipeline"
ROOTS = tuple(Path(__file__).parents[1] / name for name in ("diarize", "pipelines"))
PACKAGES = (
    "av", "ctranslate2", "faster-whisper", "kaldi-native-fbank", "librosa", "numpy", "onnxruntime", "pocketsphinx",
    "pyannote.audio", "scikit-learn", "scipy", "torch",
)  # fmt: skip
LIBRARIES = ("libavcodec", "libavformat", "libavutil", "libswresample")  # of FFmpeg, which decode and resample


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    import av

    installed = {OWN: f"{__version__}+{hash_code(ROOTS)[:16]}"}
    for name in PACKAGES:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    installed |= {name: ".".join(map(str, av.library_versions[name])) for name in LIBRARIES}
    return tuple(installed.items())


def versions() -> dict[str, str]:
    """Package or library of FFmpeg -> its installed version.

    The version of this product ends with a digest of its code, as code may change within one version.
    """
    return dict(_versions())


def hash_code(roots: Iterable[Path]) -> str:
    """Hex sha256 of the names and contents of all files below the folders `roots`, without compiled and hidden files.

    All files count, not only those that a result needs: exports and backends are imported by name, and to hash 180
    files takes 6 ms.
    """
    hashed = hashlib.sha256()
    for root in roots:
        for path in sorted(root.rglob("*")):
            parts = path.relative_to(root.parent).parts
            if "__pycache__" in parts or any(part.startswith(".") for part in parts) or not path.is_file():
                continue
            hashed.update(f"{'/'.join(parts)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return hashed.hexdigest()

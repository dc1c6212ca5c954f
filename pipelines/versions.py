"""What is installed and may change a result: packages, and the libraries that decode."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "av", "ctranslate2", "faster-whisper", "kaldi-native-fbank", "librosa", "numpy", "onnxruntime", "pocketsphinx",
    "pyannote.audio", "scikit-learn", "scipy", "torch",
)  # fmt: skip
LIBRARIES = ("libavcodec", "libavformat", "libavutil", "libswresample")  # of FFmpeg, that sound goes through


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    import av

    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    found |= {name: ".".join(map(str, av.library_versions[name])) for name in LIBRARIES}
    return tuple(found.items())


def versions() -> dict[str, str]:
    """Package or library of FFmpeg -> its version, of those that are installed here."""
    return dict(_versions())

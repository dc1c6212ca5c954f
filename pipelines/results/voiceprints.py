"""The voices of a recording's unknown speakers, stored beside its results until the end of the run that needs them.

They are biometric data of strangers: readable by their owner alone, and deleted as soon as the recordings of the run
are linked (pipelines/results/linking.py). JSON, arrays in base64; only a file of the recorded sha256 is read.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from diarize import files
from diarize.library.scoring.linking import Strangers

NAME = ".strangers.json"


def save(folder: Path, strangers: Strangers) -> str:
    """Write them into the folder of a recording's results; returns the sha256 for `load`. Raises OutputError."""
    fields = {
        "speakers": strangers.speakers,
        "vectors": _encode(strangers.vectors.astype("<f4")),
        "seconds": strangers.seconds,
        "bandwidth": strangers.bandwidth,
        "mean": _encode(strangers.mean.astype("<f8")),
    }
    data = json.dumps(fields).encode()
    _write(folder, data)
    return hashlib.sha256(data).hexdigest()


def copy(folder: Path, to: Path) -> None:
    """Copy them to another folder, or delete them there if there are none. Raises OSError and OutputError."""
    if (folder / NAME).exists():
        _write(to, (folder / NAME).read_bytes())
    else:
        delete(to)


def load(folder: Path, digest: str) -> Strangers | None:
    """What `save` wrote; None where it is gone or has changed."""
    try:
        data = (folder / NAME).read_bytes()
    except OSError:
        return None
    if hashlib.sha256(data).hexdigest() != digest:
        return None
    fields: dict[str, Any] = json.loads(data)
    speakers = tuple(fields["speakers"])
    return Strangers(
        speakers,
        _decode(fields["vectors"], "<f4").reshape(len(speakers), -1).astype(np.float32),
        tuple(fields["seconds"]),
        fields["bandwidth"],
        _decode(fields["mean"], "<f8").astype(np.float64),
    )


def delete(folder: Path) -> None:
    """Delete them, where there are any."""
    with contextlib.suppress(OSError):
        (folder / NAME).unlink(missing_ok=True)


def _write(folder: Path, data: bytes) -> None:
    with files.replacing(folder / NAME) as file:
        Path(file.name).chmod(0o600)  # before there is anything to be read
        file.write(data)


def _encode(array: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")


def _decode(text: str, kind: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(base64.b64decode(text), dtype=kind)

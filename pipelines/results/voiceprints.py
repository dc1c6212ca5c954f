"""The voices of a recording's unknown speakers, kept beside its results until the run that needs them is over.

They are biometric data of strangers: readable by their owner alone, taken away as soon as the recordings of the run are
linked (pipelines/results/linking.py). JSON, arrays in base64; what was written is known by its sha256, nothing else is
read.
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


def keep(folder: Path, found: Strangers) -> str:
    """Write them into the folder of a recording's results; gives the sha256 that `recall` takes. Raises OutputError."""
    plain = {
        "speakers": found.speakers,
        "vectors": _text(found.vectors.astype("<f4")),
        "seconds": found.seconds,
        "bandwidth": found.bandwidth,
        "mean": _text(found.mean.astype("<f8")),
    }
    data = json.dumps(plain).encode()
    _write(folder, data)
    return hashlib.sha256(data).hexdigest()


def copy(folder: Path, to: Path) -> None:
    """What is kept in one folder into another one, which has none where there is none. Raises OSError, OutputError."""
    if (folder / NAME).exists():
        _write(to, (folder / NAME).read_bytes())
    else:
        forget(to)


def recall(folder: Path, digest: str) -> Strangers | None:
    """What `keep` wrote; None where it is not there, or not what was written."""
    try:
        data = (folder / NAME).read_bytes()
    except OSError:
        return None
    if hashlib.sha256(data).hexdigest() != digest:
        return None
    plain: dict[str, Any] = json.loads(data)
    speakers = tuple(plain["speakers"])
    return Strangers(
        speakers,
        _array(plain["vectors"], "<f4").reshape(len(speakers), -1).astype(np.float32),
        tuple(plain["seconds"]),
        plain["bandwidth"],
        _array(plain["mean"], "<f8").astype(np.float64),
    )


def forget(folder: Path) -> None:
    """Take them away."""
    with contextlib.suppress(OSError):
        (folder / NAME).unlink(missing_ok=True)


def _write(folder: Path, data: bytes) -> None:
    with files.replacing(folder / NAME) as file:
        Path(file.name).chmod(0o600)  # before there is anything to be read
        file.write(data)


def _text(array: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")


def _array(text: str, kind: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(base64.b64decode(text), dtype=kind)

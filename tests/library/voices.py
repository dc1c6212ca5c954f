"""Made voices, and libraries with a clock and ids that are the same every time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.library import store
from diarize.library.database.records import Enrolment
from diarize.library.store import Library

DIMENSION = 16
MODEL = "made-16"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def voice(seed: int, dimension: int = DIMENSION) -> NDArray[np.float32]:
    made = np.random.default_rng(seed).standard_normal(dimension).astype(np.float32)
    return np.asarray(made / np.linalg.norm(made), dtype=np.float32)


def enrolment(seed: int, **changes: Any) -> Enrolment:
    """An utterance with a voice of its own."""
    facts: dict[str, Any] = {
        "source": f"{seed:064x}",
        "seconds": 4.0,
        "quality": {"snr": 20.5},
        "vector": voice(seed),
        "model": MODEL,
        "start": 1.0,
        "end": 6.0,
        "origin": f"tape {seed}",
    }
    return Enrolment(**{**facts, **changes})


class Clock:
    """A minute later each time it is asked; `day` moves it."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        self.time += timedelta(minutes=1)
        return self.time

    def move(self, days: int) -> None:
        self.time += timedelta(days=days)


@contextmanager
def opened(path: Path, passphrase: str | None = None, clock: Clock | None = None, ids: str = "id") -> Iterator[Library]:
    """A library, made where there is none, whose ids count up."""
    numbers = itertools.count(1)
    with store.open(
        path, passphrase, create=True, clock=clock or Clock(), new_id=lambda: f"{ids}-{next(numbers):04d}"
    ) as library:
        yield library

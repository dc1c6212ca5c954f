"""Search in a large library for a process that runs for long: it stays in memory, and follows every change.

Codes of the voices (compact.py) propose candidates, which are read from the library and scored exactly: names, vectors
and consent are always those of now, also after changes by other processes. Each voice of a library has the number of
the change that wrote it. What is newer than the last known number is added before a search; a voice that was changed or
removed has a number that the library knows no longer, so it is no candidate. Where an ended consent is extended, the
voice gets a new number.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import date
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from diarize.library.database.records import Matrix
from diarize.library.database.rows import NumberedVoice, Rows
from diarize.library.search.compact import LEAST_TRAINING, CompactVoices
from diarize.library.search.index import matrix_of
from diarize.types import Vectors

LARGE = 20_000  # voices from which on a search in all of them takes longer than this one
SAMPLE = 4_096  # voices that stand for the whole library: mean and deviation of scores within about 1 %
PROPOSALS = 64  # voices a query
GROWTH = 2  # times as many codes as when it was made, new or outdated ones: then it is made again
EXACT = 10_000  # people are counted again after changes of more than this part of them: counting a million takes long
_PIECE = 4096  # voices read at a time


@dataclass(frozen=True, eq=False)
class Background:
    """Voices that stand for all of a large library, where only candidates are compared."""

    people: int  # voices of the whole library, about
    vectors: Vectors = field(repr=False)  # (m, d)
    seconds: NDArray[np.float64] = field(repr=False)  # (m,) s of enrolment speech
    ids: frozenset[str] = field(repr=False)  # of their people
    transformed: dict[Hashable, NDArray[np.float32]] = field(repr=False)  # by calibration; filled when it is needed


@dataclass(frozen=True, eq=False)
class _Sample:
    """Some voices of the library, sorted by number."""

    numbers: NDArray[np.int64]  # (m,)
    ids: frozenset[str]  # of the people
    vectors: Vectors  # (m, d)
    seconds: NDArray[np.float64]  # (m,)
    transformed: dict[Hashable, NDArray[np.float32]] = field(default_factory=dict)


class LiveSearch:
    """The voices of one library and model. Any number of threads use it, each with its own open library."""

    def __init__(self, rows: Rows, model: str, today: date) -> None:
        """Reads the library. Raises LibraryError; ValueError for too few voices."""
        self.model = model
        self.is_outdated = False  # it is to be made again
        self._lock = threading.Lock()
        numbers = rows.numbers(model, today)
        if len(numbers) < LEAST_TRAINING:
            raise ValueError(f"{len(numbers)} voices are too few, {LEAST_TRAINING} are needed")
        self._sample = _read_sample(rows, model, numbers, today)
        self._voices = CompactVoices(self._sample.vectors)
        self._last = -1  # number of the latest change that is in it
        self._people, self._uncounted = 0, 0  # voices, and changes since they were counted
        self._update(rows, today)
        self._most = GROWTH * len(self._voices)

    def __len__(self) -> int:
        """Voices of the library, about."""
        return self._people

    def candidates(self, rows: Rows, queries: Vectors, today: date) -> tuple[Matrix, Background]:
        """(the nearest voices of the queries (k, d) whose consent lasts, and what stands for the whole library).

        Raises LibraryError.
        """
        with self._lock:
            self._update(rows, today)
            numbers = self._voices.propose(queries, PROPOSALS)
            sample, people = self._sample, self._people
            self.is_outdated = self.is_outdated or len(self._voices) > self._most
        with rows.engine.reading():
            near = matrix_of(self.model, queries.shape[1], rows.numbered(self.model, numbers.tolist(), today), b"")
        return near, Background(people, sample.vectors, sample.seconds, sample.ids, sample.transformed)

    def purge(self, rows: Rows, today: date) -> None:
        """Forget the voices that the library has no longer, and those whose consent has ended. Raises LibraryError."""
        with self._lock:
            last = self._last
        numbers = rows.numbers(self.model, today)  # without the lock, as it takes long
        sample = self._sample
        if not np.isin(sample.numbers, numbers, assume_unique=True).all():
            sample = _read_sample(rows, self.model, numbers, today)  # a new one: it stays as large as it was
        with self._lock:
            self._voices.keep(numbers, last)  # another thread may have added later ones meanwhile
            self._people, self._uncounted = rows.count_lasting(self.model, today), 0
            self._sample = sample

    def _update(self, rows: Rows, today: date) -> None:
        """Add what was enrolled or changed since the last time."""
        changes = rows.changes()
        if changes <= self._last:
            self.is_outdated = self.is_outdated or changes < self._last  # another library has taken its place
            return
        with rows.engine.reading():
            changes = rows.changes()
            new = rows.vectors(self.model, today, after=self._last)
            while piece := list(islice(new, _PIECE)):
                numbers = np.array([voice.number for voice in piece], np.int64)
                self._voices.add(numbers, np.stack([voice.vector for voice in piece]))
                self._last = piece[-1].number  # what was read stays, also where the rest cannot be read now
                self._uncounted += len(piece)
            if self._uncounted * EXACT > self._people:  # a change is a new voice, or another one of a person
                self._people, self._uncounted = rows.count_lasting(self.model, today), 0
        self._last = changes


def _read_sample(rows: Rows, model: str, numbers: NDArray[np.int64], today: date) -> _Sample:
    """Some of the voices of these `numbers`; those that were changed since they were listed are left out."""
    chosen = np.random.default_rng(0).choice(numbers, min(SAMPLE, len(numbers)), replace=False)
    chosen.sort()
    read: list[NumberedVoice] = []
    with rows.engine.reading():
        for start in range(0, len(chosen), _PIECE):
            read += rows.vectors(model, today, chosen[start : start + _PIECE].tolist())
    return _Sample(
        np.array([voice.number for voice in read], np.int64),
        frozenset(voice.id for voice in read),
        np.array([voice.vector for voice in read], np.float32).reshape(len(read), rows.dimension(model) or 0),
        np.array([voice.seconds for voice in read], np.float64),
    )

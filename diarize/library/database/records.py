"""The records of a library. A vector has the identity of its embedding model; vectors of two are never compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from math import isfinite
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from diarize.types import UNIT_TOLERANCE, Vectors


@dataclass(frozen=True, slots=True, eq=False)
class Enrolment:
    """One utterance of a person to be enrolled: `vector` float32 (d,) of unit length, from the embedder `model`.

    `source` is the sha256 of the recording's bytes, `start` and `end` (s) the place in it, `seconds` the clean speech
    there, `quality` what was measured (SNR in dB, ...), `origin` the place as a person reads it, `audio` the sound if
    the user wants it stored, `print` its fingerprint (diarize/guard/fingerprints.py).
    Raises ValueError for invalid values.
    """

    source: str
    seconds: float
    quality: Mapping[str, float]
    vector: NDArray[np.float32] = field(repr=False)
    model: str
    start: float
    end: float
    audio: bytes | None = field(default=None, repr=False)
    origin: str = ""
    print: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.vector.dtype != np.float32 or self.vector.ndim != 1 or not len(self.vector):
            raise ValueError(f"a voice is float32 (d,), got {self.vector.dtype} {self.vector.shape}")
        if not abs(float(np.linalg.norm(self.vector)) - 1) <= UNIT_TOLERANCE:
            raise ValueError(f"a voice has unit length, got {float(np.linalg.norm(self.vector)):.4f}")
        if not (isfinite(self.seconds) and self.seconds > 0):
            raise ValueError(f"an utterance has some seconds of speech, got {self.seconds}")
        if not (isfinite(self.start) and isfinite(self.end) and 0 <= self.start < self.end):
            raise ValueError(f"an utterance needs finite 0 <= start < end, got {self.start} .. {self.end}")
        if not all(isfinite(value) for value in self.quality.values()):
            raise ValueError(f"measures of quality are finite, got {dict(self.quality)}")
        if not self.model or not self.model.isprintable():
            raise ValueError("a vector needs the identity of the model that made it")


@dataclass(frozen=True, slots=True, eq=False)
class Enrolled:
    """An utterance in a library. `audio` says whether its sound is stored (`Library.sound` reads it)."""

    id: str
    source: str
    seconds: float
    quality: Mapping[str, float]
    start: float
    end: float
    origin: str
    added: datetime
    audio: bool
    vectors: Mapping[str, NDArray[np.float32]] = field(repr=False)  # model -> (d,)


@dataclass(frozen=True, slots=True)
class Person:
    """An enrolled person. `namesakes` are the ids of others with the same name (after Unicode NFC)."""

    id: str
    name: str
    created: datetime
    consent: str | None  # what was agreed to; None: not recorded
    expires: date | None  # the last day on which the voice may be used
    expired: bool  # that day is over: the voice is not used
    utterances: int
    seconds: Mapping[str, float]  # model -> s of enrolment speech
    namesakes: tuple[str, ...] = ()


class Texts(Sequence[str]):
    """Many texts in one block of memory, which may be a mapped file: text i is UTF-8 `data[ends[i - 1]:ends[i]]`."""

    def __init__(self, ends: NDArray[np.int64], data: NDArray[np.uint8]) -> None:
        self.ends, self.data = ends, data

    @classmethod
    def of(cls, texts: Sequence[str]) -> Texts:
        coded = [text.encode("utf-8", "surrogatepass") for text in texts]
        ends = np.cumsum([len(code) for code in coded], dtype=np.int64)
        return cls(ends, np.frombuffer(b"".join(coded), dtype=np.uint8))

    def and_more(self, texts: Sequence[str]) -> Texts:
        """These texts, and `texts` after them."""
        more = Texts.of(texts)
        return Texts(np.concatenate([self.ends, more.ends + len(self.data)]), np.concatenate([self.data, more.data]))

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[str, ...]: ...
    def __getitem__(self, at: int | slice) -> str | tuple[str, ...]:
        if isinstance(at, slice):
            return tuple(self[i] for i in range(*at.indices(len(self))))
        if not -len(self) <= at < len(self):
            raise IndexError(f"there are {len(self)} texts, no text {at}")
        at %= len(self)
        start = int(self.ends[at - 1]) if at else 0
        return self.data[start : int(self.ends[at])].tobytes().decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Sequence) and not isinstance(other, str) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """The voices of one model, row by row: `vectors` float32 (n, d) of unit rows (memory-mapped where there are many).

    `digest` is their content identity: id, name, seconds and vector of each, whatever the order.
    """

    model: str
    ids: Sequence[str]
    names: Sequence[str]
    vectors: Vectors = field(repr=False)
    seconds: NDArray[np.float64] = field(repr=False)  # (n,) s of enrolment speech
    digest: str

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or self.vectors.dtype != np.float32:
            raise ValueError(f"voices are float32 (n, d), got {self.vectors.dtype} {self.vectors.shape}")
        if not len(self.ids) == len(self.names) == len(self.seconds) == len(self.vectors):
            raise ValueError("every voice has an id, a name and its seconds")

    def __len__(self) -> int:
        return len(self.vectors)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry of the audit log, without names: entries are never deleted, and must not keep deleted names."""

    seq: int
    time: str  # UTC, ISO 8601
    action: str
    person: str  # id; "" for a change of nobody in particular
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The result of an audit. `problems` names the first entry that breaks the chain, and all other problems."""

    entries: tuple[AuditEntry, ...]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems

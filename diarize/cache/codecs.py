"""Results of stages <-> bytes, exactly: one line of JSON, then arrays as NumPy's .npy. Nothing is ever pickled.

Floats are restored bit for bit. A decoder raises ValueError, KeyError or TypeError for bytes that no encoder of this
version wrote.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.lib.format import read_array
from numpy.typing import NDArray

from diarize.activity import LocalActivity
from diarize.types import Embeddings, Segment, Source, Turn, Word

SCHEMA = 1  # of the codecs below; increase it when one changes

Value = TypeVar("Value")
RecognizedWords = tuple[tuple[Word, ...], str | None]  # words and language


@dataclass(frozen=True)
class Codec(Generic[Value]):
    """How a kind of value is stored."""

    encode: Callable[[Value], bytes]
    decode: Callable[[bytes], Value]


@dataclass(frozen=True, slots=True)
class CachedChannel:
    """Facts about decoded samples, known without decoding them again."""

    length: int  # samples
    rate: int  # Hz
    pcm: str
    lost: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class CachedRecording:
    """The result of decoding a file, without the samples: its source, and the channels that were used."""

    source: Source
    channels: tuple[CachedChannel, ...]


@dataclass(frozen=True, slots=True)
class BackendIdentity:
    """The identity of a loaded backend."""

    name: str
    notes: tuple[str, ...] = ()
    seed: int | None = None  # None: it uses no random numbers


def _pack(values: Any, *arrays: NDArray[Any]) -> bytes:
    file = BytesIO()
    file.write(json.dumps(values, ensure_ascii=True, allow_nan=False).encode() + b"\n")
    for array in arrays:
        np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _unpack(data: bytes, arrays: int = 0) -> tuple[Any, list[NDArray[Any]]]:
    file = BytesIO(data)
    values = json.loads(file.readline())
    return values, [read_array(file, allow_pickle=False) for _ in range(arrays)]


def _spans(segments: Sequence[Segment]) -> list[list[float]]:
    return [[float(s.start), float(s.end)] for s in segments]


def _segments(values: Any) -> tuple[Segment, ...]:
    return tuple(Segment(start, end) for start, end in values)


def _embeddings(data: bytes) -> Embeddings:
    model, (times, vectors) = _unpack(data, 2)
    return Embeddings(_segments(times.tolist()), vectors, model)


def _activity(data: bytes) -> LocalActivity:
    (hop, step, lag), (posteriors,) = _unpack(data, 1)
    return LocalActivity(posteriors, hop, step, lag)


def _words(data: bytes) -> RecognizedWords:
    words, language = _unpack(data)[0]
    return tuple(Word(*word) for word in words), language


def _recording(data: bytes) -> CachedRecording:
    source, channels = _unpack(data)[0]
    source |= {"notes": tuple(source["notes"]), "pcm": tuple(source["pcm"])}
    return CachedRecording(
        Source(**source),
        tuple(CachedChannel(length, rate, pcm, _segments(lost)) for length, rate, pcm, lost in channels),
    )


def _identity(data: bytes) -> BackendIdentity:
    name, notes, seed = _unpack(data)[0]
    return BackendIdentity(name, tuple(notes), seed)


SEGMENTS: Codec[tuple[Segment, ...]] = Codec(
    lambda segments: _pack(_spans(segments)), lambda data: _segments(_unpack(data)[0])
)
EMBEDDINGS: Codec[Embeddings] = Codec(
    lambda e: _pack(e.model, np.array(_spans(e.segments), dtype=np.float64).reshape(-1, 2), e.vectors),
    _embeddings,
)
ACTIVITY: Codec[LocalActivity] = Codec(
    lambda activity: _pack([activity.hop, activity.step, activity.lag], activity.posteriors), _activity
)
WORDS: Codec[RecognizedWords] = Codec(
    lambda result: _pack(
        [
            [
                [
                    float(w.start),
                    float(w.end),
                    w.text,
                    None if w.probability is None else float(w.probability),
                    w.speaker,
                ]
                for w in result[0]
            ],
            result[1],
        ]
    ),
    _words,
)
TURNS: Codec[tuple[Turn, ...]] = Codec(
    lambda turns: _pack(
        [
            [float(t.start), float(t.end), t.speaker, None if t.confidence is None else float(t.confidence)]
            for t in turns
        ]
    ),
    lambda data: tuple(Turn(*turn) for turn in _unpack(data)[0]),
)
NUMBER: Codec[float] = Codec(_pack, lambda data: float(_unpack(data)[0]))
ARRAYS: Codec[tuple[NDArray[Any], ...]] = Codec(
    lambda arrays: _pack(len(arrays), *arrays),
    lambda data: tuple(_unpack(data, json.loads(data.partition(b"\n")[0]))[1]),
)
RECORDING: Codec[CachedRecording] = Codec(
    lambda r: _pack([asdict(r.source), [[c.length, c.rate, c.pcm, _spans(c.lost)] for c in r.channels]]),
    _recording,
)
IDENTITY: Codec[BackendIdentity] = Codec(
    lambda identity: _pack([identity.name, list(identity.notes), identity.seed]), _identity
)

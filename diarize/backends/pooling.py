"""What embedders share: vectors of parts of segments -> one unit vector a segment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from diarize import progress
from diarize.backends.onnx_sessions import map_in_order
from diarize.types import Audio, Embeddings, Segment, Vectors


class Part(Protocol):
    """A part of a segment that gets a vector of its own; `owner` is the position of the segment."""

    @property
    def owner(self) -> int: ...


AnyPart = TypeVar("AnyPart", bound=Part)


def embed_parts(
    audio: Audio,
    segments: Sequence[Segment],
    batches: Sequence[Sequence[AnyPart]],
    embed: Callable[[Sequence[AnyPart]], NDArray[np.float32]],
    dimension: int,
    threads: int,
    model: str,
) -> Embeddings:
    """The embeddings of `segments`: `embed` gives the vectors (n, d) of a batch of their parts.

    `dimension` is the width of the result where there are no segments.
    """
    results = map_in_order(embed, batches, threads, audio.samples)
    rows = list(progress.reported(results, range(1, len(batches) + 1))) or [np.zeros((0, dimension), np.float32)]
    owners = [part.owner for batch in batches for part in batch]
    return Embeddings(tuple(segments), pool(np.concatenate(rows), owners, len(segments)), model)


def pool(rows: NDArray[np.float32], owners: Sequence[int], count: int) -> Vectors:
    """The mean of the unit rows (n, d) of each of `count` owners, scaled to unit length: (count, d).

    Rows need not be unit vectors. A zero row or sum counts as a vector with equal components. Raises ValueError if a
    row is not finite.
    """
    if not np.isfinite(rows).all():
        raise ValueError("the embedder gave vectors that are not finite")
    sums = np.zeros((count, rows.shape[1]), np.float32)
    for owner, row in zip(owners, _unit(rows), strict=True):
        sums[owner] += row
    return _unit(sums)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    rows = np.where(np.any(rows != 0, axis=1, keepdims=True), rows, np.float32(1))
    unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit.astype(np.float32, copy=False)

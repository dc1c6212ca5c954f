"""Vectors of the parts of segments -> one unit vector a segment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diarize.types import Vectors


def pool(rows: NDArray[np.float32], owners: Sequence[int], count: int) -> Vectors:
    """The mean of the unit rows (n, d) of each of `count` owners, brought to unit length: (count, d).

    Rows need not come as unit vectors. Where nothing was heard (a sum of zeros), the result points equally in all
    directions. Raises ValueError where a row is not finite.
    """
    if not np.isfinite(rows).all():
        raise ValueError("the embedder gave vectors that are not finite")
    sums = np.zeros((count, rows.shape[1]), np.float32)
    for owner, row in zip(owners, _unit(rows), strict=True):
        sums[owner] += row
    return _unit(sums)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    heard = np.where(np.any(rows != 0, axis=1, keepdims=True), rows, np.float32(1))
    unit: Vectors = heard / np.linalg.norm(heard, axis=1, keepdims=True)
    return unit.astype(np.float32, copy=False)

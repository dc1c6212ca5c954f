"""The nearest enrolled voices of a vector, exactly: inner products, block by block, over a matrix that may be mapped."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diarize.library.records import Matrix
from diarize.types import Candidate, Vectors

BLOCK = 65_536  # rows at a time: 64 MiB of 256 numbers; the scores of a block stay in the processor's cache


def search(query: NDArray[np.float32], matrix: Matrix, top: int = 5) -> tuple[Candidate, ...]:
    """The `top` voices with the largest inner product with `query` (d,), best first; ties by id.

    For unit vectors the score is the cosine. Raises ValueError for a query of another shape.
    """
    return search_all(np.asarray(query)[np.newaxis], matrix, top)[0]


def search_all(queries: Vectors, matrix: Matrix, top: int = 5) -> tuple[tuple[Candidate, ...], ...]:
    """`search` for each row of `queries` (k, d) in one pass over the matrix."""
    if queries.ndim != 2 or queries.shape[1] != matrix.vectors.shape[1]:
        raise ValueError(f"queries are (k, {matrix.vectors.shape[1]}) here, got {queries.shape}")
    if top < 1:
        raise ValueError(f"at least one voice must be asked for, got top={top}")
    rows: list[list[NDArray[np.int64]]] = [[] for _ in queries]
    values: list[list[NDArray[np.float32]]] = [[] for _ in queries]
    least = np.full(len(queries), -np.inf, dtype=np.float32)  # what a later row must reach to be among the best
    wanted = np.asarray(queries, dtype=np.float32)
    for start in range(0, len(matrix), BLOCK):
        block = matrix.vectors[start : start + BLOCK]
        for k, query in enumerate(wanted):
            # one product a query, the same shape whoever else is asked for: the same bits alone and in company
            scores = block @ query
            if len(scores) > top:
                least[k] = max(least[k], np.partition(scores, -top)[-top])
            near = np.flatnonzero(scores >= least[k])
            rows[k].append(near + start)
            values[k].append(scores[near])
    return tuple(best(matrix, *_joined(r, v), top) for r, v in zip(rows, values, strict=True))


def best(matrix: Matrix, rows: NDArray[np.int64], scores: NDArray[np.float32], top: int) -> tuple[Candidate, ...]:
    """The `top` of some rows of a matrix with their scores, best first; ties by id."""
    if len(rows) > top:
        near = scores >= np.partition(scores, -top)[-top]
        rows, scores = rows[near], scores[near]
    order = sorted(range(len(rows)), key=lambda i: (-scores[i], matrix.ids[int(rows[i])]))[:top]
    found = ((int(rows[i]), float(scores[i])) for i in order)
    return tuple(Candidate(matrix.ids[row], matrix.names[row], score) for row, score in found)


def _joined(
    rows: list[NDArray[np.int64]], values: list[NDArray[np.float32]]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    if not rows:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
    return np.concatenate(rows), np.concatenate(values)

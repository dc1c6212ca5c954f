"""The nearest enrolled voices of a vector, exactly: inner products, block by block, also over a mapped matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diarize.library.database.records import Matrix
from diarize.types import Candidate, Vectors

BLOCK = 65_536  # rows at a time: 64 MiB of 256 numbers, so that the scores of a block stay in the processor's cache


def search(query: NDArray[np.float32], matrix: Matrix, top: int = 5) -> tuple[Candidate, ...]:
    """The `top` voices with the largest inner product with `query` (d,), best first; ties by id.

    For unit vectors the score is the cosine. Products in float32 select the rows; their scores are computed in float64,
    so that they depend neither on the number of threads nor on the other rows. Raises ValueError for a query of another
    shape.
    """
    return search_all(np.asarray(query)[np.newaxis], matrix, top)[0]


def search_all(queries: Vectors, matrix: Matrix, top: int = 5) -> tuple[tuple[Candidate, ...], ...]:
    """`search` for each row of `queries` (k, d), in one pass over the matrix."""
    if queries.ndim != 2 or queries.shape[1] != matrix.vectors.shape[1]:
        raise ValueError(f"queries are (k, {matrix.vectors.shape[1]}) here, got {queries.shape}")
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}")
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    rows: list[list[NDArray[np.int64]]] = [[np.empty(0, dtype=np.int64)] for _ in queries]
    least = np.full(len(queries), -np.inf)  # the product that a row needs to be among the best
    # A float32 product of d terms has an error of at most about d * 2^-24 of the lengths (Higham 2002, "Accuracy and
    # Stability of Numerical Algorithms", section 3.1); so has the product that it is compared with.
    tolerance = 2 * queries.shape[1] * 2.0**-24 * np.linalg.norm(queries, axis=1)
    for start in range(0, len(matrix), BLOCK):
        products = queries @ matrix.vectors[start : start + BLOCK].T
        for k, scores in enumerate(products):
            if scores.max() < least[k]:
                continue
            if len(scores) >= top:
                least[k] = max(least[k], np.partition(scores, -top)[-top] - tolerance[k])
            rows[k].append(np.flatnonzero(scores >= least[k]) + start)
    return tuple(best(query, matrix, np.concatenate(near), top) for query, near in zip(queries, rows, strict=True))


def best(query: NDArray[np.float32], matrix: Matrix, rows: NDArray[np.int64], top: int) -> tuple[Candidate, ...]:
    """The `top` of these rows of a matrix, best first; ties by id."""
    scores = (matrix.vectors[rows].astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    if len(rows) > top:
        near = scores >= np.partition(scores, -top)[-top]
        rows, scores = rows[near], scores[near]
    scored = zip(rows.tolist(), scores.tolist(), strict=True)
    candidates = [Candidate(matrix.ids[row], matrix.names[row], score) for row, score in scored]
    return tuple(sorted(candidates, key=lambda candidate: (-candidate.score, candidate.voice))[:top])

"""Approximate search for libraries of very many voices, by faiss (extra `faiss`); its answers are scored exactly.

An inverted file (IVF; Jegou, Douze, Schmid 2011, "Product Quantization for Nearest Neighbor Search", section IV): the
voices are put into cells around k-means centroids, and a query looks into the nearest cells alone. There each number of
a vector takes 8 bits, so that the index takes a quarter of the vectors. What it proposes is scored again on the exact
vectors, and voices that came after it was made are searched exactly: it may miss somebody, and never gives a score that
the exact search would not give.

The index is a file beside the matrix (index.py): derived, named by the library with its SHA-256, read whole and hashed
before faiss sees it, made anew where it does not fit. That of an encrypted library is made in memory alone.
"""

from __future__ import annotations

import contextlib
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.errors import MissingExtra
from diarize.library.database.records import Matrix
from diarize.library.search.exact import BLOCK, best
from diarize.library.search.index import Index
from diarize.types import Candidate

KIND = "faiss"
FEWEST = 1000  # voices: below that the exact search takes less than a millisecond
TRAINING = 40  # voices a cell that k-means looks at: faiss warns below 39
PROBES = 0.1  # of the cells are looked into: see docs/method/search.md for what other shares find and cost
FEWEST_PROBES = 8  # cells
PROPOSALS = 100  # voices that are scored exactly
GROWN = 1.1  # times as many voices as when it was made: then it is made anew


class FaissIndex:
    """Search among the voices of one model. The first `covered` rows are in the index, later ones searched exactly."""

    def __init__(self, index: Any, matrix: Matrix) -> None:
        self._index, self._matrix = index, matrix
        self.covered: int = index.ntotal
        index.nprobe = max(FEWEST_PROBES, round(PROBES * index.nlist))

    def search(self, query: NDArray[np.float32], top: int = 5) -> tuple[Candidate, ...]:
        """At most `top` voices, best first, ties by id; scores as of `search.search`. Raises ValueError for a shape."""
        if query.shape != self._matrix.vectors.shape[1:]:
            raise ValueError(f"a query is {self._matrix.vectors.shape[1:]} here, got {query.shape}")
        wanted = np.ascontiguousarray(query[np.newaxis], dtype=np.float32)
        rows = self._index.search(wanted, max(top, PROPOSALS))[1][0]
        late = np.arange(self.covered, len(self._matrix), dtype=np.int64)
        return best(wanted[0], self._matrix, np.concatenate([rows[rows >= 0], late]), top)


def of(files_of: Index, matrix: Matrix) -> FaissIndex | None:
    """The index of the voices in `matrix`, which `files_of` gave; None where they are few.

    Read from its file, else made and written.

    Making one of a million voices takes a minute. Raises MissingExtra where faiss is not installed.
    """
    if len(matrix) < FEWEST:
        return None
    try:
        import faiss
    except ImportError as error:
        raise MissingExtra("approximate search", "faiss") from error
    files = files_of.files(matrix.model)
    if files is not None and (data := files_of.kept(matrix.model, KIND, files)) is not None:
        index = faiss.deserialize_index(np.frombuffer(data, dtype=np.uint8))
        if index.d == matrix.vectors.shape[1] and index.ntotal <= len(matrix) <= index.ntotal * GROWN:
            return FaissIndex(index, matrix)
    index = _made(faiss, matrix)
    if files is not None:
        with contextlib.suppress(OSError):  # no room: the next process makes it again
            files_of.keep(matrix.model, KIND, files, faiss.serialize_index(index).tobytes())
    return FaissIndex(index, matrix)


def _made(faiss: Any, matrix: Matrix) -> Any:
    count, dimension = matrix.vectors.shape
    cells = round(sqrt(count))
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(dimension), dimension, cells, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT, False
    )
    step = max(1, count // (cells * TRAINING))  # ids are random, so voices are in no order that means anything
    index.train(np.ascontiguousarray(matrix.vectors[::step]))
    for start in range(0, count, BLOCK):
        index.add(np.ascontiguousarray(matrix.vectors[start : start + BLOCK]))
    return index

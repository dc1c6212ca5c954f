"""Approximate search for libraries of very many voices, by faiss (extra `faiss`); what it proposes is scored exactly.

An inverted file (IVF; Jegou, Douze, Schmid 2011, "Product Quantization for Nearest Neighbor Search", section IV): the
voices are put into cells around k-means centroids, and a query is compared with the voices of the nearest cells alone.
There each number of a vector takes 8 bits, so that the index takes a quarter of the vectors' room. Whoever searches
scores the proposals, and all voices that came after the index was made, on the exact vectors: the index may miss
somebody, and changes no score.

The index is a file beside the mapped matrix (index.py): derived from it, named by the library with its SHA-256, and
checked before faiss reads it. A library without index files (encrypted, small, on a server) has none: it would have to
be made again in every run, which takes longer than an exact search of a hundred recordings.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.library.database.records import Matrix
from diarize.library.search import exact, mapped_matrix
from diarize.library.search.index import VoiceIndex
from diarize.types import Vectors

KIND = "faiss"
LARGE = 100_000  # voices from which on it is used: an exact search for four speakers takes 50 ms there, this one 15 ms
TRAINING = 40  # voices a cell that k-means looks at: faiss warns below 39
SHARE = 0.3  # of the cells are compared: docs/method/search.md has the recall and time of other shares
FEWEST_CELLS = 8  # that are compared
PROPOSALS = 100  # voices a query
GROWTH = 1.1  # times as many voices as when it was made: then it is made again
TRIALS = 200  # queries by which the recall of an index is measured
ALIKE = 0.75  # cosine of a trial query and its voice around the mean of all: one person on two days


@dataclass(frozen=True, slots=True)
class IndexFile:
    """The file of an index, as the library names it."""

    path: Path
    hash: str  # sha256
    covered: int  # the first rows of the matrix, which are in it
    recall: float  # share of trial queries whose nearest voice it proposed


class ApproximateIndex:
    """Proposes voices of a library."""

    def __init__(self, index: Any, hash: str = "") -> None:
        self._index, self.hash = index, hash
        self.covered: int = index.ntotal  # the first rows of the matrix; later ones are for the caller to compare
        index.nprobe = max(FEWEST_CELLS, round(SHARE * index.nlist))

    def propose(self, queries: Vectors, count: int = PROPOSALS) -> list[NDArray[np.int64]]:
        """For each query (k, d) the rows of about `count` voices, among them most of those with the largest inner
        products.
        """
        rows = self._index.search(np.ascontiguousarray(queries), count)[1]
        return [row[row >= 0] for row in rows]  # faiss fills up with -1


def load(file: IndexFile) -> ApproximateIndex:
    """Raises OSError, and ValueError where the file is not the one that the library names."""
    import faiss

    return ApproximateIndex(faiss.deserialize_index(np.frombuffer(_checked(file), dtype=np.uint8)), file.hash)


def current(index: VoiceIndex, matrix: Matrix) -> IndexFile | None:
    """The file of an index of the voices in `matrix`, which `index` returned. None: there is none, or it is damaged or
    covers too few of them; few voices need none; faiss is not installed.
    """
    if len(matrix) < LARGE or find_spec("faiss") is None:
        return None
    facts = index.derived(matrix.model, KIND)
    if facts is None or "recall" not in facts or not facts["covered"] <= len(matrix) <= GROWTH * facts["covered"]:
        return None
    file = IndexFile(facts["path"], facts["hash"], facts["covered"], facts["recall"])
    try:
        _checked(file)
    except (OSError, ValueError):
        return None
    return file


def update(index: VoiceIndex, matrix: Matrix) -> IndexFile | None:
    """As `current`, but makes an index that is missing, damaged or too old. A million voices take about a minute.

    Raises OSError where there is no room.
    """
    file, files = current(index, matrix), index.files(matrix.model)
    if file is not None or files is None or len(matrix) < LARGE or find_spec("faiss") is None:
        return file
    import faiss

    built = _build(faiss, matrix)
    facts = {"covered": len(matrix), "recall": _recall(ApproximateIndex(built), matrix)}
    index.add_derived(matrix.model, KIND, files[1], faiss.serialize_index(built).tobytes(), facts)
    return current(index, matrix)


def _checked(file: IndexFile) -> bytes:
    """Raises OSError, and ValueError where the content is not the one that the library names."""
    data = mapped_matrix.read_file(file.path)
    if hashlib.sha256(data).hexdigest() != file.hash:
        raise ValueError("its content has changed")
    return data


def _build(faiss: Any, matrix: Matrix) -> Any:
    count, dimension = matrix.vectors.shape
    cells = round(sqrt(count))
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(dimension), dimension, cells, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT, False
    )
    step = max(1, count // (cells * TRAINING))  # ids are random, so rows are in no order that means anything
    index.train(np.ascontiguousarray(matrix.vectors[::step]))
    for start in range(0, count, exact.BLOCK):
        index.add(np.ascontiguousarray(matrix.vectors[start : start + exact.BLOCK]))
    return index


def _recall(index: ApproximateIndex, matrix: Matrix) -> float:
    """The share of trial queries whose nearest voice the index proposes.

    A query is a voice v on another day: m + r (v - m) + sqrt((1 - r^2) / 2) (u - w) for the mean m, r = `ALIKE` and two
    other voices u and w, so that the days differ in the directions in which the voices of this library do.
    """
    rng = np.random.default_rng(0)
    v, u, w = (matrix.vectors[np.sort(rng.integers(len(matrix), size=TRIALS))].astype(np.float64) for _ in range(3))
    mean = np.concatenate([v, u, w]).mean(axis=0)
    queries = mean + ALIKE * (v - mean) + sqrt((1 - ALIKE**2) / 2) * (rng.permutation(u) - rng.permutation(w))
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    trials = queries.astype(np.float32)
    nearest = [candidates[0].voice for candidates in exact.search_all(trials, matrix, 1)]
    proposed = [{matrix.ids[int(row)] for row in rows} for rows in index.propose(trials)]
    return round(float(np.mean([voice in ids for voice, ids in zip(nearest, proposed, strict=True)])), 3)

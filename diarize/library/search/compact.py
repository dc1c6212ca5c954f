"""Very many voices in little memory, to propose the nearest of them (extra `faiss`); others score what it proposes.

A voice takes half a byte for four numbers of its vector: product quantization with 16 centroids for each four numbers,
scanned whole with SIMD instructions (Jegou, Douze, Schmid 2011, "Product Quantization for Nearest Neighbor Search",
section III; Andre, Kermarrec, Le Scouarnec 2017, "Accelerated Nearest Neighbor Search with Quick ADC"). There are no
cells, so a voice is missed only where its code is too coarse. A million voices of 256 numbers take 32 MiB.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.types import Vectors

_WIDTH = 4  # numbers of a vector that share a code of 4 bits
_BLOCK = 2 * _WIDTH  # codes are scanned in pairs
LEAST_TRAINING = 39 * 16  # vectors: faiss warns below 39 for each centroid


def available() -> bool:
    """Whether faiss is installed."""
    return find_spec("faiss") is not None


class CompactVoices:
    """Codes of voices, each under a number of its own. Not for several threads at once."""

    def __init__(self, sample: Vectors) -> None:
        """`sample`: vectors (n, d) of the voices to come, `LEAST_TRAINING` or more, from which centroids are made."""
        import faiss

        self._dimension = sample.shape[1]
        padded = -(-self._dimension // _BLOCK) * _BLOCK
        self._index: Any = faiss.IndexPQFastScan(padded, padded // _WIDTH, 4, faiss.METRIC_INNER_PRODUCT)
        self._index.pq.cp.seed = 0
        self._index.train(self._padded(sample))
        self._numbers = np.empty(1024, np.int64)  # of each row; -1: it was removed
        self._rows, self._removed = 0, 0

    def __len__(self) -> int:
        """Rows, those of removed voices included."""
        return self._rows

    def add(self, numbers: NDArray[np.int64], vectors: Vectors) -> None:
        """Add voices (n, d) under new numbers (n,)."""
        if not len(numbers):
            return
        self._index.add(self._padded(vectors))
        while len(self._numbers) < self._rows + len(numbers):
            self._numbers = np.concatenate([self._numbers, np.empty_like(self._numbers)])
        self._numbers[self._rows : self._rows + len(numbers)] = numbers
        self._rows += len(numbers)

    def propose(self, queries: Vectors, count: int) -> NDArray[np.int64]:
        """The numbers of about `count` voices for each query (k, d), among them most of those with the largest inner
        products; sorted, each once.
        """
        if self._rows == self._removed:
            return np.empty(0, np.int64)
        count = count * self._rows // (self._rows - self._removed)  # codes of removed voices are still searched
        rows = self._index.search(self._padded(queries), min(count, self._rows))[1]
        numbers = self._numbers[np.unique(rows[rows >= 0])]
        return np.unique(numbers[numbers >= 0])

    def keep(self, numbers: NDArray[np.int64], last: int) -> None:
        """Remove all voices up to number `last` but these: they are proposed no longer."""
        own = self._numbers[: self._rows]
        own[(own <= last) & ~np.isin(own, numbers)] = -1
        self._removed = int((own < 0).sum())

    def _padded(self, vectors: Vectors) -> Vectors:
        """Vectors as faiss wants them: contiguous, zeros at the end up to a multiple of the block."""
        missing = self._index.d - self._dimension if hasattr(self, "_index") else 0
        return np.ascontiguousarray(np.pad(vectors, ((0, 0), (0, missing))) if missing else vectors, dtype=np.float32)

"""A library on a PostgreSQL server, for several machines (extra `postgres`): the same store, tables and log.

`open` gives the `Library` of store.py over another engine, in a schema called `diarize`. Where the server has pgvector
and the library is not encrypted, every voice is kept as a vector of the server too, and `search` lets it find the
nearest: by a scan, hence exactly, with the scores of search.py. Without pgvector the voices are brought here for that.

What a server keeps beyond the tables (write-ahead log, backups, replicas, statement log) is its administrator's task.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diarize.library import store
from diarize.library.database.postgres import Postgres
from diarize.library.database.records import Matrix, Texts
from diarize.library.search import exact
from diarize.library.store import Clock, Library, NewId
from diarize.types import Candidate

_SPARE = 16  # voices that a server may have put in another order by its own rounding


def open(
    address: str,
    passphrase: str | None = None,
    create: bool = False,
    read_only: bool = False,
    *,
    clock: Clock = store.now,
    new_id: NewId = store.random_id,
) -> ServerLibrary:
    """The library at `address` ("postgresql://user@host/database", or "host=... dbname=..."); else as `store.open`.

    Raises also MissingExtra where psycopg is not installed.
    """
    return ServerLibrary(Postgres(address, create, read_only), passphrase, clock, new_id, writable=not read_only)


class ServerLibrary(Library):
    """A library on a server, which can also search by itself."""

    _engine: Postgres

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        with super().batch():
            yield
            if not self.encrypted and self._engine.depth == 1:
                self._engine.fill_vectors()

    def search(self, query: NDArray[np.float32], model: str, top: int = 5) -> tuple[Candidate, ...]:
        """As `search.search` over `matrix(model)`, found by the server where it has pgvector."""
        dimension = self._rows.dimension(model)
        if self.encrypted or not self._engine.has_pgvector or dimension != len(query):
            return exact.search(query, self.matrix(model), top)
        text = "[" + ",".join(repr(float(x)) for x in np.asarray(query, dtype=np.float32)) + "]"
        with self._engine.reading():
            # Ties and the last bits are decided here: the server is asked for some more, and all as near as the last.
            rows = self._engine.execute(
                "SELECT v.person FROM voices v JOIN models m ON m.id = v.model JOIN people p ON p.id = v.person "
                "WHERE m.name = ? AND (p.expires IS NULL OR p.expires >= ?) "
                f"ORDER BY v.embedding <#> ?::vector({dimension}) FETCH FIRST {int(top) + _SPARE} ROWS WITH TIES",
                (model, self._today().isoformat(), text),
            )
            found = [self._rows.voice(row[0], model) for row in rows]
        matrix = Matrix(
            model,
            Texts.of([voice.id for voice in found]),
            Texts.of([voice.name for voice in found]),
            np.array([voice.vector for voice in found], dtype=np.float32).reshape(len(found), dimension),
            np.array([voice.seconds for voice in found], dtype=np.float64),
            "",
        )
        return exact.search(query, matrix, top)

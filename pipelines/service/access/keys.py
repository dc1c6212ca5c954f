"""Keys of the service: random, stored as digests, with scopes, a tenant and an expiry.

A key is `dz_<id>_<secret>`. The secret has 256 random bits, so a plain SHA-256 of it cannot be reversed by trying, and
needs no slow hash. A key is looked up by its id, and its digest is compared in constant time; an unknown id costs the
same comparison.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, cast

from diarize.errors import ConfigError
from pipelines.service.access import tenants
from pipelines.service.access.ledger import Ledger

Scope = Literal["enrol", "verify", "identify", "read", "admin"]
SCOPES: tuple[Scope, ...] = ("enrol", "verify", "identify", "read", "admin")
GRACE = timedelta(days=1)  # that a rotated key stays valid, so that its users can change to the new one
_KEY = re.compile(r"dz_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NOBODY = hashlib.sha256(b"nobody").hexdigest()

Now = Callable[[], datetime]


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its secret."""

    id: str
    tenant: str
    name: str  # what it is for, in the operator's words
    scopes: tuple[Scope, ...]
    created: datetime
    expires: datetime | None
    revoked: datetime | None

    def state(self, time: datetime) -> Literal["valid", "expired", "revoked"]:
        """What the key is at a time."""
        if self.revoked is not None and self.revoked <= time:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= time else "valid"


class Keys:
    """The keys in a ledger."""

    def __init__(self, ledger: Ledger, clock: Now = now) -> None:
        self._ledger, self._clock = ledger, clock

    def add(
        self, tenant: str, scopes: Collection[str], name: str = "", expires: datetime | None = None
    ) -> tuple[Key, str]:
        """A new key, and the text that its user sends. The text is shown once: it cannot be had again.

        Raises ConfigError for a scope or a tenant that cannot be, and an expiry in the past.
        """
        tenants.check(tenant)
        unknown = sorted(set(scopes) - set(SCOPES))
        if unknown or not scopes:
            problem = f"is none of {', '.join(SCOPES)}" if unknown else "a key needs a scope"
            raise ConfigError("--scopes", ", ".join(unknown), problem)
        if expires is not None and expires <= self._clock():
            raise ConfigError("--expires", expires.date().isoformat(), "is in the past")
        if not name.isprintable():
            raise ConfigError("--name", repr(name), "holds characters that cannot be printed")
        id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        ordered = tuple(scope for scope in SCOPES if scope in scopes)
        key = Key(id, tenant, name, ordered, self._clock(), expires, None)
        self._ledger.execute(
            "INSERT INTO keys (id, tenant, name, digest, scopes, created, expires) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (id, tenant, name, _digest(secret), " ".join(ordered), _text(key.created), _text(expires)),
        )
        return key, f"dz_{id}_{secret}"

    def all(self) -> tuple[Key, ...]:
        """Every key, in the order in which they were made."""
        return tuple(_key(row) for row in self._ledger.execute(f"SELECT {_COLUMNS} FROM keys ORDER BY created, id"))

    def exist(self) -> bool:
        """Whether any key was ever made: from then on, nobody is let in without one."""
        return bool(self._ledger.execute("SELECT 1 FROM keys LIMIT 1"))

    def revoke(self, id: str, at: datetime | None = None) -> Key:
        """The key is refused from now on, or from `at` on. Raises ConfigError for an unknown id."""
        key = self._named(id)
        time = at or self._clock()
        self._ledger.execute("UPDATE keys SET revoked = ? WHERE id = ?", (_text(time), key.id))
        return self._named(id)

    def rotate(self, id: str, grace: timedelta = GRACE) -> tuple[Key, str]:
        """A new key with the rights of another, which is revoked after `grace`. Raises ConfigError as `revoke`."""
        key = self._named(id)
        if key.state(self._clock()) != "valid":
            problem = f"is {key.state(self._clock())}"
            raise ConfigError("keys", id, problem, "Make a new one: diarize serve keys add.")
        rotated = self.add(key.tenant, key.scopes, key.name, key.expires)
        self.revoke(id, self._clock() + grace)
        return rotated

    def check(self, text: str) -> Key | None:
        """The valid key that a caller sent; None for anything else."""
        match = _KEY.fullmatch(text)
        rows = self._ledger.execute(f"SELECT {_COLUMNS}, digest FROM keys WHERE id = ?", (match[1],)) if match else []
        digest = rows[0][-1] if rows else _NOBODY
        same = hmac.compare_digest(_digest(match[2] if match else text), digest)
        if not same or not rows:
            return None
        key = _key(rows[0][:-1])
        return key if key.state(self._clock()) == "valid" else None

    def _named(self, id: str) -> Key:
        rows = self._ledger.execute(f"SELECT {_COLUMNS} FROM keys WHERE id = ?", (id,))
        if not rows:
            raise ConfigError("keys", id, "there is no key of this id", "See: diarize serve keys list")
        return _key(rows[0])


_COLUMNS = "id, tenant, name, scopes, created, expires, revoked"


def _key(row: tuple[str | None, ...]) -> Key:
    id, tenant, name, scopes, created, expires, revoked = row
    times = [datetime.fromisoformat(text) if text else None for text in (expires, revoked)]
    kinds = cast(tuple[Scope, ...], tuple(str(scopes).split()))
    return Key(str(id), str(tenant), str(name), kinds, datetime.fromisoformat(str(created)), times[0], times[1])


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="microseconds")

"""Answers for requests that are repeated with the same Idempotency-Key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipelines.service.access.ledger import Ledger
from pipelines.service.work.refusals import Refusal


@dataclass(frozen=True, slots=True)
class Repeatable:
    """A request that may be sent again: the caller's name for it, and a digest of what was sent."""

    name: str
    request: str

    @classmethod
    def of(cls, name: str | None, *parts: object) -> Repeatable | None:
        """None where the caller gave no name. `parts`: all that makes it this request."""
        if name is None:
            return None
        return cls(name, hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest())

    def id(self, tenant: str, caller: str) -> str:
        """32 hex digits for what the request makes: a repeated one finds it, whatever was lost meanwhile."""
        return hashlib.sha256(json.dumps([tenant, caller, self.name]).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers in a ledger. Several requests of one name at once are all worked on: what they do, they do once."""

    ledger: Ledger

    def find(self, tenant: str, caller: str, repeatable: Repeatable) -> tuple[int, dict[str, Any]] | None:
        """(status, body) of an earlier request; None: there was none. Raises Refusal where it was another request."""
        sql = "SELECT request, status, body FROM answers WHERE tenant = ? AND caller = ? AND name = ?"
        rows = self.ledger.execute(sql, (tenant, caller, repeatable.name))
        if not rows:
            return None
        if rows[0][0] != repeatable.request:
            raise Refusal("idempotency_mismatch", "its first request was another one")
        return int(rows[0][1]), json.loads(rows[0][2])

    def store(self, tenant: str, caller: str, repeatable: Repeatable, status: int, body: Mapping[str, Any]) -> None:
        """Keep an answer."""
        self.ledger.execute(
            "INSERT INTO answers (tenant, caller, name, request, status, body, created) VALUES (?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            (
                tenant,
                caller,
                repeatable.name,
                repeatable.request,
                status,
                json.dumps(body),
                datetime.now(UTC).isoformat(),
            ),
        )

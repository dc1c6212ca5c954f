"""What can be wrong with a request to the service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diarize.errors import DiarizeError


class ServiceError(DiarizeError):
    """The service refused a request: `code` stays the same between versions, `problem` is the whole answer."""

    def __init__(self, status: int, code: str, detail: str, problem: Mapping[str, Any]) -> None:
        super().__init__(status, code, detail, dict(problem))
        self.status, self.code, self.detail, self.problem = status, code, detail, dict(problem)

    def __str__(self) -> str:
        hint = self.problem.get("hint", "")
        return f"{self.code} ({self.status}): {self.detail}. {hint}".strip()


class ServiceUnreachable(DiarizeError):
    """No address of the service answered."""

    def __init__(self, addresses: Sequence[str], problem: str) -> None:
        super().__init__(tuple(addresses), problem)
        self.addresses, self.problem = tuple(addresses), problem

    def __str__(self) -> str:
        return f"{', '.join(self.addresses)}: the service cannot be reached ({self.problem})."

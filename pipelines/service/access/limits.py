"""Limits on callers: requests a second, failed keys, sound a day, people."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipelines.service.access.ledger import Ledger

MOST_CALLERS = 10_000  # whose buckets are remembered; the one that was quiet longest is forgotten first


@dataclass(slots=True)
class Buckets:
    """A token bucket for each caller: `rate` requests a second on average, `burst` at once. In this process alone."""

    rate: float
    burst: float
    clock: Callable[[], float] = time.monotonic
    _levels: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, caller: str) -> float:
        """0.0 where the caller may go on, else the s until they may."""
        wait = self.wait(caller)
        if not wait:
            self.charge(caller)
        return wait

    def wait(self, caller: str) -> float:
        """The s until this caller may go on; 0.0: now."""
        with self._lock:
            level = self._level(caller)
        return 0.0 if level >= 1 else (1 - level) / self.rate

    def charge(self, caller: str) -> None:
        """Count one request of a caller."""
        with self._lock:
            self._levels[caller] = max(0.0, self._level(caller) - 1), self.clock()
            self._levels.move_to_end(caller)
            while len(self._levels) > MOST_CALLERS:
                self._levels.popitem(last=False)

    def _level(self, caller: str) -> float:
        level, since = self._levels.get(caller, (self.burst, self.clock()))
        return min(self.burst, level + (self.clock() - since) * self.rate)


def retry_after(seconds: float) -> str:
    """The value of a Retry-After header: whole seconds, at least one (RFC 9110, section 10.2.3)."""
    return str(max(1, math.ceil(seconds)))


@dataclass(frozen=True, slots=True)
class Quotas:
    """What a tenant may use; 0: as much as they like."""

    ledger: Ledger
    people: int = 0
    hours: float = 0.0  # of sound a day

    def count(self, tenant: str, seconds: float) -> None:
        """Count a request with so much sound (s)."""
        self.ledger.execute(
            "INSERT INTO use_by_day (tenant, day, requests, seconds) VALUES (?, ?, 1, ?) ON CONFLICT (tenant, day) "
            "DO UPDATE SET requests = use_by_day.requests + 1, seconds = use_by_day.seconds + excluded.seconds",
            (tenant, _today(), seconds),
        )

    def used(self, tenant: str) -> tuple[int, float]:
        """(requests, s of sound) of today (UTC)."""
        sql = "SELECT requests, seconds FROM use_by_day WHERE tenant = ? AND day = ?"
        rows = self.ledger.execute(sql, (tenant, _today()))
        return (int(rows[0][0]), float(rows[0][1])) if rows else (0, 0.0)

    def exhausted(self, tenant: str) -> bool:
        """Whether the sound of today is used up."""
        return bool(self.hours) and self.used(tenant)[1] >= 3600 * self.hours


def until_midnight() -> float:
    """s until the quotas of a day begin again (UTC)."""
    now = datetime.now(UTC)
    return 86_400.0 - (now.hour * 3600 + now.minute * 60 + now.second)


def _today() -> str:
    return datetime.now(UTC).date().isoformat()

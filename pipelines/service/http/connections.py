"""Connections: so many at once, and each must send the headers of a request in time."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


def guarded(most: int, header_seconds: float) -> type[H11Protocol]:
    """uvicorn's protocol, with these limits for all connections of one server."""
    open_connections: set[Any] = set()

    class _GuardedProtocol(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(open_connections) >= most:
                transport.abort()  # no answer: writing one to thousands would cost more than they
                return
            open_connections.add(self)
            self._wait()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            open_connections.discard(self)
            self._stop_waiting()
            super().connection_lost(exc)

        def handle_websocket_upgrade(self, event: Any) -> None:
            self._stop_waiting()
            super().handle_websocket_upgrade(event)

        def _wait(self) -> None:
            """From now on, the headers of the next request must come in time."""
            self._stop_waiting()
            self._deadline = self.loop.call_later(header_seconds, self._expire)

        def _stop_waiting(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()

        def _expire(self) -> None:
            if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
                self.transport.abort()

    return _GuardedProtocol

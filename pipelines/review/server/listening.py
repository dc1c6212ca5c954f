"""A server on 127.0.0.1: a bounded number of connections, each of which must ask for something in time."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from diarize.errors import ConfigError
from pipelines.review.server import app as applications
from pipelines.review.server.gate import Gate
from pipelines.review.server.recordings import ReviewedRun

PORT = 7331  # where it is free; the browser keeps settings of the page by address
CONNECTIONS = 64  # at once; a page needs about six
BACKLOG = 64  # connections that the system keeps waiting
REQUEST = 15.0  # s in which a request must have come, with its body, after the connection or the answer before it
KEEP_ALIVE = 10  # s that an idle connection stays open
CLOSING = 3  # s that open answers have when the server ends
LARGEST_HEAD = 16 << 10  # bytes of the head of a request
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 that refuses connections beyond `CONNECTIONS`, and ends those that do not ask in time.

    uvicorn's own `limit_concurrency` answers 503 only after it has read a request, and waits for that without end.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if len(self.connections) >= CONNECTIONS:
            transport.write(_FULL)
            transport.close()
            self.transport = transport
            return
        super().connection_made(transport)
        self._timer = self.loop.call_later(REQUEST, self._end_if_waiting)

    def data_received(self, data: bytes) -> None:
        if self in self.connections:
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self in self.connections:
            super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(REQUEST, self._end_if_waiting)

    def _end_if_waiting(self) -> None:
        """Close a connection on which no request is complete; an answer may take as long as it needs."""
        if self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            self.transport.abort()


class ReviewServer(uvicorn.Server):
    """A server for one run, at a port that is open already."""

    def __init__(self, run: ReviewedRun, sockets: list[socket.socket], token: str) -> None:
        self.port: int = sockets[0].getsockname()[1]
        self._sockets, self.token = sockets, token
        application: ASGIApp = Gate(applications.build(run, lambda: self.should_exit), token, self.port)
        super().__init__(
            uvicorn.Config(
                application,
                http=BoundedProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="critical",
                access_log=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=CLOSING,
                h11_max_incomplete_event_size=LARGEST_HEAD,
            )
        )

    @property
    def address(self) -> str:
        """What to open in a browser; who knows it may read and correct."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    def serve_until_stopped(self, started: Callable[[], Any] = lambda: None) -> None:
        """Answer until Ctrl-C, SIGTERM or `should_exit`. `started` is called when the socket accepts connections."""

        async def serve() -> None:
            asyncio.get_running_loop().call_soon(started)
            await self.serve(sockets=self._sockets)

        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal again after it has ended
            asyncio.run(serve())


def open_socket(port: int | None) -> socket.socket:
    """A socket on 127.0.0.1 that listens at `port`; None: at `PORT`, or at any free port where that is in use.

    Raises ConfigError where the port cannot be used.
    """
    for wanted in (PORT, 0) if port is None else (port,):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", wanted))
            listener.listen(BACKLOG)
            return listener
        except (OSError, OverflowError) as error:
            listener.close()
            problem = getattr(error, "strerror", None) or str(error)
            failure = ConfigError("--port", str(wanted), f"cannot be used: {problem}", "Name another one, or none.")
    raise failure


def new_token() -> str:
    """256 random bits, as text."""
    return secrets.token_urlsafe(32)

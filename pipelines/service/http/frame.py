"""Around every request: its id, limits on its body, one line of the log, figures for Prometheus, headers of safety."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.service.http import problems
from pipelines.service.work.refusals import Refusal
from pipelines.service.work.settings import MIB
from pipelines.service.work.voice_service import VoiceService

OVERHEAD = 64 << 10  # bytes of a body beside the audio: the frame of multipart, fields
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_SAFE = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)


class Metrics:
    """The figures of one process. No tenant and no person is a label."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        names = ("method", "route", "status")
        self.requests = Counter("diarize_requests", "Requests answered", names, registry=self.registry)
        self.seconds = Histogram("diarize_request_seconds", "Time to the answer", ("route",), registry=self.registry)
        self.decisions = Counter("diarize_decisions", "Decisions", ("action", "decision"), registry=self.registry)
        self.waiting = Gauge(
            "diarize_waiting", "Requests at work or waiting, by pool", ("pool",), registry=self.registry
        )


class RequestFrame:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, service: VoiceService, metrics: Metrics) -> None:
        self._app, self._service, self._metrics = app, service, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        wanted = headers.get(b"x-request-id", b"")
        scope["request_id"] = wanted.decode() if _ID.fullmatch(wanted) else secrets.token_hex(8)
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(self._service, scope, receive, send)
        started = time.monotonic()
        try:
            if (refusal := exchange.too_large(headers)) is not None:
                exchange.refusal = refusal
            else:
                await self._app(scope, exchange.receive, exchange.send)
        except Exception as error:
            if exchange.refusal is None:
                self._service.log(f"{scope['request_id']}: {type(error).__name__}: {error!r:.500}")
                exchange.refusal = Refusal("internal", "see the log of the service")
        if exchange.refusal is not None:
            await exchange.refuse()
        self._note(scope, exchange.status, time.monotonic() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        self._metrics.requests.labels(_method(scope["method"]), route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        client = scope.get("client")
        line = {
            "time": round(time.time(), 3),
            "process": os.getpid(),
            "request": scope["request_id"],
            "client": client[0] if client else "",
            "method": scope["method"],
            "route": route,  # not the path: it holds ids of people
            "status": status,
            "ms": round(1000 * seconds, 1),
        }
        self._service.log(json.dumps(line, ensure_ascii=True))


class _Exchange:
    """One request and its answer."""

    def __init__(self, service: VoiceService, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        limits = service.settings.limits
        is_recording = scope["path"].startswith("/v1/recordings")
        self._limit = (limits.recording_bytes if is_recording else limits.utterance_bytes) + OVERHEAD
        self._deadline = time.monotonic() + limits.body_seconds * max(1.0, self._limit / (25 * MIB))
        self._bytes, self._whole = 0, False
        self.status, self._started = 500, False
        self.refusal: Refusal | None = None

    def too_large(self, headers: dict[bytes, bytes]) -> Refusal | None:
        """The refusal of a body whose length is known to be too large."""
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._limit:
            return self._refused(int(length))
        return None

    def _refused(self, size: int) -> Refusal:
        facts = {"limit": self._limit, "received": {"bytes": size}}
        return Refusal("too_large", f"{self._limit} bytes are the limit", facts)

    async def receive(self) -> Message:
        """The next part of the body, within the limits."""
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout(max(0.01, self._deadline - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            self.refusal = Refusal("timeout", "the body did not arrive in time")
            raise self.refusal from None
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._bytes > self._limit:
                self.refusal = self._refused(self._bytes)
                raise self.refusal
        return message

    async def send(self, message: Message) -> None:
        """A part of the answer, with the headers of every answer."""
        if self.refusal is not None and not self._started:
            return  # whatever the application makes of the interruption: `refuse` answers
        if message["type"] == "http.response.start":
            self._started, self.status = True, message["status"]
            own = {name for name, _ in message["headers"]}
            extra = [pair for pair in _SAFE if pair[0] not in own]
            extra.append((b"x-request-id", self._scope["request_id"].encode()))
            message = {**message, "headers": [*message["headers"], *extra]}
        await self._send(message)

    async def refuse(self) -> None:
        """Completed with the refusal, where nothing was answered yet; the connection ends, as the body was not read."""
        if self._started:
            return
        refusal, self.refusal = self.refusal, None
        assert refusal is not None
        status, headers, body = problems.as_problem(refusal, self._scope["request_id"])
        pairs: list[Any] = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        pairs += [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
        await self.send({"type": "http.response.start", "status": status, "headers": pairs})
        await self._send({"type": "http.response.body", "body": body})


def _method(name: str) -> str:
    return name if name in ("GET", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "PUT") else "OTHER"

"""What a request must have before anything is read for it, and what every answer carries.

Another web page in the same browser is the attacker: it can send requests to 127.0.0.1, and by a name that it resolves
to 127.0.0.1 it could also read the answers (DNS rebinding). So the Host must be this server, a request must know the
token, and one that changes something must come from this page.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections.abc import Mapping
from urllib.parse import parse_qs, quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 1 << 20  # bytes; a thousand operations are 100 kB
LARGEST_TARGET = 4096  # characters of an address
MOST_DRAINED, DRAINING = 1 << 16, 1.0  # bytes, and s, of a body that is read before a refusal
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
HEADERS: Mapping[str, str] = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class BodyTooLarge(Exception):
    """A request has more bytes than any page sends. Raised where the application reads the body."""


class Gate:
    """Lets requests of the page pass to `app`."""

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self._app, self._token, self._cookie = app, token, f"diarize-{port}"
        suffixes = (f":{port}", *(("",) if port == 80 else ()))
        self._hosts = frozenset(name + suffix for name in ("127.0.0.1", "localhost") for suffix in suffixes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # web sockets are not served
            return
        headers = Headers(scope=scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                mutable = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    mutable[name] = value
                mutable.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is not None:
            refusal.headers["connection"] = "close"
            await _drain(receive)
            await refusal(scope, receive, send_with_headers)
            return
        size = 0

        async def receive_bounded() -> Message:
            nonlocal size
            message = await receive()
            if message["type"] == "http.request":
                size += len(message.get("body", b""))
                if size > LARGEST_BODY:
                    raise BodyTooLarge
            return message

        await self._app(scope, receive_bounded, send_with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer to a request that may not pass; also the one that turns a token into a cookie."""
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or host.lower() not in self._hosts:
            return PlainTextResponse("This server answers to 127.0.0.1 only.\n", 421)
        if len(scope["raw_path"]) + len(scope["query_string"]) > LARGEST_TARGET:
            return PlainTextResponse("The address is too long.\n", 414)
        reads = scope["method"] in ("GET", "HEAD")
        site, mode = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode", "navigate")
        if site not in ("none", "same-origin") and not (reads and mode == "navigate"):
            return PlainTextResponse("Another page asks for this.\n", 403)
        if reads and (answer := self._log_in(scope)) is not None:
            return answer
        bearer = self._is_token(headers.get("authorization", "").removeprefix("Bearer "))
        cookie = self._is_token(cookie_parser(headers.get("cookie", "")).get(self._cookie, ""))
        if not (bearer or cookie):
            return PlainTextResponse("Open the address that `diarize review` printed.\n", 401)
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("GET, HEAD and POST are served.\n", 405, {"allow": "GET, HEAD, POST"})
        origin = headers.get("origin")
        if not reads and not (origin == f"http://{host}" or (origin is None and bearer)):
            return PlainTextResponse("Another page asks for this.\n", 403)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > LARGEST_BODY:
            return PlainTextResponse("The request is too large.\n", 413)
        return None

    def _log_in(self, scope: Scope) -> Response | None:
        """The answer to an address with the token: a cookie, and the address without it."""
        tokens = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        if not tokens:
            return None
        if not self._is_token(tokens[-1]):
            return PlainTextResponse("This token is not valid: open the address that was printed last.\n", 401)
        answer = RedirectResponse("/" + quote(scope["path"].lstrip("/")), 303)
        answer.set_cookie(self._cookie, self._token, httponly=True, samesite="strict", path="/")
        return answer

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode("utf-8", "surrogateescape"), self._token.encode())


async def _drain(receive: Receive) -> None:
    """Read what a refused request still sends, within bounds: a connection that is closed with unread bytes is reset,
    and the client may never see the answer."""
    size = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAINING):
            while size <= MOST_DRAINED:
                message = await receive()
                size += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body"):
                    return

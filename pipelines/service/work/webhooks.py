"""Webhooks: one signed POST to an address that a caller named, which may not lead into a private network.

The name is resolved once, every address of it must be public, and the connection goes to an address that was checked,
so that a second answer of the name server changes nothing. Redirects are not followed, and the answer is not read.

The header `Diarize-Signature` is `t=<seconds>,v1=<hex>`: HMAC-SHA-256 under the caller's secret of `<seconds>.<body>`.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from pipelines.service.work.refusals import Refusal

TIMEOUT = 10.0  # s
ATTEMPTS = 5  # with pauses of 1, 4, 16, 64 s
LEAST_SECRET = 16  # characters

Resolve = Callable[[str, int], Sequence[str]]


def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a host name. Raises OSError."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass(frozen=True, slots=True)
class WebhookRules:
    """Which addresses may be reached: public ones over https, and those in `networks` also over http."""

    networks: tuple[str, ...] = ()
    resolve: Resolve = resolve

    def check(self, url: str) -> tuple[SplitResult, str]:
        """(the parts of a URL, an address that it leads to). Raises Refusal."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise Refusal("webhook_refused", "it is not a URL") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise Refusal("webhook_refused", "it is not a plain http or https URL")
        if not url.isascii() or not url.isprintable() or " " in url or len(url) > 2000:
            raise Refusal("webhook_refused", "it holds characters that a URL does not have")
        try:
            addresses = self.resolve(parts.hostname, port or (443 if parts.scheme == "https" else 80))
        except (OSError, UnicodeError) as error:
            raise Refusal("webhook_refused", "its host is not known") from error
        allowed = [self._is_named(address) for address in addresses]
        if not addresses or not all(
            named or _is_public(address) for named, address in zip(allowed, addresses, strict=True)
        ):
            raise Refusal("webhook_refused", "it leads into a private network")
        if parts.scheme == "http" and not all(allowed):
            raise Refusal("webhook_refused", "it is not https")
        return parts, addresses[0]

    def _is_named(self, address: str) -> bool:
        return any(ipaddress.ip_address(address) in ipaddress.ip_network(network) for network in self.networks)

    def deliver(self, url: str, secret: str, body: bytes) -> int:
        """POST a body; the status of the answer. Raises Refusal, OSError, http.client.HTTPException."""
        parts, address = self.check(url)
        host, is_tls = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if is_tls else 80)
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
        raw = socket.create_connection((address, port), TIMEOUT)
        try:
            connection.sock = ssl.create_default_context().wrap_socket(raw, server_hostname=host) if is_tls else raw
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            headers = {"Content-Type": "application/json", "Diarize-Signature": sign(secret, body, int(time.time()))}
            connection.request("POST", path, body, headers)
            return connection.getresponse().status
        finally:
            raw.close()
            connection.close()


def sign(secret: str, body: bytes, seconds: int) -> str:
    """The value of the header `Diarize-Signature`."""
    text = hmac.new(secret.encode(), b"%d." % seconds + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={text}"


def is_signed(secret: str, body: bytes, signature: str, now: float, tolerance: float = 300.0) -> bool:
    """Whether a body was signed with this secret, not longer than `tolerance` s ago: for whoever receives webhooks."""
    fields = dict(part.partition("=")[::2] for part in signature.split(","))
    seconds = fields.get("t", "")
    if not seconds.isdecimal() or abs(now - int(seconds)) > tolerance:
        return False
    return hmac.compare_digest(sign(secret, body, int(seconds)), signature)


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):  # addresses that carry an IPv4 address lead to that one
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        nat64 = ip in ipaddress.ip_network("64:ff9b::/96")
        if nat64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return inner.is_global and not inner.is_multicast
    return ip.is_global and not ip.is_multicast

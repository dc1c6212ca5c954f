"""Who calls, and what they may do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from pipelines.service.access.binding import is_local_request
from pipelines.service.access.keys import Scope
from pipelines.service.work.refusals import Refusal
from pipelines.service.work.voice_service import Caller, VoiceService

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


def service_of(connection: HTTPConnection) -> VoiceService:
    """The service behind an application."""
    service: VoiceService = connection.app.state.service
    return service


async def identify(connection: HTTPConnection, scope: Scope, open_on_loopback: bool = False) -> Caller:
    """The caller, who may do `scope`. Raises Refusal.

    `open_on_loopback`: also without a key where there are keys, if the service listens on the loopback alone.
    """
    service = service_of(connection)
    request = str(connection.scope.get("request_id", ""))
    sent = _sent_key(connection)
    if sent is None:
        needed = await service.desk.run(service.needs_key)
        if needed and not (open_on_loopback and service.settings.binding.is_loopback):
            raise Refusal("unauthenticated", "no key was sent")
        headers = connection.headers
        forwarded = [headers.get(name, "") for name in _FORWARDED]
        if not service.settings.binding.is_loopback or not is_local_request(
            headers.get("host", ""), headers.get("origin"), forwarded
        ):
            raise Refusal("not_local", "the request names another host, or came through a web page or a proxy")
        return service.local_caller(request)
    address = connection.client.host if connection.client else ""
    if wait := service.guesses.wait(address):
        raise Refusal("rate_limited", "too many wrong keys came from this address", retry=wait)
    key = await service.desk.run(service.keys.check, sent)
    if key is None:
        service.guesses.charge(address)
        raise Refusal("unauthenticated", "the key is unknown, expired or revoked")
    caller = Caller(key.tenant, key.id, frozenset(key.scopes), request)
    if not caller.may(scope):
        raise Refusal("forbidden", f"the scope {scope} is needed", {"scope": scope})
    if wait := service.rates.take(key.id):
        raise Refusal("rate_limited", f"{service.settings.limits.rate:g} requests a second are the limit", retry=wait)
    return caller


def needs(scope: Scope, open_on_loopback: bool = False) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency: the caller, who may do `scope`."""

    async def dependency(request: Request) -> Caller:
        return await identify(request, scope, open_on_loopback)

    return dependency


Enroller = Annotated[Caller, Depends(needs("enrol"))]
Verifying = Annotated[Caller, Depends(needs("verify"))]
Identifying = Annotated[Caller, Depends(needs("identify"))]
Reader = Annotated[Caller, Depends(needs("read"))]
Administrator = Annotated[Caller, Depends(needs("admin"))]


def _sent_key(connection: HTTPConnection) -> str | None:
    """The key in the headers; None: there is none."""
    scheme, _, value = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    return connection.headers.get("x-api-key")

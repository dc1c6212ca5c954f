"""Refusals as RFC 9457 problem details."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from pipelines.service.access.limits import retry_after
from pipelines.service.work.refusals import CODES, Refusal

MEDIA_TYPE = "application/problem+json"
_OF_STATUS = {404: "not_found", 405: "method_not_allowed", 401: "unauthenticated", 403: "forbidden", 413: "too_large"}


def as_problem(refusal: Refusal, request_id: str) -> tuple[int, dict[str, str], bytes]:
    """(status, headers, body) of a refusal."""
    status, title, cure = CODES[refusal.code]
    body: dict[str, Any] = {
        "type": f"urn:diarize:problem:{refusal.code}",
        "title": title,
        "status": status,
        "detail": refusal.detail,
        "code": refusal.code,
        "hint": cure,
        "request_id": request_id,
        **refusal.facts,
    }
    headers = {"Content-Type": MEDIA_TYPE}
    if refusal.retry or status in (429, 503):
        headers["Retry-After"] = retry_after(refusal.retry)
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="diarize"'
    return status, headers, json.dumps(body, ensure_ascii=True).encode()


def response(refusal: Refusal, request: Request) -> Response:
    """The response for a refusal."""
    status, headers, body = as_problem(refusal, str(request.scope.get("request_id", "")))
    return Response(body, status, headers)


def install(app: FastAPI) -> None:
    """Completed every error with a problem."""

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        return response(error, request)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        wrong = [
            {"where": ".".join(str(part) for part in each["loc"]), "problem": each["msg"]} for each in error.errors()
        ]
        detail = "; ".join(f"{each['where']}: {each['problem']}" for each in wrong[:5])
        return response(Refusal("invalid_request", detail, {"errors": wrong}), request)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = _OF_STATUS.get(error.status_code, "invalid_request")
        answer = response(Refusal(code, f"{request.method} is answered by {error.status_code} here"), request)
        for name, value in (error.headers or {}).items():
            answer.headers[name] = value
        return answer

    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)

"""/v1/verify, with /v1/challenges, and /v1/identify."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from pipelines.service.http.bodies import audio_body
from pipelines.service.http.callers import Identifying, Verifying, service_of
from pipelines.service.http.frame import Metrics
from pipelines.service.http.schemas import (
    AUDIO_BODY,
    PROBLEMS,
    Challenged,
    DrawnChallenge,
    IdempotencyKey,
    IdentificationAnswer,
    NewChallenge,
    VerificationAnswer,
)
from pipelines.service.work.answers import Repeatable

router = APIRouter(prefix="/v1", tags=["decisions"], responses=PROBLEMS)

_Claimed = Annotated[str, Query(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="id of the claimed speaker")]


@router.post("/challenges", status_code=201, response_model=DrawnChallenge)
async def challenge(request: Request, body: NewChallenge, caller: Verifying) -> Response:
    """Draw a phrase for a speaker to say now: valid once, and until it expires."""
    service = service_of(request)

    def work() -> tuple[int, dict[str, Any]]:
        return 201, service.phrases.draw(caller.tenant, body.speaker, body.language, body.seconds)

    answer = await service.perform(service.bench, caller, "challenge", work, body.speaker)
    return JSONResponse(answer.body, answer.status)


@router.post("/verify", response_model=VerificationAnswer, openapi_extra=AUDIO_BODY)
async def verify(
    request: Request,
    speaker: _Claimed,
    caller: Verifying,
    challenge: Challenged = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Is the voice in the audio that of the speaker, and, with a challenge, does it say the phrase?"""
    service = service_of(request)
    async with audio_body(request) as body:
        arrived = datetime.now(UTC)  # the time that a request waits is not the speaker's
        repeatable = Repeatable.of(idempotency_key, "verify", speaker, challenge, body.upload.digest)

        def work() -> tuple[int, dict[str, Any]]:
            service.check_quota(caller)
            decide = service.decider.verify
            return 200, decide(caller.tenant, speaker, body.upload, challenge=challenge, arrived=arrived)

        answer = await service.perform(service.bench, caller, "verify", work, speaker, repeatable)
    _count(request, "verify", answer.body)
    return JSONResponse(answer.body, headers={"Idempotency-Replayed": "true"} if answer.replayed else None)


@router.post("/identify", response_model=IdentificationAnswer, openapi_extra=AUDIO_BODY)
async def identify(
    request: Request, caller: Identifying, top: Annotated[int, Query(ge=1, le=50, description="most matches")] = 5
) -> Response:
    """Which enrolled speaker is in the audio, or nobody?"""
    service = service_of(request)
    async with audio_body(request) as body:

        def work() -> tuple[int, dict[str, Any]]:
            service.check_quota(caller)
            return 200, service.decider.identify(caller.tenant, body.upload, top)

        answer = await service.perform(service.bench, caller, "identify", work)
    _count(request, "identify", answer.body)
    return JSONResponse(answer.body)


def _count(request: Request, action: str, body: dict[str, Any]) -> None:
    metrics: Metrics = request.app.state.metrics
    metrics.decisions.labels(action, body["decision"]).inc()

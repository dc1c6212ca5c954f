"""`--compat`: POST /enroll, /verify and /identify as a known speaker-recognition system has them (docs/service.md).

A speaker's id is the caller's own text, kept as the name of a person of the tenant. On the loopback no key is needed.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import JSONResponse, Response

from pipelines.service.http.bodies import audio_body
from pipelines.service.http.callers import needs, service_of
from pipelines.service.http.schemas import AUDIO_BODY, PROBLEMS
from pipelines.service.work.refusals import Refusal
from pipelines.service.work.voice_service import Caller

router = APIRouter(tags=["compat"], responses=PROBLEMS)

MOST_MATCHES = 5
_Name = Annotated[str, Query(min_length=1, max_length=200)]
_Enroller = Annotated[Caller, Depends(needs("enrol", open_on_loopback=True))]
_Verifying = Annotated[Caller, Depends(needs("verify", open_on_loopback=True))]
_Identifying = Annotated[Caller, Depends(needs("identify", open_on_loopback=True))]


@router.post("/enroll", openapi_extra=AUDIO_BODY)
async def enroll(request: Request, speaker_id: _Name, caller: _Enroller) -> Response:
    """Enrol a speaker, or add to their enrolment."""
    service = service_of(request)
    async with audio_body(request) as body:

        def work() -> tuple[int, dict[str, Any]]:
            service.check_quota(caller)
            library, room = service.libraries.of(caller.tenant), service.room
            people = library.named(speaker_id)
            id = people[0].id if people else room.create(caller.tenant, speaker_id, None, None)["id"]
            try:
                room.add_utterance(caller.tenant, id, body.upload, frozenset(), None)
            except Refusal:
                if not people:
                    room.remove(caller.tenant, id, None)
                raise
            total = library.counts()[0]
            return 200, {"status": "success", "speaker_id": speaker_id, "total_speakers": total}

        answer = await service.perform(service.bench, caller, "enrol", work)
    return JSONResponse(answer.body)


@router.post("/verify", openapi_extra=AUDIO_BODY)
async def verify(request: Request, claimed_speaker_id: _Name, caller: _Verifying) -> Response:
    """Is this the claimed speaker?"""
    service = service_of(request)
    async with audio_body(request) as body:

        def work() -> tuple[int, dict[str, Any]]:
            service.check_quota(caller)
            people = service.libraries.of(caller.tenant).named(claimed_speaker_id)
            if not people:
                return 404, {"error": f"Speaker {claimed_speaker_id} is not enrolled"}
            result = service.decider.verify(caller.tenant, people[0].id, body.upload, complete=False)
            if "score" not in result:
                return 404, {"error": f"Speaker {claimed_speaker_id}: {result['decision']}"}
            return 200, {
                "verified": result["decision"] == "accept",
                "similarity": result["score"],
                "threshold": result["score_threshold"],
                "claimed_speaker_id": claimed_speaker_id,
            }

        answer = await service.perform(service.bench, caller, "verify", work)
    return JSONResponse(answer.body, answer.status)


@router.post("/identify", openapi_extra=AUDIO_BODY)
async def identify(request: Request, caller: _Identifying) -> Response:
    """The most similar speakers, five at most."""
    service = service_of(request)
    async with audio_body(request) as body:

        def work() -> tuple[int, dict[str, Any]]:
            service.check_quota(caller)
            result = service.decider.identify(caller.tenant, body.upload, MOST_MATCHES)
            matches = [
                {"speaker_id": each["name"], "similarity": each["score"], "rank": each["rank"]}
                for each in result["matches"]
            ]
            return 200, {"matches": matches}

        answer = await service.perform(service.bench, caller, "identify", work)
    return JSONResponse(answer.body)

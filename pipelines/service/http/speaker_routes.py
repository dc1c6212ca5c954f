"""/v1/speakers: enrolment that grows, listing, changes, export, deletion, opting out."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import JSONResponse, Response

from pipelines.service.http.bodies import audio_body
from pipelines.service.http.callers import Administrator, Enroller, Reader, service_of
from pipelines.service.http.schemas import (
    AUDIO_BODY,
    PROBLEMS,
    AddedUtterance,
    After,
    IdempotencyKey,
    IfMatch,
    Limit,
    NewSpeaker,
    ShownSpeaker,
    SpeakerChange,
    SpeakerId,
    SpeakerPage,
)
from pipelines.service.work.answers import Repeatable
from pipelines.service.work.people import as_response, etag
from pipelines.service.work.voice_service import Completed

router = APIRouter(prefix="/v1/speakers", tags=["speakers"], responses=PROBLEMS)

_Accept = Annotated[
    list[Literal["noise", "clipping", "voices", "agreement"]], Query(description="checks to ignore", max_length=4)
]


@router.post("", status_code=201, response_model=ShownSpeaker)
async def create(
    request: Request, body: NewSpeaker, caller: Enroller, idempotency_key: IdempotencyKey = None
) -> Response:
    """Create a speaker without utterances."""
    service = service_of(request)
    repeatable = Repeatable.of(idempotency_key, "create", body.model_dump(mode="json"))
    id = repeatable.id(caller.tenant, caller.id) if repeatable is not None else None

    def work() -> tuple[int, dict[str, Any]]:
        return 201, service.room.create(caller.tenant, body.name, body.consent, body.expires, id)

    answer = await service.perform(service.desk, caller, "create", work, repeatable=repeatable)
    return _speaker(answer, {"Location": f"/v1/speakers/{answer.body['id']}"})


@router.get("", response_model=SpeakerPage)
async def page(
    request: Request,
    caller: Reader,
    after: After = "",
    limit: Limit = 100,
    name: Annotated[str | None, Query(max_length=200, description="only speakers of this name")] = None,
) -> Response:
    """List speakers in order of id, without vectors."""
    service = service_of(request)

    def work() -> tuple[int, dict[str, Any]]:
        rows = service.room.page(caller.tenant, after, limit, name)
        return 200, {"speakers": rows, "next": rows[-1]["id"] if name is None and len(rows) == limit else None}

    return _plain(await service.perform(service.desk, caller, "list", work))


@router.get("/{speaker}", response_model=ShownSpeaker)
async def show(
    request: Request, speaker: SpeakerId, caller: Reader, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """One speaker, with an ETag."""
    service = service_of(request)
    work = partial(_read, partial(service.room.show, caller.tenant, speaker))
    answer = await service.perform(service.desk, caller, "show", work, speaker)
    if if_none_match is not None and etag(answer.body) in if_none_match:
        return Response(status_code=304, headers={"ETag": etag(answer.body)})
    return _speaker(answer)


@router.patch("/{speaker}", response_model=ShownSpeaker)
async def change(
    request: Request, speaker: SpeakerId, body: SpeakerChange, caller: Enroller, if_match: IfMatch = None
) -> Response:
    """Rename a speaker, or replace their consent."""
    service = service_of(request)
    changes = {name: getattr(body, name) for name in body.model_fields_set}
    work = partial(_read, partial(service.room.change, caller.tenant, speaker, changes, if_match))
    return _speaker(await service.perform(service.desk, caller, "change", work, speaker))


@router.delete("/{speaker}", status_code=204)
async def remove(request: Request, speaker: SpeakerId, caller: Administrator, if_match: IfMatch = None) -> Response:
    """Delete a speaker and all their data."""
    service = service_of(request)

    def work() -> tuple[int, dict[str, Any]]:
        service.room.remove(caller.tenant, speaker, if_match)
        return 204, {}

    await service.perform(service.desk, caller, "delete", work, speaker)
    return Response(status_code=204)


@router.get("/{speaker}/export")
async def export(request: Request, speaker: SpeakerId, caller: Administrator, vectors: bool = False) -> Response:
    """Everything that is stored of a person; `vectors`: their voiceprints too."""
    service = service_of(request)
    work = partial(_read, partial(service.room.export, caller.tenant, speaker, vectors))
    return _plain(await service.perform(service.desk, caller, "export", work, speaker))


@router.put("/{speaker}/opt-out", response_model=ShownSpeaker)
async def opt_out(request: Request, speaker: SpeakerId, caller: Enroller) -> Response:
    """Delete the data of a person, and refuse their id from now on."""
    service = service_of(request)
    work = partial(_read, partial(service.room.opt_out, caller.tenant, speaker))
    return _plain(await service.perform(service.desk, caller, "opt-out", work, speaker))


@router.delete("/{speaker}/opt-out", status_code=204)
async def opt_in(request: Request, speaker: SpeakerId, caller: Enroller) -> Response:
    """Forget that a person has opted out."""
    service = service_of(request)

    def work() -> tuple[int, dict[str, Any]]:
        service.room.opt_in(caller.tenant, speaker)
        return 204, {}

    await service.perform(service.desk, caller, "opt-in", work, speaker)
    return Response(status_code=204)


@router.post("/{speaker}/utterances", status_code=201, response_model=AddedUtterance, openapi_extra=AUDIO_BODY)
async def add_utterance(
    request: Request,
    speaker: SpeakerId,
    caller: Enroller,
    accept: _Accept = [],  # noqa: B006 - FastAPI copies it
    idempotency_key: IdempotencyKey = None,
    if_match: IfMatch = None,
) -> Response:
    """Add an utterance: the body is audio in any container, or a form with the field `audio`."""
    service = service_of(request)
    async with audio_body(request) as body:
        repeatable = Repeatable.of(idempotency_key, "utterance", speaker, body.upload.digest, sorted(accept))

        def work() -> tuple[int, dict[str, Any]]:
            service.check_quota(caller)
            room = service.room
            added = room.add_utterance(caller.tenant, speaker, body.upload, frozenset(accept), if_match)
            return 201 if added.outcome == "counted" else 200, as_response(added)

        answer = await service.perform(service.bench, caller, "enrol", work, speaker, repeatable)
    return _plain(answer)


def _read(make: Any) -> tuple[int, dict[str, Any]]:
    return 200, make()


def _plain(answer: Completed, headers: dict[str, str] | None = None) -> JSONResponse:
    replayed = {"Idempotency-Replayed": "true"} if answer.replayed else {}
    return JSONResponse(answer.body, answer.status, {**replayed, **(headers or {})})


def _speaker(answer: Completed, headers: dict[str, str] | None = None) -> JSONResponse:
    return _plain(answer, {"ETag": etag(answer.body), **(headers or {})})

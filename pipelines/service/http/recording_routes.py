"""/v1/recordings: the main job as a job, its events, its results in every format."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from diarize import formats
from pipelines.service.http.bodies import audio_body
from pipelines.service.http.callers import Identifying, service_of
from pipelines.service.http.schemas import (
    AUDIO_BODY,
    PROBLEMS,
    After,
    IdempotencyKey,
    Limit,
    RecordingId,
    RecordingJob,
    RecordingPage,
)
from pipelines.service.work.answers import Repeatable
from pipelines.service.work.refusals import Refusal
from pipelines.service.work.webhooks import LEAST_SECRET

router = APIRouter(prefix="/v1/recordings", tags=["recordings"], responses=PROBLEMS)

HEARTBEAT = 15.0  # s between two signs of life of a stream of events
_Count = Annotated[int | None, Query(ge=1, le=100)]


@router.post("", status_code=202, response_model=RecordingJob, openapi_extra=AUDIO_BODY)
async def submit(
    request: Request,
    caller: Identifying,
    num_speakers: _Count = None,
    min_speakers: _Count = None,
    max_speakers: _Count = None,
    language: Annotated[str | None, Query(pattern="^[a-z]{2,3}$")] = None,
    channel: Annotated[str | None, Query(pattern="^(auto|mix|per-channel|[0-9]{1,2})$")] = None,
    webhook: Annotated[str | None, Query(max_length=2000, description="POST the finished job to this URL")] = None,
    webhook_secret: Annotated[str | None, Header(max_length=200, description="signs the webhook")] = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Diarize and transcribe a recording: the body is audio in any container, or a form with the field `audio`."""
    service = service_of(request)
    named = {
        "num_speakers": num_speakers, "min_speakers": min_speakers, "max_speakers": max_speakers,
        "language": language, "channel": channel,
    }  # fmt: skip
    options = {name: value for name, value in named.items() if value is not None}
    if num_speakers is None and (min_speakers or 1) > (max_speakers or 100):
        raise Refusal("invalid_request", "min_speakers may not exceed max_speakers")
    hook = None
    if webhook is not None:
        if webhook_secret is None or len(webhook_secret) < LEAST_SECRET:
            raise Refusal("webhook_refused", f"the header Webhook-Secret needs {LEAST_SECRET} characters or more")
        hook = webhook, webhook_secret
    async with audio_body(request) as body:
        repeatable = Repeatable.of(idempotency_key, "recording", body.upload.digest, options, webhook)
        id = repeatable.id(caller.tenant, caller.id) if repeatable is not None else None

        def work() -> tuple[int, dict[str, Any]]:
            service.check_quota(caller)
            service.libraries.of(caller.tenant)  # the run reads it
            return 202, service.jobs.submit(caller.tenant, body.upload, options, hook, id)

        answer = await service.perform(service.desk, caller, "recording", work, repeatable=repeatable)
    service.jobs.notice()
    return JSONResponse(answer.body, answer.status, {"Location": f"/v1/recordings/{answer.body['id']}"})


@router.get("", response_model=RecordingPage)
async def page(request: Request, caller: Identifying, after: After = "", limit: Limit = 100) -> Response:
    """List recordings in order of id."""
    service = service_of(request)
    rows = await service.desk.run(service.jobs.page, caller.tenant, after, limit)
    return JSONResponse({"recordings": rows, "next": rows[-1]["id"] if len(rows) == limit else None})


@router.get("/{recording}", response_model=RecordingJob)
async def show(request: Request, recording: RecordingId, caller: Identifying) -> Response:
    """State and progress of a recording."""
    service = service_of(request)
    return JSONResponse(await service.desk.run(service.jobs.show, caller.tenant, recording))


@router.get("/{recording}/events", response_class=StreamingResponse)
async def events(
    request: Request,
    recording: RecordingId,
    caller: Identifying,
    last_event_id: Annotated[str | None, Header(pattern="^[0-9]{1,9}$")] = None,
) -> Response:
    """Server-sent events until the recording is finished: `state`, and those of `diarize process --log-json`."""
    service = service_of(request)
    await service.desk.run(service.jobs.show, caller.tenant, recording)
    source = service.jobs.events(caller.tenant, recording, int(last_event_id or 0))
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(_stream(source), media_type="text/event-stream", headers=headers)


async def _stream(source: AsyncIterator[tuple[int, str, dict[str, Any]]]) -> AsyncIterator[str]:
    pending: asyncio.Future[tuple[int, str, dict[str, Any]]] | None = None
    try:
        while True:
            pending = pending or asyncio.ensure_future(_next(source))
            done, _ = await asyncio.wait([pending], timeout=HEARTBEAT)
            if not done:
                yield ": alive\n\n"
                continue
            number, name, data = pending.result()
            pending = None
            yield f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n"
    except StopAsyncIteration:
        return
    finally:
        if pending is not None:
            pending.cancel()


async def _next(source: AsyncIterator[tuple[int, str, dict[str, Any]]]) -> tuple[int, str, dict[str, Any]]:
    return await anext(source)


@router.get("/{recording}/transcript")
async def transcript(
    request: Request,
    recording: RecordingId,
    caller: Identifying,
    format: Annotated[str, Query(pattern="^[a-z0-9]{1,20}$", description="json, txt, srt, vtt, rttm, ...")] = "json",
) -> Response:
    """The result in one of the formats of `diarize export`."""
    service = service_of(request)
    content = await service.desk.run(service.jobs.transcript, caller.tenant, recording, format)
    kind = "application/json" if format == "json" else "text/plain; charset=utf-8"
    if format in formats.BINARY:
        kind = "application/octet-stream"
    return Response(content, media_type=kind)


@router.post("/{recording}/cancel", response_model=RecordingJob)
async def cancel(request: Request, recording: RecordingId, caller: Identifying) -> Response:
    """Give a recording up."""
    service = service_of(request)
    answer = await service.desk.run(service.jobs.cancel, caller.tenant, recording)
    service.jobs.notice()
    return JSONResponse(answer)


@router.delete("/{recording}", status_code=204)
async def delete(request: Request, recording: RecordingId, caller: Identifying) -> Response:
    """Give a recording up, and delete it with its results."""
    service = service_of(request)
    await service.desk.run(service.jobs.delete, caller.tenant, recording)
    service.jobs.notice()
    return Response(status_code=204)

"""The addresses of the server and what they answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from diarize.errors import DiarizeError
from pipelines.review import document, report
from pipelines.review.server import ranges
from pipelines.review.server.gate import BodyTooLarge
from pipelines.review.server.recordings import MOST_OPERATIONS, Answer, ReviewedRecording, ReviewedRun
from pipelines.review.server.threads import VOICES, run_in_daemon
from pipelines.review.sound import Sound
from pipelines.review.spectrogram import LONGEST, WIDEST

Result = TypeVar("Result")

TYPES = {"review.js": "text/javascript; charset=utf-8", "review.css": "text/css; charset=utf-8"}
EVERY = 0.5  # s between two looks for corrections of others
COMMENT = 15.0  # s without an event until a comment is sent, so that a broken connection is noticed
BODY = 20.0  # s in which the body of a request must arrive


def build(run: ReviewedRun, stopping: Callable[[], bool] = lambda: False) -> Starlette:
    """The application. `stopping`: whether the server is about to end, so that open streams end, too."""
    pages = _Pages(run, stopping)
    routes = [
        Route("/", pages.index),
        Route("/assets/{name}", pages.asset),
        Route("/r/{id}/", pages.page),
        Route("/r/{id}/state.json", pages.state),
        Route("/r/{id}/audio", pages.audio),
        Route("/r/{id}/peaks", pages.peaks),
        Route("/r/{id}/spectrogram", pages.spectrogram),
        Route("/r/{id}/operations", pages.operations, methods=["POST"]),
        Route("/r/{id}/events", pages.events),
        Route("/r/{id}/speakers.json", pages.speakers),
        Route("/r/{id}/enrol", pages.enrol, methods=["POST"]),
        Route("/r/{id}/export/{format}", pages.export),
    ]
    handlers: dict[Any, Any] = {
        Answer: _answer,
        DiarizeError: _error,
        OSError: _error,
        HTTPException: _http,
        BodyTooLarge: _large,
    }
    return Starlette(routes=routes, exception_handlers=handlers)


class _Pages:
    def __init__(self, run: ReviewedRun, stopping: Callable[[], bool]) -> None:
        self._run, self._stopping = run, stopping

    async def _recording(self, request: Request) -> ReviewedRecording:
        return await run_in_threadpool(self._run.recording, request.path_params["id"])

    async def index(self, request: Request) -> Response:
        if self._run.only is not None:
            return RedirectResponse(f"/r/{quote(self._run.only, safe='')}/", 303)
        return HTMLResponse(await run_in_threadpool(self._run.listing))

    async def asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in TYPES:
            raise Answer(404, {"problem": "there is no such file"})
        return Response(await run_in_threadpool(report.read_asset, name), media_type=TYPES[name])

    async def page(self, request: Request) -> Response:
        recording = await self._recording(request)
        return HTMLResponse(await run_in_threadpool(recording.page))

    async def state(self, request: Request) -> Response:
        recording = await self._recording(request)
        return Response(await run_in_threadpool(recording.state), media_type="application/json")

    async def audio(self, request: Request) -> Response:
        recording = await self._recording(request)
        playable = await run_in_daemon(_sound(recording).playable)
        return await ranges.respond(request, playable.path, playable.type, f"{recording.digest}-{playable.type}")

    async def peaks(self, request: Request) -> Response:
        sound = _sound(await self._recording(request))
        return Response(await run_in_daemon(sound.peaks), media_type="application/octet-stream")

    async def spectrogram(self, request: Request) -> Response:
        """uint8 (128 bands from 0 to 8 kHz, width), lowest band first; 0 is -110 dB or less, 255 is 0 dB."""
        texts = [request.query_params.get(key, "") for key in ("start", "end", "width")]
        if not all(text.isascii() and text.isdecimal() and len(text) < 10 for text in texts):
            raise Answer(422, {"problem": "needs start and end (whole ms) and width (columns)"})
        start, end, width = map(int, texts)
        if not start < end <= start + LONGEST or not 1 <= width <= WIDEST:
            problem = f"takes at most {LONGEST} ms, and 1 to {WIDEST} columns, not {start} to {end} ms and {width}"
            raise Answer(422, {"problem": problem})
        sound = _sound(await self._recording(request))
        content = await run_in_daemon(lambda: sound.spectrogram(start, end, width))
        return Response(content, media_type="application/octet-stream")

    async def operations(self, request: Request) -> Response:
        values = await _json_body(request)
        recording = await self._recording(request)
        after, operations, version = values.get("after"), values.get("operations"), values.get("version")
        if type(after) is not int or after < 0 or not isinstance(operations, list) or not operations:
            raise Answer(400, {"problem": "needs after (a number) and operations (a list)"})
        if len(operations) > MOST_OPERATIONS or not all(isinstance(one, dict) for one in operations):
            raise Answer(400, {"problem": f"takes at most {MOST_OPERATIONS} operations, each an object"})
        if version is not None and not isinstance(version, str):
            raise Answer(400, {"problem": "version is the one of state.json"})
        return _json(await run_in_threadpool(recording.append, after, operations, version))

    async def events(self, request: Request) -> Response:
        recording = await self._recording(request)
        text = request.headers.get("last-event-id") or request.query_params.get("after", "0")
        if not (text.isascii() and text.isdecimal() and len(text) < 10):
            raise Answer(400, {"problem": "after is the number of a correction"})
        version = request.query_params.get("version") or recording.version
        return StreamingResponse(self._stream(recording, int(text), version), media_type="text/event-stream")

    async def _stream(self, recording: ReviewedRecording, after: int, version: str) -> AsyncIterator[str]:
        """Entries as they come. `event: reload` says that the transcript is another one than `version`."""
        silent = 0.0
        yield ": corrections\n\n"
        while not self._stopping():
            entries, now = await run_in_threadpool(recording.news, after, version)
            if now != version:
                yield "event: reload\ndata: {}\n\n"
                version = now
            for one in entries:
                after = one["number"]
                yield f"id: {after}\nevent: entry\ndata: {document.as_json(one).decode()}\n\n"
            silent = 0.0 if entries else silent + EVERY
            if silent >= COMMENT:
                yield ": nothing new\n\n"
                silent = 0.0
            await asyncio.sleep(EVERY)

    async def speakers(self, request: Request) -> Response:
        recording = await self._recording(request)
        return _json(await run_in_threadpool(recording.speakers))

    async def enrol(self, request: Request) -> Response:
        values = await _json_body(request)
        recording = await self._recording(request)
        speaker, name, consent = (values.get(key) for key in ("speaker", "name", "consent"))
        if not (isinstance(speaker, str) and isinstance(name, str) and isinstance(consent, str)):
            raise Answer(400, {"problem": "needs speaker, name and consent"})
        return _json(await run_in_daemon(lambda: recording.enrol(speaker, name, consent), VOICES))

    async def export(self, request: Request) -> Response:
        recording = await self._recording(request)
        name, content = await run_in_threadpool(recording.export, request.path_params["format"])
        disposition = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
        return Response(content, media_type="application/octet-stream", headers={"content-disposition": disposition})


def _sound(recording: ReviewedRecording) -> Sound:
    """The sound of a recording. Raises Answer (404) where it was not found."""
    if recording.sound is None:
        raise Answer(404, {"problem": "the recording was not found; name its folder: --audio FOLDER"})
    return recording.sound


async def _json_body(request: Request) -> dict[str, Any]:
    """The JSON object of a request. Raises Answer (400, 408)."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Answer(400, {"problem": "the body must be application/json"})
    try:
        content = await asyncio.wait_for(request.body(), BODY)
        values = json.loads(content)
    except TimeoutError:
        raise Answer(408, {"problem": "the body did not arrive"}) from None
    except (ValueError, RecursionError):
        raise Answer(400, {"problem": "the body is no JSON"}) from None
    except ClientDisconnect:
        raise Answer(400, {"problem": "the connection was closed"}) from None
    if not isinstance(values, dict):
        raise Answer(400, {"problem": "the body is no JSON object"})
    return values


def _json(values: dict[str, Any], status: int = 200) -> Response:
    return Response(document.as_json(values), status, media_type="application/json")


async def _answer(request: Request, answer: Answer) -> Response:
    return _json(answer.content, answer.status)


async def _error(request: Request, error: Exception) -> Response:
    return _json({"problem": str(error)}, 503 if isinstance(error, OSError) else 500)


async def _large(request: Request, error: Exception) -> Response:
    return PlainTextResponse("The request is too large.\n", 413, {"connection": "close"})


async def _http(request: Request, error: HTTPException) -> Response:
    return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)

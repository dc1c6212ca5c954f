"""WebSocket /v1/stream/enrol and /v1/stream/verify: sound as it is spoken, with interim answers.

The client sends {"rate": 16000}, then 16-bit samples (little-endian, mono) in binary messages, then {"end": true}; or
{"codec": "opus"}, then Opus packets, one a message, or an Ogg stream of them in pieces of any size. The service sends
{"type": "progress", "seconds", "speech", "need", "enough"} about once a second of sound, and at the end
{"type": "result", ...} or {"type": "problem", ...}, and closes.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.websockets import WebSocket, WebSocketDisconnect

from pipelines.people.enrolment_checks import LEAST_SPEECH
from pipelines.service.http.callers import identify, service_of
from pipelines.service.http.problems import as_problem
from pipelines.service.http.schemas import Challenged
from pipelines.service.streams.listening import Listener, OpusListener, SampleListener
from pipelines.service.work.people import as_response
from pipelines.service.work.refusals import Refusal
from pipelines.service.work.voice_service import Caller, VoiceService

router = APIRouter(prefix="/v1/stream")

QUIET = 20.0  # s without a message after which a stream is closed
LARGEST = 256 << 10  # bytes of a message
LONGEST = 60.0  # s of sound
_REFUSED = 1008  # RFC 6455, section 7.4.1: policy violation

_Speaker = Annotated[str, Query(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


@router.websocket("/{action}")
async def stream(
    socket: WebSocket, action: Literal["enrol", "verify"], speaker: _Speaker, challenge: Challenged = None
) -> None:
    """One utterance of a speaker."""
    service = service_of(socket)
    try:
        caller = await identify(socket, action)
    except Refusal as refusal:
        await socket.accept()
        await _end(socket, refusal)
        return
    await socket.accept()
    try:
        await _converse(socket, service, caller, action, speaker, challenge)
    except Refusal as refusal:
        await _end(socket, refusal)
    except WebSocketDisconnect:
        return


async def _converse(
    socket: WebSocket, service: VoiceService, caller: Caller, action: str, speaker: str, challenge: str | None
) -> None:
    opening = await _receive(socket)
    need = service.settings.enrolment_seconds if action == "enrol" else LEAST_SPEECH
    listener = _listener(service, opening, need)
    while isinstance(message := await _receive(socket), bytes):
        if listener.add(message):
            await socket.send_json(await service.bench.run(_progress, service, listener))
    if message.get("end") is not True:
        raise Refusal("invalid_request", 'the last message is {"end": true}')
    arrived = datetime.now(UTC)
    path = service.uploads / secrets.token_hex(16)
    try:
        upload = await service.desk.run(listener.upload, path)

        def work() -> tuple[int, dict[str, Any]]:
            service.check_quota(caller)
            if action == "verify":
                decide = service.decider.verify
                return 200, decide(caller.tenant, speaker, upload, challenge=challenge, arrived=arrived)
            return 200, as_response(service.room.add_utterance(caller.tenant, speaker, upload, frozenset(), None))

        answer = await service.perform(service.bench, caller, action, work, speaker)
    finally:
        path.unlink(missing_ok=True)
    await socket.send_json({"type": "result", **answer.body})
    await socket.close()


def _listener(service: VoiceService, opening: bytes | dict[str, Any], need: float) -> Listener:
    """What takes the sound that the first message announces. Raises Refusal."""
    longest = min(LONGEST, service.settings.limits.utterance_seconds)
    if isinstance(opening, dict):
        codec, rate = opening.get("codec", "pcm"), opening.get("rate", 16_000)
        if codec == "opus":
            return OpusListener(need, longest, service.decoder, service.uploads)
        if codec == "pcm" and isinstance(rate, int) and not isinstance(rate, bool):
            return SampleListener(rate, need, longest)
    raise Refusal("invalid_request", 'the first message is {"rate": <Hz>} or {"codec": "opus"}')


def _progress(service: VoiceService, listener: Listener) -> dict[str, Any]:
    return listener.progress(service.models.of_thread()[0])


async def _receive(socket: WebSocket) -> bytes | dict[str, Any]:
    """The next message: samples, or an object. Raises Refusal, WebSocketDisconnect."""
    try:
        async with asyncio.timeout(QUIET):
            message = await socket.receive()
    except TimeoutError:
        raise Refusal("timeout", f"nothing was sent for {QUIET:g} s") from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    data, text = message.get("bytes"), message.get("text")
    if data is not None:
        if len(data) > LARGEST:
            raise Refusal("too_large", f"{LARGEST} bytes are the limit of a message", {"limit": LARGEST})
        return bytes(data)
    try:
        value = json.loads(text or "")
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Refusal("invalid_request", "a text message is a JSON object")
    return value


async def _end(socket: WebSocket, refusal: Refusal) -> None:
    _, _, body = as_problem(refusal, str(socket.scope.get("request_id", "")))
    try:
        await socket.send_json({**json.loads(body), "type": "problem"})
        await socket.close(_REFUSED, refusal.code)
    except (RuntimeError, WebSocketDisconnect):  # the client is gone
        return

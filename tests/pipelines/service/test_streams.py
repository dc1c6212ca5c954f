"""Sound as it is spoken, over a WebSocket."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.pipelines.service.servers import Running, enrolled, tone

HEADER = 44  # bytes of a WAV file


def converse(
    service: Running, key: str, action: str, speaker: str, sound: bytes, rate: int = 16_000, piece: int = 8000
) -> list[dict[str, Any]]:
    """All that the service sends."""
    url = service.url.replace("http", "ws") + f"/v1/stream/{action}?speaker={speaker}"
    answers: list[dict[str, Any]] = []
    headers = {"Authorization": f"Bearer {key}"}
    with connect(url, additional_headers=headers, proxy=None) as socket:
        with contextlib.suppress(ConnectionClosed):  # what was sent before is still to be received
            socket.send(json.dumps({"rate": rate}))
            for at in range(0, len(sound), piece):
                socket.send(sound[at : at + piece])
            socket.send(json.dumps({"end": True}))
        with contextlib.suppress(ConnectionClosed):
            while True:
                answers.append(json.loads(socket.recv(30)))
    return answers


def test_enrolment_and_verification_say_when_there_is_enough_speech(
    service: Running, client: httpx.Client, tenant: str
) -> None:
    key = service.key("admin", tenant=tenant)
    id = enrolled(client, 440)
    answers = converse(service, key, "verify", id, tone(440, 3, 90)[HEADER:])
    progress = [each for each in answers if each["type"] == "progress"]
    assert [each["enough"] for each in progress] == sorted(each["enough"] for each in progress)
    assert progress[0]["need"] == 1.5 and not progress[0]["enough"] and progress[-1]["enough"]
    assert (answers[-1]["type"], answers[-1]["decision"]) == ("result", "accept")
    other = converse(service, key, "verify", id, tone(2000, 3, 91, rate=8000)[HEADER:], rate=8000)
    assert other[-1]["decision"] == "reject"

    new = client.post("/v1/speakers", json={"name": "Berta"}).json()["id"]
    refused = converse(service, key, "enrol", new, tone(660, 5, 92)[HEADER:])
    assert (refused[-1]["type"], refused[-1]["code"]) == ("problem", "clipped")  # a tone: as over HTTP
    assert refused[0]["need"] == 8.0


@pytest.mark.parametrize(
    ("opening", "messages", "code"),
    [
        ({"rate": 11}, [], "invalid_request"),
        ({"rate": True}, [], "invalid_request"),
        ({"codec": "mp3"}, [], "invalid_request"),
        ({"codec": ["opus"]}, [], "invalid_request"),
        ("no json", [], "invalid_request"),
        ({"rate": 16_000}, ["{}"], "invalid_request"),
        ({"rate": 16_000}, ['{"end": true}'], "audio_empty"),
        ({"rate": 16_000}, [bytes(300_000)], "too_large"),
        ({"rate": 8_000}, [bytes(200_000)] * 6, "audio_too_long"),
        ({"rate": 16_000}, [bytes(64_000), '{"end": true}'], "no_speech"),
    ],
)
def test_strange_streams_end_with_a_problem(
    service: Running, client: httpx.Client, tenant: str, opening: object, messages: list[str | bytes], code: str
) -> None:
    id = enrolled(client, 440)
    key = service.key("verify", tenant=tenant)
    url = service.url.replace("http", "ws") + f"/v1/stream/verify?speaker={id}"
    last: dict[str, Any] = {}
    with connect(url, additional_headers={"Authorization": f"Bearer {key}"}, proxy=None) as socket:
        with contextlib.suppress(ConnectionClosed):
            socket.send(opening if isinstance(opening, str) else json.dumps(opening))
            for message in messages:
                socket.send(message)
        with contextlib.suppress(ConnectionClosed):
            while True:
                last = json.loads(socket.recv(30))
    assert (last["type"], last["code"]) == ("problem", code)


def test_a_stream_needs_a_key_with_its_scope(service: Running, client: httpx.Client, tenant: str) -> None:
    id = enrolled(client, 440)
    for key, code in ((service.key("enrol", tenant=tenant), "forbidden"), ("wrong", "unauthenticated")):
        answers = converse(service, key, "verify", id, b"")
        assert answers[-1]["code"] == code
    stranger = service.key("verify", tenant=f"{tenant}_other")
    assert converse(service, stranger, "verify", id, tone(440, 3, 93)[HEADER:])[-1]["code"] == "speaker_not_found"

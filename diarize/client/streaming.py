"""Sound that is sent while it is spoken, over the WebSockets of the service."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from diarize.client.errors import ServiceError, ServiceUnreachable
from diarize.errors import MissingExtra

Progress = Mapping[str, Any]  # seconds, speech, need, enough


def converse(
    address: str,
    key: str | None,
    action: str,
    query: Mapping[str, str],
    pieces: Iterable[bytes],
    opening: Mapping[str, Any],
    on_progress: Callable[[Progress], None],
    timeout: float,
) -> dict[str, Any]:
    """The answer to a stream of sound. Raises ServiceError, ServiceUnreachable, MissingExtra."""
    try:
        from websockets.exceptions import ConnectionClosed, WebSocketException
        from websockets.sync.client import connect
    except ImportError as error:
        raise MissingExtra("diarize.client", "client") from error
    url = f"ws{address.removeprefix('http')}/v1/stream/{action}?{urlencode(query)}"
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    answers: list[dict[str, Any]] = []

    def receive(socket: Any, wait: float) -> bool:
        """Take the next message; whether there was one."""
        try:
            message = json.loads(socket.recv(wait))
        except TimeoutError:
            return False
        if message.get("type") == "progress":
            on_progress(message)
        else:
            answers.append(message)
        return True

    try:
        with connect(url, additional_headers=headers, open_timeout=timeout) as socket:
            try:
                socket.send(json.dumps(opening))
                for piece in pieces:
                    socket.send(piece)
                    while receive(socket, 0):
                        pass
                socket.send(json.dumps({"end": True}))
                while receive(socket, timeout):
                    pass
            except ConnectionClosed:  # what was sent before is still to be read
                while not answers and receive(socket, timeout):
                    pass
    except ConnectionClosed:
        pass
    except (OSError, WebSocketException) as error:
        raise ServiceUnreachable((address,), str(error) or type(error).__name__) from error
    if not answers:
        raise ServiceUnreachable((address,), "the connection ended without an answer")
    answer = answers[-1]
    if answer.get("type") != "result":
        raise ServiceError(int(answer.get("status", 0)), str(answer.get("code")), str(answer.get("detail")), answer)
    return answer

"""Sound that is sent while it is spoken, over the WebSockets of the service."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from diarize.client.errors import ServiceError, ServiceUnreachable
from diarize.errors import MissingExtra

Progress = Mapping[str, Any]  # seconds, speech, need, enough


def connection(address: str, key: str | None, action: str, query: Mapping[str, str], timeout: float) -> Any:
    """An open WebSocket for a stream, without sound yet. Raises ServiceUnreachable, MissingExtra."""
    try:
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect
    except ImportError as error:
        raise MissingExtra("diarize.client", "client") from error
    url = f"ws{address.removeprefix('http')}/v1/stream/{action}?{urlencode(query)}"
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    try:
        return connect(url, additional_headers=headers, open_timeout=timeout)
    except (OSError, WebSocketException) as error:  # TimeoutError is an OSError
        raise ServiceUnreachable((address,), str(error) or type(error).__name__) from error


def converse(
    socket: Any,
    address: str,
    pieces: Iterable[bytes],
    opening: Mapping[str, Any],
    on_progress: Callable[[Progress], None],
    timeout: float,
) -> dict[str, Any]:
    """The answer to a stream of sound over a `connection`, which is closed then.

    Raises ServiceError, ServiceUnreachable.
    """
    from websockets.exceptions import ConnectionClosed, WebSocketException

    answers: list[dict[str, Any]] = []

    def receive(wait: float) -> bool:
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
        with socket:
            try:
                socket.send(json.dumps(opening))
                for piece in pieces:
                    socket.send(piece)
                    while receive(0):
                        pass
                socket.send(json.dumps({"end": True}))
                while receive(timeout):
                    pass
            except ConnectionClosed:  # what was sent before is still to be read
                while not answers and receive(timeout):
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

"""A file, or the part of it that a player asks for (RFC 9110, 14: Range Requests). One range at a time."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

BLOCK = 256 << 10  # bytes read at a time
_RANGE = re.compile(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*")


def parse_range(value: str, size: int) -> tuple[int, int] | None:
    """(first byte, byte after the last) of a Range field, for a file of `size` bytes; None: all of it.

    A field of another unit, or with several ranges, is ignored, as the standard allows: an answer in parts would cost
    as much as somebody asks for. Raises ValueError for a range outside the file.
    """
    match = _RANGE.fullmatch(value)
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":  # the last bytes
        first, end = max(0, size - int(match[2])), size
    else:
        first = int(match[1])
        end = size if match[2] == "" else min(size, int(match[2]) + 1)
        if match[2] != "" and int(match[2]) < first:
            return None
    if not first < end:
        raise ValueError(value)
    return first, end


async def respond(request: Request, path: Path, kind: str, tag: str) -> Response:
    """A file of media type `kind` as the request wants it. `tag` names its content."""
    try:
        size = (await run_in_threadpool(path.stat)).st_size
    except OSError:
        return PlainTextResponse("The recording cannot be read any more.\n", 404)
    headers = {"accept-ranges": "bytes", "etag": f'"{tag}"', "cache-control": "private, no-cache"}
    wanted = request.headers.get("range", "")
    if request.headers.get("if-range", f'"{tag}"') != f'"{tag}"':
        wanted = ""
    try:
        part = parse_range(wanted, size) if wanted else None
    except ValueError:
        return PlainTextResponse("There are no such bytes.\n", 416, {**headers, "content-range": f"bytes */{size}"})
    first, end = (0, size) if part is None else part
    if part is not None:
        headers["content-range"] = f"bytes {first}-{end - 1}/{size}"
    headers["content-length"] = str(end - first)
    status = 200 if part is None else 206
    if request.method == "HEAD":
        return Response(None, status, headers, kind)
    return StreamingResponse(_bytes(path, first, end), status, headers, kind)


async def _bytes(path: Path, first: int, end: int) -> AsyncIterator[bytes]:
    file = await run_in_threadpool(path.open, "rb")
    try:
        await run_in_threadpool(file.seek, first)
        while first < end:
            block = await run_in_threadpool(file.read, min(BLOCK, end - first))
            if not block:
                return
            first += len(block)
            yield block
    finally:
        file.close()

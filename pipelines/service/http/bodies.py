"""Audio out of a request: multipart field `audio`, or the body itself, whole or chunked."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from pipelines.service.http.callers import service_of
from pipelines.service.work.refusals import Refusal
from pipelines.service.work.uploads import Upload

_PIECE = 1 << 20  # bytes


@dataclass(slots=True)
class AudioBody:
    """The audio of a request, and the other fields of a form."""

    upload: Upload
    fields: dict[str, str] = field(default_factory=dict)


@contextlib.asynccontextmanager
async def audio_body(request: Request, name: str = "audio") -> AsyncIterator[AudioBody]:
    """The audio of a request as a file, which is deleted at the end of the block. Raises Refusal."""
    declared = request.headers.get("content-type", "")
    path = service_of(request).uploads / secrets.token_hex(16)
    body = AudioBody(Upload(path, 0, "", _plain(declared)))
    try:
        if declared.lower().startswith("multipart/form-data"):
            await _read_form(request, body, name)
        else:
            digest, size = hashlib.sha256(), 0
            with path.open("xb") as file:
                async for piece in request.stream():
                    digest.update(piece)
                    size += len(piece)
                    file.write(piece)
            body.upload.size, body.upload.digest = size, digest.hexdigest()
        yield body
    finally:
        path.unlink(missing_ok=True)


async def _read_form(request: Request, body: AudioBody, name: str) -> None:
    try:
        form = await request.form(max_files=2, max_fields=20, max_part_size=16 << 10)
    except Refusal:
        raise
    except (HTTPException, KeyError, ValueError, UnicodeError) as error:
        raise Refusal("invalid_request", "the multipart body cannot be read") from error
    try:
        part = form.get(name)
        if not isinstance(part, UploadFile):
            received = {"fields": sorted(_plain(key) for key in form)[:20]}
            raise Refusal("audio_missing", f"the form has no file in the field `{name}`", {"received": received})
        body.upload.declared = _plain(part.content_type or "")
        digest, size = hashlib.sha256(), 0
        with body.upload.path.open("xb") as file:
            while piece := await part.read(_PIECE):
                digest.update(piece)
                size += len(piece)
                file.write(piece)
        body.upload.size, body.upload.digest = size, digest.hexdigest()
        body.fields = {key: value for key, value in form.items() if isinstance(value, str)}
    finally:
        await form.close()


def _plain(text: str) -> str:
    """What a caller sent, as messages show it."""
    return "".join(c for c in text[:100] if c.isprintable())

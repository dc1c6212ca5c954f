"""JSON of transcription services, recognised by shape (`find`), one module each service; `foreign` reads their values.

Every module has `fits(value) -> bool` and `parse(value, where) -> (texts with times, language)`. Speakers are the
service's own; where each channel was transcribed by itself, they are `CHANNEL_0`, `CHANNEL_1`, ...
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from diarize.formats.timed_text import TimedText

SERVICES = {  # name for readers -> module
    "AssemblyAI": "assemblyai",
    "Deepgram": "deepgram",
    "AWS Transcribe": "aws_transcribe",
    "Azure Speech": "azure_speech",
    "Rev.ai": "rev_ai",
    "Speechmatics": "speechmatics",
    "Google Speech": "google_speech",
    "Podcasting 2.0": "podcast",
}

Parser = Callable[[Any, str], tuple[list[TimedText], str | None]]


def find(value: Any) -> Parser | None:
    """The parser of the service that wrote a JSON value; None where it is of none of them."""
    for module in SERVICES.values():
        service = import_module(f"diarize.formats.{module}")
        if service.fits(value):
            parser: Parser = service.parse
            return parser
    return None

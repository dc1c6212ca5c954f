"""Podcasting 2.0, the JSON of `<podcast:transcript>` (podcast-namespace, transcripts.md).

    {"version": "1.0.0", "segments": [{"speaker", "startTime", "endTime", "body"}]}

A segment is a word or more; its end and its speaker may be missing.
"""

from __future__ import annotations

from typing import Any

from diarize.formats.foreign import is_objects, objects, speaker_of, text_of
from diarize.formats.timed_text import TimedText, parse_time


def fits(value: Any) -> bool:
    """True for segments with a body."""
    segments = value.get("segments") if isinstance(value, dict) else None
    return bool(segments) and is_objects(segments) and {"startTime", "body"} <= set(segments[0])


def parse(value: Any, where: str) -> tuple[list[TimedText], str | None]:
    """The segments. The format has no language."""
    texts = []
    for item in objects(value["segments"], where, "segments"):
        body = text_of(item, "body", where)
        start, end = parse_time(item.get("startTime")), parse_time(item.get("endTime"))
        texts.append(TimedText(body, start, end, speaker_of(item.get("speaker")), word=" " not in body.strip()))
    return texts, None

"""SegLST, the segment list of CHiME-7 and MeetEval: JSON, one object a turn.

Its ids are those of RTTM and STM, so that recordings and speakers have the same ids in all of them; the `speakers`
format maps them to names. Text of nobody has the speaker `<NA>`: MeetEval fails on null.
"""

from __future__ import annotations

from typing import Any

from diarize.errors import FormatError
from diarize.formats.jsontext import dump_json, parse_json
from diarize.formats.naming import NOBODY, from_token, to_token
from diarize.formats.segments import TextSegment, check_span, is_empty, note_empty, text_segments
from diarize.formats.timed_text import TimedText, parse_time
from diarize.formats.times import round_transcript
from diarize.types import Transcript


def dumps(transcript: Transcript) -> str:
    """A list with one object for each turn, also without text; an empty list without turns and words."""
    transcript = round_transcript(transcript)
    file = to_token(transcript.recording)
    segments = [
        dump_json(
            {
                "session_id": file,
                "speaker": NOBODY if row.speaker is None else to_token(row.speaker),
                "start_time": row.start,
                "end_time": row.end,
                "words": row.text,
            },
            transcript.recording,
        )
        for row in text_segments(transcript)
    ]
    return "[\n" + ",\n".join(f"  {segment}" for segment in segments) + "\n]\n" if segments else "[]\n"


def loads(text: str, where: str, notes: list[str] | None = None) -> dict[str, tuple[TextSegment, ...]]:
    """Recording -> its segments, in the order of the file. Raises FormatError, with the number of the segment.

    Segments of length 0 are left out, and a note on them is added to `notes`.
    """
    segments: dict[str, list[TextSegment]] = {}
    empty = 0
    for at, (recording, segment) in enumerate(_segments(parse_json(text.lstrip("\ufeff"), where), where), 1):
        place = f"{where}: segment {at}"
        if segment.start is None or segment.end is None:
            raise FormatError(place, "start_time or end_time is not a valid time")
        own = segments.setdefault(recording, [])
        if is_empty(segment.start, segment.end, place):
            empty += 1
            continue
        start, end = check_span(segment.start, segment.end, place)
        own.append(TextSegment(start, end, segment.speaker, segment.text))
    note_empty(empty, where, notes)
    return {recording: tuple(own) for recording, own in segments.items()}


def parse(value: Any, where: str) -> dict[str, list[TimedText]]:
    """Recording -> its segments, also without valid times, of a parsed list. Raises FormatError for other JSON."""
    segments: dict[str, list[TimedText]] = {}
    for recording, segment in _segments(value, where):
        segments.setdefault(recording, []).append(segment)
    return segments


def _segments(value: Any, where: str) -> list[tuple[str, TimedText]]:
    if not isinstance(value, list):
        raise FormatError(where, "a SegLST is a list of segments")
    segments = []
    for at, item in enumerate(value, 1):
        if not isinstance(item, dict) or "session_id" not in item:
            raise FormatError(f"{where}: segment {at}", "a segment is an object with a session_id")
        text, speaker = item.get("words", ""), item.get("speaker")
        if not isinstance(text, str):
            raise FormatError(f"{where}: segment {at}", "words is not a string")
        who = None if speaker is None or speaker == NOBODY else from_token(str(speaker))
        segment = TimedText(text, parse_time(item.get("start_time")), parse_time(item.get("end_time")), who)
        segments.append((from_token(str(item["session_id"])), segment))
    return segments

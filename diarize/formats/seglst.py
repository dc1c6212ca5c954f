"""SegLST, the segment list of CHiME-7 and MeetEval: JSON, one object a turn.

Its ids are those of RTTM and STM, so that a scorer finds the same recording and speaker in all of them; the `speakers`
format maps them to names. What nobody said has the speaker `<NA>`: MeetEval fails on null.
"""

from __future__ import annotations

from typing import Any

from diarize.errors import FormatError
from diarize.formats.entries import Entry, seconds
from diarize.formats.jsontext import dump, parse
from diarize.formats.naming import NOBODY, plain, token
from diarize.formats.rows import Row, rows, segment
from diarize.formats.times import rounded
from diarize.types import Transcript


def dumps(transcript: Transcript) -> str:
    """A list with one object a turn, also one without text; an empty list when nobody spoke."""
    transcript = rounded(transcript)
    file = token(transcript.recording)
    segments = [
        dump(
            {
                "session_id": file,
                "speaker": NOBODY if row.speaker is None else token(row.speaker),
                "start_time": row.start,
                "end_time": row.end,
                "words": row.text,
            },
            transcript.recording,
        )
        for row in rows(transcript)
    ]
    return "[\n" + ",\n".join(f"  {segment}" for segment in segments) + "\n]\n" if segments else "[]\n"


def loads(text: str, where: str) -> dict[str, tuple[Row, ...]]:
    """Recording -> its rows, in the order of the file. Raises FormatError, with the number of the segment."""
    found: dict[str, list[Row]] = {}
    for at, (recording, entry) in enumerate(_segments(parse(text.lstrip("\ufeff"), where), where), 1):
        place = f"{where}: segment {at}"
        if entry.start is None or entry.end is None:
            raise FormatError(place, "start_time or end_time is no time")
        start, end = segment(entry.start, entry.end, place)
        found.setdefault(recording, []).append(Row(start, end, entry.speaker, entry.text))
    return {recording: tuple(own) for recording, own in found.items()}


def entries(value: Any, where: str) -> dict[str, list[Entry]]:
    """Recording -> its segments, with times that may be none, of a parsed list. Raises FormatError for other JSON."""
    found: dict[str, list[Entry]] = {}
    for recording, entry in _segments(value, where):
        found.setdefault(recording, []).append(entry)
    return found


def _segments(value: Any, where: str) -> list[tuple[str, Entry]]:
    if not isinstance(value, list):
        raise FormatError(where, "a SegLST is a list of segments")
    found = []
    for at, item in enumerate(value, 1):
        if not isinstance(item, dict) or "session_id" not in item:
            raise FormatError(f"{where}: segment {at}", "a segment is an object with a session_id")
        said, speaker = item.get("words", ""), item.get("speaker")
        if not isinstance(said, str):
            raise FormatError(f"{where}: segment {at}", "words is no string")
        who = None if speaker is None or speaker == NOBODY else plain(str(speaker))
        entry = Entry(said, seconds(item.get("start_time")), seconds(item.get("end_time")), who)
        found.append((plain(str(item["session_id"])), entry))
    return found

"""STM, segment time marks (NIST SCTK, "sclite input formats"): `<file> <channel> <speaker> <start> <end> <text>`.

One line for each turn, sorted by start, channel 1; the `speakers` format maps the ids to names.
"""

from __future__ import annotations

import re

from diarize.errors import FormatError
from diarize.formats import alternatives
from diarize.formats.naming import NOBODY, from_token, to_token
from diarize.formats.nist import escape, is_gap, is_ignored, read_lines, unescape
from diarize.formats.segments import TextSegment, check_span, is_empty, note_empty, parse_seconds, text_segments
from diarize.formats.times import round_transcript
from diarize.text import join, split_fields
from diarize.types import Transcript

_LABEL = re.compile(r"<[^<>]*>")


def dumps(transcript: Transcript) -> str:
    """One line for each turn, also without text; "" without turns and words. Text of nobody has the speaker `<NA>`."""
    transcript = round_transcript(transcript)
    file = to_token(transcript.recording)
    return "".join(
        " ".join(
            (
                file,
                "1",
                NOBODY if row.speaker is None else to_token(row.speaker),
                f"{row.start:.3f}",
                f"{row.end:.3f}",
                *map(escape, split_fields(join([row.text]))),
            )
        )
        + "\n"
        for row in text_segments(transcript)
    )


def loads(text: str, where: str, notes: list[str] | None = None) -> dict[str, tuple[TextSegment, ...]]:
    """Recording -> its segments, in the order of the file; a label (`<O,F0,M>`) is ignored.

    Left out are segments that are not to be scored (`unscored.of_stm` has their times) and those of length 0, on which
    a note is added to `notes`. A gap between segments has no speaker. Raises FormatError, with the line, for anything
    that is not a segment.
    """
    segments: dict[str, list[TextSegment]] = {}
    empty = 0
    for place, fields, line in read_lines(text, where):
        if len(fields) < 5:
            raise FormatError(place, f"an STM line has 5 fields and text, not {len(fields)}: {line[:80]!r}")
        own = segments.setdefault(from_token(fields[0]), [])
        start, end = parse_seconds(fields[3], place), parse_seconds(fields[4], place)
        if is_empty(start, end, place):
            empty += 1
            continue
        start, end = check_span(start, end, place)
        words = fields[6:] if len(fields) > 5 and _LABEL.fullmatch(fields[5]) else fields[5:]
        if is_ignored(words) or (not words and is_gap(fields)):
            continue
        speaker = None if fields[2] == NOBODY or is_gap(fields) else from_token(fields[2])
        passage = alternatives.parse(" ".join(words), place)
        content = " ".join(map(unescape, words) if passage is None else alternatives.first(passage))
        own.append(TextSegment(start, end, speaker, content, passage=passage))
    note_empty(empty, where, notes)
    return {file: tuple(own) for file, own in segments.items()}

"""STM, segment time marks (NIST SCTK, "sclite input formats"): `<file> <channel> <speaker> <start> <end> <text>`.

One line for each turn, sorted by start, channel 1; the `speakers` format maps the ids to names.
"""

from __future__ import annotations

import re

from diarize.errors import FormatError
from diarize.formats.naming import NOBODY, from_token, to_token
from diarize.formats.nist import escape, read_lines, unescape
from diarize.formats.segments import TextSegment, check_span, parse_seconds, text_segments
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


def loads(text: str, where: str) -> dict[str, tuple[TextSegment, ...]]:
    """Recording -> its segments, in the order of the file; a label (`<O,F0,M>`) is ignored.

    Raises FormatError, with the line, for anything that is not a segment.
    """
    segments: dict[str, list[TextSegment]] = {}
    for place, fields, line in read_lines(text, where):
        if len(fields) < 5:
            raise FormatError(place, f"an STM line has 5 fields and text, not {len(fields)}: {line[:80]!r}")
        start, end = check_span(parse_seconds(fields[3], place), parse_seconds(fields[4], place), place)
        words = fields[6:] if len(fields) > 5 and _LABEL.fullmatch(fields[5]) else fields[5:]
        speaker = None if fields[2] == NOBODY else from_token(fields[2])
        segment = TextSegment(start, end, speaker, " ".join(map(unescape, words)))
        segments.setdefault(from_token(fields[0]), []).append(segment)
    return {file: tuple(own) for file, own in segments.items()}

"""UEM, the un-partitioned evaluation map: which parts of a recording count (NIST; `<file> <channel> <start> <end>`).

Spans that could not be decoded are left out, so that a scorer does not expect speech there.
"""

from __future__ import annotations

from diarize.errors import FormatError
from diarize.formats.naming import from_token, to_token
from diarize.formats.nist import read_lines
from diarize.formats.segments import check_span, is_empty, note_empty, parse_seconds
from diarize.formats.times import round_transcript
from diarize.timeline import gaps, union
from diarize.types import Segment, Transcript


def dumps(transcript: Transcript) -> str:
    """The duration without the lost spans, one line for each part; "" if nothing could be decoded."""
    transcript = round_transcript(transcript)
    file = to_token(transcript.recording)
    decoded = gaps(transcript.lost, transcript.duration)
    return "".join(f"{file} 1 {segment.start:.3f} {segment.end:.3f}\n" for segment in decoded)


def loads(text: str, where: str, notes: list[str] | None = None) -> dict[str, tuple[Segment, ...]]:
    """Recording -> its parts, sorted and disjoint. Raises FormatError, with the line, for anything else.

    Parts of length 0 are left out, and a note on them is added to `notes`.
    """
    segments: dict[str, list[Segment]] = {}
    empty = 0
    for place, fields, line in read_lines(text, where):
        if len(fields) != 4:
            raise FormatError(place, f"a UEM line has 4 fields, not {len(fields)}: {line[:80]!r}")
        start, end = parse_seconds(fields[2], place), parse_seconds(fields[3], place)
        own = segments.setdefault(from_token(fields[0]), [])
        if is_empty(start, end, place):
            empty += 1
        else:
            own.append(Segment(*check_span(start, end, place)))
    note_empty(empty, where, notes)
    return {file: union(own) for file, own in segments.items()}

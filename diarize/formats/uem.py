"""UEM, the un-partitioned evaluation map: which parts of a recording count (NIST; `<file> <channel> <start> <end>`).

What could not be decoded is left out, so that a scorer does not ask for speech that nobody could hear.
"""

from __future__ import annotations

from diarize.errors import FormatError
from diarize.formats.naming import plain, token
from diarize.formats.rows import number, segment
from diarize.formats.times import rounded
from diarize.timeline import gaps, union
from diarize.types import Segment, Transcript


def dumps(transcript: Transcript) -> str:
    """The whole duration less the lost spans, one line a stretch; "" when nothing could be decoded."""
    transcript = rounded(transcript)
    file = token(transcript.recording)
    heard = gaps(transcript.lost, transcript.duration)
    return "".join(f"{file} 1 {segment.start:.3f} {segment.end:.3f}\n" for segment in heard)


def loads(text: str, where: str) -> dict[str, tuple[Segment, ...]]:
    """Recording -> its stretches, sorted and disjoint. Raises FormatError, with the line, for what is none."""
    found: dict[str, list[Segment]] = {}
    for at, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        fields, place = line.split(), f"{where}:{at}"
        if not fields or fields[0].startswith(";;"):
            continue
        if len(fields) != 4:
            raise FormatError(place, f"a UEM line has 4 fields, not {len(fields)}: {line[:80]!r}")
        start, end = segment(number(fields[2], place), number(fields[3], place), place)
        found.setdefault(plain(fields[0]), []).append(Segment(start, end))
    return {file: union(segments) for file, segments in found.items()}

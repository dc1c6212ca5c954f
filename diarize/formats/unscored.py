"""What a reference says is not to be scored: spans of RTTM and STM that scorers leave out.

| in the file | scorer |
|---|---|
| RTTM, `NOSCORE` | md-eval 22 |
| RTTM, `NON-LEX` of the types laugh, breath, lipsmack, cough, sneeze, other | md-eval 22 (`noscore_sds`) |
| STM, text with `IGNORE_TIME_SEGMENT_IN_SCORING` | sclite, asclite |

A `NON-LEX` span is extended by half a second on each side, but not beyond words (`LEXEME`) and borders of turns
(md-eval, `add_exclusion_zones_to_uem`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from diarize.formats.naming import from_token
from diarize.formats.nist import is_ignored, read_lines
from diarize.formats.segments import check_span, is_empty, parse_seconds
from diarize.timeline import union
from diarize.types import Segment

_NON_LEX = frozenset(("laugh", "breath", "lipsmack", "cough", "sneeze", "other"))
_EXTENSION = 0.5  # s; md-eval's max_extend


@dataclass(slots=True)
class _Marks:
    """What the lines of one recording of an RTTM say."""

    spans: list[Segment] = field(default_factory=list)  # NOSCORE
    sounds: list[Segment] = field(default_factory=list)  # NON-LEX
    words: list[Segment] = field(default_factory=list)
    borders: list[float] = field(default_factory=list)  # of turns


def of_rttm(text: str, where: str) -> dict[str, tuple[Segment, ...]]:
    """Recording -> spans that are not scored, sorted and disjoint. Raises FormatError, with the line."""
    recordings: dict[str, _Marks] = {}
    for place, fields, _ in read_lines(text, where):
        if fields[0] not in ("NOSCORE", "NON-LEX", "LEXEME", "SPEAKER") or len(fields) < 5:
            continue
        start, duration = parse_seconds(fields[3], place), parse_seconds(fields[4], place)
        if is_empty(start, start + duration, place):
            continue
        span = Segment(*check_span(start, start + duration, place))
        marks = recordings.setdefault(from_token(fields[1]), _Marks())
        if fields[0] == "SPEAKER":
            marks.borders += (span.start, span.end)
        elif fields[0] == "LEXEME":
            marks.words.append(span)
        elif fields[0] == "NOSCORE":
            marks.spans.append(span)
        elif len(fields) > 6 and fields[6].lower() in _NON_LEX:
            marks.sounds.append(span)
    return {
        file: union([*marks.spans, *_extend(marks.sounds, marks.words, marks.borders)])
        for file, marks in recordings.items()
        if marks.spans or marks.sounds
    }


def _extend(sounds: Sequence[Segment], words: Sequence[Segment], borders: Sequence[float]) -> list[Segment]:
    """Each sound with the pauses around it."""
    spoken = union(words)
    limits = sorted([*borders, *(time for word in spoken for time in (word.start, word.end))])
    extended = []
    for sound in sounds:
        before, after = bisect_right(limits, sound.start) - 1, bisect_left(limits, sound.end)
        start = max(0.0, sound.start - _EXTENSION, limits[before] if before >= 0 else 0.0)
        end = min(sound.end + _EXTENSION, limits[after] if after < len(limits) else sound.end + _EXTENSION)
        extended.append(
            Segment(
                sound.start if _is_inside(sound.start, spoken) else start,
                sound.end if _is_inside(sound.end, spoken) else end,
            )
        )
    return extended


def _is_inside(time: float, segments: Sequence[Segment]) -> bool:
    """True if `time` is in one of the sorted, disjoint `segments`."""
    at = bisect_right(segments, time, key=lambda segment: segment.start) - 1
    return at >= 0 and time < segments[at].end


def of_stm(text: str, where: str) -> dict[str, tuple[Segment, ...]]:
    """Recording -> spans that are not scored, sorted and disjoint. Raises FormatError, with the line."""
    spans: dict[str, list[Segment]] = {}
    for place, fields, _ in read_lines(text, where):
        if not is_ignored(fields[5:]):
            continue
        start, end = parse_seconds(fields[3], place), parse_seconds(fields[4], place)
        if not is_empty(start, end, place):
            spans.setdefault(from_token(fields[0]), []).append(Segment(*check_span(start, end, place)))
    return {file: union(own) for file, own in spans.items()}

"""RTTM, Rich Transcription Time Marked: who spoke when. NIST, "The 2009 (RT-09) Rich Transcription Meeting Recognition
Evaluation Plan", appendix A: ten fields separated by spaces,

    SPEAKER <file> <channel> <start> <duration> <NA> <NA> <speaker> <confidence> <NA>

Only SPEAKER lines are written. Common readers fail on `;;` comments (pyannote.database) and on SPKR-INFO lines
(MeetEval), so that the names of the safe ids are in a format of their own, `speakers`.
"""

from __future__ import annotations

from diarize.errors import FormatError
from diarize.formats.naming import from_token, to_token
from diarize.formats.nist import read_lines
from diarize.formats.segments import check_span, is_empty, note_empty, parse_seconds
from diarize.formats.times import round_transcript
from diarize.types import Transcript, Turn
from diarize.units import round_time

_FIELDS = (9, 10)  # the tenth, signal lookahead time, is newer than the others (RTTM 1.3 has nine)
_OTHERS = frozenset(("SEGMENT", "NOSCORE", "NO_RT_METADATA", "LEXEME", "NON-LEX", "NON-SPEECH", "FILLER", "EDIT", "IP"))
_OTHERS |= {"SU", "CB", "A/P", "SPKR-INFO"}


def dumps(transcript: Transcript) -> str:
    """One line for each turn; "" without turns."""
    transcript = round_transcript(transcript)
    file = to_token(transcript.recording)
    return "".join(
        f"SPEAKER {file} 1 {turn.start:.3f} {turn.duration:.3f} <NA> <NA> {to_token(turn.speaker)} "
        f"{'<NA>' if turn.confidence is None else format(turn.confidence, '.3f')} <NA>\n"
        for turn in transcript.turns
    )


def loads(text: str, where: str, notes: list[str] | None = None) -> dict[str, tuple[Turn, ...]]:
    """Recording -> its turns, sorted by start.

    Lines of other types (`unscored.of_rttm` reads some) and `;;` comments are ignored. Turns of length 0 are left out,
    and a note on them is added to `notes`. Raises FormatError, with the line, for anything else that is not a turn.
    """
    turns: dict[str, list[Turn]] = {}
    empty = 0
    for place, fields, line in read_lines(text, where):
        if fields[0] in _OTHERS:
            continue
        if fields[0] != "SPEAKER" or len(fields) not in _FIELDS:
            raise FormatError(
                place,
                f"not a SPEAKER line of 10 fields (it has {len(fields)}): {line[:80]!r}",
                "Names may not contain spaces.",
            )
        start, duration = parse_seconds(fields[3], place), parse_seconds(fields[4], place)
        own = turns.setdefault(from_token(fields[1]), [])
        if is_empty(start, start + duration, place):
            empty += 1
            continue
        start, end = check_span(start, round_time(start + duration) if start + duration < 1e9 else float("inf"), place)
        own.append(Turn(start, end, from_token(fields[7]), _confidence(fields[8], place)))
    note_empty(empty, where, notes)
    return {file: tuple(sorted(own, key=lambda t: (t.start, t.end, t.speaker))) for file, own in turns.items()}


def _confidence(field: str, where: str) -> float | None:
    if field == "<NA>":
        return None
    value = parse_seconds(field, where)
    return value if 0 <= value <= 1 else None  # some tools write scores on another scale

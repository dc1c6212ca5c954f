"""RTTM, Rich Transcription Time Marked: who spoke when. NIST, "The 2009 (RT-09) Rich Transcription Meeting Recognition
Evaluation Plan", appendix A: ten fields parted by spaces,

    SPEAKER <file> <channel> <start> <duration> <NA> <NA> <speaker> <confidence> <NA>

SPEAKER lines alone are written. Readers in use fail on `;;` comments (pyannote.database) and on SPKR-INFO lines
(MeetEval), so that the map from the safe ids to names is a format of its own, `speakers`.
"""

from __future__ import annotations

from diarize.errors import FormatError
from diarize.formats.naming import plain, token
from diarize.formats.rows import number, segment
from diarize.formats.times import rounded
from diarize.types import Transcript, Turn
from diarize.units import round_time

_FIELDS = (9, 10)  # the tenth, signal lookahead time, is younger than the others (RTTM 1.3 has nine)
_OTHERS = frozenset(("SEGMENT", "NOSCORE", "NO_RT_METADATA", "LEXEME", "NON-LEX", "NON-SPEECH", "FILLER", "EDIT", "IP"))
_OTHERS |= {"SU", "CB", "A/P", "SPKR-INFO"}


def dumps(transcript: Transcript) -> str:
    """One line a turn; "" when nobody spoke."""
    transcript = rounded(transcript)
    file = token(transcript.recording)
    return "".join(
        f"SPEAKER {file} 1 {turn.start:.3f} {turn.duration:.3f} <NA> <NA> {token(turn.speaker)} "
        f"{'<NA>' if turn.confidence is None else format(turn.confidence, '.3f')} <NA>\n"
        for turn in transcript.turns
    )


def loads(text: str, where: str) -> dict[str, tuple[Turn, ...]]:
    """Recording -> its turns, sorted by start.

    Lines of other types and `;;` comments are passed over, and so are turns of no length: they hold no speech. Raises
    FormatError, with the line, for anything else that is not a turn.
    """
    found: dict[str, list[Turn]] = {}
    for at, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        fields, place = line.split(), f"{where}:{at}"
        if not fields or fields[0].startswith(";;") or fields[0] in _OTHERS:
            continue
        if fields[0] != "SPEAKER" or len(fields) not in _FIELDS:
            raise FormatError(
                place,
                f"not a SPEAKER line of 10 fields (it has {len(fields)}): {line[:80]!r}",
                "A name with a space in it makes more fields than there should be.",
            )
        start, duration = number(fields[3], place), number(fields[4], place)
        turns = found.setdefault(plain(fields[1]), [])
        if duration == 0:
            continue
        start, end = segment(start, round_time(start + duration) if start + duration < 1e9 else float("inf"), place)
        turns.append(Turn(start, end, plain(fields[7]), _confidence(fields[8], place)))
    return {file: tuple(sorted(turns, key=lambda t: (t.start, t.end, t.speaker))) for file, turns in found.items()}


def _confidence(field: str, where: str) -> float | None:
    if field == "<NA>":
        return None
    value = number(field, where)
    return value if 0 <= value <= 1 else None  # some tools put scores of another scale here

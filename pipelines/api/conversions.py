"""Transcripts out of `transcript.json`, and out of the objects of other tools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any

from diarize import types
from diarize.errors import FormatError
from diarize.formats import repair, seglst, transcript_json
from diarize.formats.jsontext import dump_json
from diarize.formats.timed_text import TimedText
from diarize.types import Turn, Word
from diarize.units import round_time
from pipelines.api.keywords import AnyPath, path_of
from pipelines.api.transcript import Transcript
from pipelines.inputs.folders import is_folder
from pipelines.results import outputs

if TYPE_CHECKING:
    from pyannote.core import Annotation


def read(path: AnyPath) -> Transcript:
    """The transcript in a `transcript.json`, or in the folder of one recording's results.

    Raises FormatError where there is none, or what is there is no transcript.
    """
    place = path_of(path, "read")
    return Transcript.of(transcript_json.read(place / outputs.TRANSCRIPT if is_folder(place) else place))


def from_annotation(
    annotation: Annotation, *, recording: str | None = None, duration: float | None = None
) -> Transcript:
    """A `pyannote.core.Annotation` as a transcript without words: a turn a track, its label is the speaker.

    `recording` (default: the annotation's uri) names it, `duration` (s) is its length (default: the end of the last
    turn). Raises FormatError for times that no recording has, as those below zero.
    """
    if not hasattr(annotation, "itertracks"):
        raise TypeError(f"from_annotation() takes a pyannote.core.Annotation, not {type(annotation).__name__}")
    tracks = annotation.itertracks(yield_label=True)
    name = recording if recording is not None else str(annotation.uri or "recording")
    try:
        turns = [Turn(float(segment.start), float(segment.end), str(label)) for segment, _, label in tracks]
        return _transcript(name, turns, (), duration)
    except ValueError as error:
        raise FormatError("annotation", str(error)) from None


def from_seglst(
    segments: Iterable[Mapping[str, Any]], *, recording: str | None = None, duration: float | None = None
) -> Transcript:
    """SegLST segments (MeetEval, CHiME) as a transcript: a turn a segment, with its words spread over it.

    `recording` chooses a session where there are several, `duration` (s) is its length (default: the end of the last
    segment). The times of words are in proportion to their letters, as SegLST has none. Raises FormatError, with the
    number of the segment.
    """
    if isinstance(segments, str | bytes | Mapping) or not isinstance(segments, Iterable):
        raise TypeError(f"from_seglst() takes a list of segments (dicts), not {type(segments).__name__}")
    plain = [_plain(segment) if isinstance(segment, Mapping) else segment for segment in segments]
    sessions = seglst.loads(dump_json(plain, "segments"), "segments")
    name = recording if recording is not None else next(iter(sessions), "recording")
    if name not in sessions and sessions:
        raise FormatError("segments", f"no session is called {name!r}", f"There are: {', '.join(sessions)}.")
    if recording is None and len(sessions) > 1:
        problem = f"there are {len(sessions)} sessions ({', '.join(sessions)})"
        raise FormatError("segments", problem, "Choose one: recording=NAME.")
    rows = sessions.get(name, ())
    turns = [Turn(row.start, row.end, row.speaker) for row in rows if row.speaker is not None]
    words = [
        word
        for row in rows
        for word in repair.repair_times([TimedText(row.text, row.start, row.end, row.speaker)], "segments")
    ]
    try:
        return _transcript(name, turns, words, duration)
    except ValueError as error:
        raise FormatError("segments", str(error)) from None


def _transcript(recording: str, turns: Sequence[Turn], words: Sequence[Word], duration: float | None) -> Transcript:
    """Raises ValueError where the duration is none."""
    ends = [turn.end for turn in turns] + [word.end for word in words]
    ordered = tuple(sorted(turns, key=lambda turn: (turn.start, turn.end)))
    return Transcript(
        recording=recording,
        duration=round_time(max(ends, default=0.0)) if duration is None else float(duration),
        speakers=types.speakers_of(ordered),
        turns=ordered,
        words=tuple(words),
    )


def _plain(segment: Mapping[str, Any]) -> dict[str, Any]:
    """A segment whose times are plain numbers: MeetEval reads them as decimals, NumPy has its own."""
    return {
        key: float(value) if isinstance(value, Real | Decimal) and type(value).__module__ != "builtins" else value
        for key, value in segment.items()
    }

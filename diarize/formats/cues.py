"""Cues of SRT and WebVTT: written and read.

The rules of subtitles (Netflix, "Timed Text Style Guide: General Requirements" and "English"): at most two lines of 42
columns and 7 seconds, 17 characters a second, no shorter than a second, one cue at a time. A wide character of East
Asia takes two columns. `cue_cutting` divides what each speaker says, `cue_timing` puts the cues one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from diarize.errors import FormatError
from diarize.formats import cue_cutting, cue_timing
from diarize.formats.cue_timing import Cue, CuePart
from diarize.formats.line_breaks import count_columns
from diarize.formats.options import DEFAULT, ExportOptions
from diarize.formats.repair import fill_between
from diarize.formats.segments import TextSegment, check_span
from diarize.formats.timed_text import TimedText
from diarize.formats.timing_lines import SourceCue
from diarize.types import Transcript

_PREFIX = re.compile(r"\[([^\[\]\n]+)\]:(?:\s+|$)")

Prefix = Callable[[str | None], str]  # what the text of a speaker begins with


def make_cues(transcript: Transcript, prefix: Prefix, options: ExportOptions = DEFAULT) -> list[Cue]:
    """The cues of a transcript (its times rounded), by start, none of which overlap.

    Words that two speakers say at once, and short answers, are a line each of one cue, unless `one_speaker_a_cue`.
    Without words, the speakers of each time between two changes, with their prefixes alone.
    """
    if not transcript.words:
        return cue_timing.turns_as_cues(transcript.turns, lambda id: prefix(id).rstrip(), options.one_speaker_a_cue)
    utterances = transcript.utterances()
    leads = {speaker: count_columns(prefix(speaker)) for speaker in {utterance.speaker for utterance in utterances}}
    pieces = [
        Cue(piece.start, piece.end, (CuePart(utterance.speaker, piece.lines, leads[utterance.speaker]),))
        for utterance, room in zip(utterances, cue_cutting.rooms(utterances), strict=True)
        for piece in cue_cutting.cut(utterance.words, prefix(utterance.speaker), room)
    ]
    pieces.sort(key=lambda cue: (cue.start, cue.end))
    if not options.one_speaker_a_cue:
        pieces = cue_timing.join_short(pieces)
    return cue_timing.in_sequence(pieces, transcript.duration)


def split_speaker(cue: TimedText) -> TimedText:
    """The text without its `[Name]: ` prefix, if it has one, which becomes its speaker; `?` is nobody."""
    match = _PREFIX.match(cue.text)
    if match is None or (cue.speaker is not None and cue.speaker != match[1]):
        return cue
    speaker = cue.speaker or (None if match[1] == "?" else match[1])
    return replace(cue, text=cue.text[match.end() :], speaker=speaker)


def split_speakers(cue: TimedText) -> list[TimedText]:
    """A text whose first line has a `[Name]: ` prefix, divided where another line has one; else the text alone."""
    lines = cue.text.split("\n")
    if cue.speaker is not None or _PREFIX.match(lines[0]) is None:
        return [split_speaker(cue)]
    starts = [i for i, line in enumerate(lines) if _PREFIX.match(line)]
    texts = ["\n".join(lines[i:j]) for i, j in zip(starts, [*starts[1:], len(lines)], strict=True)]
    edges = [(cue.start, None), *[(None, None)] * (len(texts) - 2), (None, cue.end)]
    if len(texts) == 1:
        return [split_speaker(cue)]
    parts = [split_speaker(replace(cue, text=t, start=a, end=b)) for t, (a, b) in zip(texts, edges, strict=True)]
    return fill_between(parts, cue.start, cue.end)


def to_segments(cues: Sequence[SourceCue], where: str) -> tuple[TextSegment, ...]:
    """The parts of cues as segments. Raises FormatError, with the cue, if a time is missing or out of order."""
    segments = []
    for at, cue in enumerate(cues, 1):
        place = f"{where}: cue {at} (line {cue.line})"
        if cue.start is None or cue.end is None:
            raise FormatError(place, "it has no valid time")
        for part in cue.parts:
            start, end = check_span(*_known(part, cue), place)
            segments.append(TextSegment(start, end, part.speaker, " ".join(part.text.split("\n"))))
    return tuple(segments)


def _known(part: TimedText, cue: SourceCue) -> tuple[float, float]:
    """The times of a part, or of its cue."""
    start = cue.start if part.start is None else part.start
    end = cue.end if part.end is None else part.end
    return start or 0.0, end or 0.0

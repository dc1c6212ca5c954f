"""Cues of SRT and WebVTT: written and read.

An utterance is cut into cues of at most two lines of 42 columns and 7 seconds (Netflix, "Timed Text Style Guide:
General Requirements" and "English"). A wide character of East Asia takes two columns. A cue ends early at the end of a
sentence if its first line is full. Cues of two speakers may overlap, as their words do; no cue is longer than its
words, so that times agree with the other formats.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from unicodedata import east_asian_width

from diarize.errors import FormatError
from diarize.formats.naming import visible
from diarize.formats.segments import TextSegment, check_span
from diarize.formats.timed_text import TimedText
from diarize.formats.timing_lines import SourceCue
from diarize.text import join, may_break
from diarize.types import Segment, Transcript, Word

COLUMNS = 42  # of a line; two lines
LONGEST = 7.0  # s
_SENTENCE = frozenset(".?!…。？！؟۔।॥")

_PREFIX = re.compile(r"\[([^\[\]\n]+)\]:(?:\s+|$)")


@dataclass(frozen=True, slots=True)
class Cue(Segment):
    """The text of one speaker (None: nobody) from `start` to `end`: at most two lines."""

    speaker: str | None
    lines: tuple[str, ...]


def make_cues(transcript: Transcript, prefix: Callable[[str | None], str]) -> list[Cue]:
    """The cues of a transcript (its times rounded), by start; every text begins with the prefix of its speaker.

    Without words, one cue for each turn, with the prefix alone.
    """
    if not transcript.words:
        return [Cue(t.start, t.end, t.speaker, (prefix(t.speaker).rstrip(),)) for t in transcript.turns]
    cues = [
        cue
        for utterance in transcript.utterances()
        for cue in _cut(utterance.words, utterance.speaker, prefix(utterance.speaker))
    ]
    return sorted(cues, key=lambda cue: (cue.start, cue.end))


def _cut(words: Sequence[Word], speaker: str | None, prefix: str) -> Iterator[Cue]:
    start: float | None = None  # of the current cue; None: it has no word yet
    text, end = "", 0.0
    for word in words:
        addition = visible(word.text)
        if not addition:
            continue
        longer = join((text, addition)) if text else addition
        if start is not None:
            sentence_ends = text[-1] in _SENTENCE and count_columns(text) >= COLUMNS
            if sentence_ends or max(end, word.end) - start > LONGEST or not fits(prefix + longer):
                yield _cue(start, end, speaker, prefix + text)
                start, longer, end = None, addition, 0.0
        start = word.start if start is None else start
        text, end = longer, max(end, word.end)
    if start is not None:
        yield _cue(start, end, speaker, prefix + text)


def _cue(start: float, end: float, speaker: str | None, text: str) -> Cue:
    return Cue(start, max(end, round(start + 0.001, 3)), speaker, _lines(text))


def count_columns(text: str) -> int:
    """Columns of a text in a font of fixed width (Unicode Standard Annex 11)."""
    return len(text) if text.isascii() else sum(2 if east_asian_width(c) in "WF" else 1 for c in text)


def fits(text: str) -> bool:
    """True if `text` fits into two lines of 42 columns."""
    columns = count_columns(text)
    return columns <= COLUMNS or (columns <= 2 * COLUMNS + 1 and len(_lines(text)) == 2)


def _lines(text: str) -> tuple[str, ...]:
    """One line, or two of nearly the same length; one line that is too long if it cannot be broken."""
    total = count_columns(text)
    if total <= COLUMNS:
        return (text,)
    best: tuple[int, str, str] | None = None
    left = 0
    for i, character in enumerate(text):
        if left > COLUMNS:
            break
        if i and (character == " " or may_break(text[i - 1], character)):
            first, second = text[:i].rstrip(), text[i:].lstrip()
            right = count_columns(second) if total - left <= COLUMNS + 1 else total
            if first and second and right <= COLUMNS and (best is None or abs(left - right) < best[0]):
                best = (abs(left - right), first, second)
        left += count_columns(character)
    return (text,) if best is None else best[1:]


def split_speaker(cue: TimedText) -> TimedText:
    """The text without its `[Name]: ` prefix, if it has one, which becomes its speaker; `?` is nobody."""
    match = _PREFIX.match(cue.text)
    if match is None or (cue.speaker is not None and cue.speaker != match[1]):
        return cue
    speaker = cue.speaker or (None if match[1] == "?" else match[1])
    return replace(cue, text=cue.text[match.end() :], speaker=speaker)


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

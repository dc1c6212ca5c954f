"""SubRip subtitles (.srt). The speaker is before the text as `[Anna]: `, as in files of whisperX.

Brackets and colon distinguish a name from text with a colon, so that the file can be read back. SubRip has no escapes,
and players hide `<...>` and `{\\...}` as styles: these brackets are replaced by similar characters.
"""

from __future__ import annotations

import re

from diarize.formats.cues import make_cues, parse_timing, split_speaker, to_segments
from diarize.formats.naming import make_labels
from diarize.formats.segments import TextSegment
from diarize.formats.timed_text import TimedText
from diarize.formats.times import format_clock, round_transcript
from diarize.text import split_lines
from diarize.types import Transcript

_INERT = str.maketrans({"<": "‹", ">": "›"})
_STYLE = re.compile(r"</?(?:[ibus]|font)\b[^<>\n]*>|\{\\[^{}\n]*\}", re.IGNORECASE)


def dumps(transcript: Transcript) -> str:
    """Numbered cues; "" without turns and words. Without words, one cue for each turn, with the speaker alone."""
    transcript = round_transcript(transcript)
    labels = make_labels(transcript)
    blocks = []
    for number, cue in enumerate(make_cues(transcript, lambda speaker: f"[{labels[speaker]}]: "), 1):
        text = "\n".join(cue.lines).translate(_INERT).replace("{\\", "(\\")
        blocks.append(f"{number}\n{format_clock(cue.start, ',')} --> {format_clock(cue.end, ',')}\n{text}\n\n")
    return "".join(blocks)


def loads(text: str, where: str) -> tuple[TextSegment, ...]:
    """The cues as segments, the speaker from the `[Name]: ` prefix. Raises FormatError for an invalid time."""
    return to_segments(parse(text), where)


def parse(text: str) -> list[TimedText]:
    """The cues of a file: each from its timing line to the next one, without the cue number; style tags are removed.

    Blank lines do not separate cues: files of some tools lack them, or have blank lines inside a cue.
    """
    lines = split_lines(text)
    starts = [(i, times) for i, line in enumerate(lines) if (times := parse_timing(line)) is not None]
    cues = []
    for place, (i, (start, end)) in enumerate(starts):
        last = len(lines) if place + 1 == len(starts) else starts[place + 1][0]
        body = lines[i + 1 : last]
        if place + 1 < len(starts) and body and body[-1].strip().isdecimal():
            body.pop()
        content = " ".join(line.strip() for line in body if line.strip())
        cues.append(split_speaker(TimedText(_STYLE.sub("", content).strip(), start, end)))
    return cues

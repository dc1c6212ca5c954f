"""Plain text for reading: `[00:01:02.3 - 00:01:05.0] Anna: text`, one line for each utterance.

Without words, one line for each turn. Words of nobody have the speaker `?`. Words that are a draft say so first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from diarize.errors import FormatError
from diarize.formats.naming import make_labels, visible
from diarize.formats.tiers import Label, TierFile
from diarize.formats.timed_text import parse_time
from diarize.formats.times import format_short_clock, round_transcript
from diarize.text import split_lines
from diarize.types import Transcript
from diarize.units import to_milliseconds

_LINE = re.compile(r"\[([\d:.]{5,20}) - ([\d:.]{5,20})\] (.*)", re.DOTALL)


def dumps(transcript: Transcript) -> str:
    """The transcript as lines; "" without turns and words. No name or text breaks a line or changes its direction."""
    transcript = round_transcript(transcript)
    labels = make_labels(transcript)
    lines = [(u.start, u.end, u.speaker, visible(u.text)) for u in transcript.utterances()]
    if not transcript.words:
        lines = [(turn.start, turn.end, turn.speaker, "") for turn in transcript.turns]
    head = f"DRAFT: {visible(transcript.draft)}\n\n" if transcript.draft else ""
    return head + "".join(
        f"[{format_short_clock(start)} - {format_short_clock(end)}] {f'{labels[speaker]}: {text}'.rstrip()}\n"
        for start, end, speaker, text in lines
    )


def loads(text: str, where: str, labels: Sequence[str] = ()) -> TierFile:
    """The lines as blocks of text. A line without times continues the one before.

    A name is one of `labels`, else it ends at the first colon before a space. Raises FormatError, with the line, for
    text before the first times, and for a line without a name.
    """
    known = sorted(labels, key=len, reverse=True)
    blocks: list[Label] = []
    for number, line in enumerate(split_lines(text.lstrip("\ufeff")), 1):
        match = _LINE.fullmatch(line.strip())
        if match is None:
            if line.strip() and blocks:
                last = blocks[-1]
                blocks[-1] = Label(last.start, last.end, last.speaker, f"{last.text} {' '.join(line.split())}".strip())
            elif line.strip() and not line.startswith("DRAFT: "):
                raise FormatError(f"{where}:{number}", "no times in brackets at the start of the line")
            continue
        start, end = parse_time(match[1]), parse_time(match[2])
        if start is None or end is None:
            raise FormatError(f"{where}:{number}", "the times are none")
        line = f"{match[3]} "
        name, colon, content = line.partition(": ")
        if label := next((label for label in known if line.startswith(f"{label}: ")), None):
            name, content = label, line[len(label) + 2 :]
        if not colon:
            raise FormatError(f"{where}:{number}", "no name before a colon")
        speaker = None if name.strip() == "?" else name.strip()
        blocks.append(Label(to_milliseconds(start), to_milliseconds(end), speaker, " ".join(content.split())))
    return TierFile(tuple(blocks), has_turns=False)

"""SubRip subtitles (.srt). The speaker stands before the text as `[Anna]: `, the form that whisperX writes too.

Brackets and colon tell a name from text that merely has a colon in it, so that the file can be read back. SubRip has no
escapes, and players take `<...>` and `{\\...}` for styles and hide them: those brackets are replaced by look-alikes.
"""

from __future__ import annotations

import re

from diarize.formats.cues import checked, cues, timing, voiced
from diarize.formats.entries import Entry
from diarize.formats.naming import labels
from diarize.formats.rows import Row
from diarize.formats.times import clock, rounded
from diarize.types import Transcript

_INERT = str.maketrans({"<": "‹", ">": "›"})
_STYLE = re.compile(r"</?(?:[ibus]|font)\b[^<>\n]*>|\{\\[^{}\n]*\}", re.IGNORECASE)


def dumps(transcript: Transcript) -> str:
    """Numbered cues; "" when nobody spoke. Without words, one cue a turn that shows the speaker."""
    transcript = rounded(transcript)
    shown = labels(transcript)
    found = cues(transcript, lambda speaker: f"[{shown[speaker]}]: ")
    return "".join(
        f"{number}\n{clock(cue.start, ',')} --> {clock(cue.end, ',')}\n{_inert(chr(10).join(cue.lines))}\n\n"
        for number, cue in enumerate(found, 1)
    )


def loads(text: str, where: str) -> tuple[Row, ...]:
    """The cues as rows, the speaker from the `[Name]: ` prefix. Raises FormatError where a cue's time is none."""
    return checked(entries(text), where)


def entries(text: str) -> list[Entry]:
    """The cues of a file, however it parts them: a cue runs from its timing line to the next, less the cue number.

    Style tags are taken off. Files of real tools lack blank lines and numbers, or have blank lines inside a cue.
    """
    lines = text.lstrip("\ufeff").splitlines()
    starts = [(i, times) for i, line in enumerate(lines) if (times := timing(line)) is not None]
    found = []
    for place, (i, (start, end)) in enumerate(starts):
        last = len(lines) if place + 1 == len(starts) else starts[place + 1][0]
        body = lines[i + 1 : last]
        if place + 1 < len(starts) and body and body[-1].strip().isdecimal():
            body.pop()
        said = " ".join(line.strip() for line in body if line.strip())
        found.append(voiced(Entry(_STYLE.sub("", said).strip(), start, end)))
    return found


def _inert(text: str) -> str:
    return text.translate(_INERT).replace("{\\", "(\\")

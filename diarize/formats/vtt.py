"""WebVTT subtitles (W3C, "WebVTT: The Web Video Text Tracks Format"), the speaker of a cue as its voice, `<v Anna>`.

`&`, `<` and `>` are escaped in names and text, so that neither can open a tag or look like a timing line, and no cue
holds a blank line, which would end it.
"""

from __future__ import annotations

import html
import re

from diarize.formats.cues import Cue, checked, cues, timing, voiced
from diarize.formats.entries import Entry, seconds
from diarize.formats.naming import labels
from diarize.formats.repair import between
from diarize.formats.rows import Row
from diarize.formats.times import clock, rounded
from diarize.types import Transcript

_NEITHER = ("NOTE", "STYLE", "REGION")
_TAG = re.compile(r"<([^<>]*)>")
_VOICE = re.compile(r"v(?:\.\S*)?\s+(.*)", re.DOTALL)


def dumps(transcript: Transcript) -> str:
    """The header and the cues; the header alone when nobody spoke.

    Without words, one cue a turn that shows the speaker. Words of nobody have no voice tag.
    """
    transcript = rounded(transcript)
    shown = labels(transcript)
    return "\n".join(("WEBVTT\n", *(_block(cue, shown) for cue in cues(transcript, lambda speaker: ""))))


def _block(cue: Cue, shown: dict[str | None, str]) -> str:
    """One cue. Its text shows the speaker too where it is empty, or begins as if it did (`[Anna]: `)."""
    label = None if cue.speaker is None else shown[cue.speaker]
    said = " ".join(cue.lines)
    doubtful = not said or voiced(Entry(said, None, None, label)).text != said
    text = (f"[{shown[cue.speaker]}]: " if doubtful else "") + "\n".join(cue.lines)
    text = html.escape(text.rstrip(), quote=False)
    if label is not None:
        text = f"<v {html.escape(label, quote=False)}>{text}</v>"
    return f"{clock(cue.start)} --> {clock(cue.end)}\n{text}\n"


def loads(text: str, where: str) -> tuple[Row, ...]:
    """The cues as rows, a row for every voice in a cue. Raises FormatError where a cue's time is none."""
    return checked(entries(text), where)


def entries(text: str) -> list[Entry]:
    """The cues of a file: a block of lines without a blank one each; notes, styles and regions are passed over.

    A voice tag gives the speaker of what follows it, a timestamp tag (`<00:00:01.000>`) the time; other tags are taken
    off.
    """
    found: list[Entry] = []
    for block in re.split(r"\n[ \t]*\n", "\n".join(text.lstrip("\ufeff").splitlines())):
        lines = block.strip("\n").split("\n")
        at = next((i for i, line in enumerate(lines) if timing(line) is not None), None)
        if at is None or lines[0].split(maxsplit=1)[:1] in ([name] for name in _NEITHER):
            continue
        times = timing(lines[at])
        assert times is not None
        found += _pieces(" ".join(lines[at + 1 :]), *times)
    return found


def _pieces(payload: str, start: float | None, end: float | None) -> list[Entry]:
    """The parts of a cue's text between its voice and timestamp tags."""
    pieces: list[Entry] = []
    speaker: str | None = None
    text, since = "", start

    def close(until: float | None) -> None:
        said = " ".join(html.unescape(text).split())
        if said:
            pieces.append(voiced(Entry(said, since, until, speaker)))

    at = 0
    for tag in _TAG.finditer(payload):
        text += payload[at : tag.start()]
        at = tag.end()
        inside = tag[1].strip()
        if voice := _VOICE.fullmatch(inside):
            close(None)
            text, since = "", since if not pieces else None
            speaker = " ".join(html.unescape(voice[1]).split()) or None
        elif inside == "/v":
            close(None)
            text, since, speaker = "", None, None
        elif inside[:1].isdigit() and (time := seconds(inside)) is not None:
            close(time)
            text, since = "", time
    text += payload[at:]
    close(end)
    return between(pieces, start, end)

"""WebVTT subtitles (W3C, "WebVTT: The Web Video Text Tracks Format"), the speaker of a cue as its voice, `<v Anna>`.

`&`, `<` and `>` are escaped in names and text, so that these cannot open a tag or look like a timing line. No cue has
a blank line, which would end it.
"""

from __future__ import annotations

import html
import re

from diarize.formats.cues import Cue, make_cues, parse_timing, split_speaker, to_segments
from diarize.formats.naming import make_labels
from diarize.formats.repair import fill_between
from diarize.formats.segments import TextSegment
from diarize.formats.timed_text import TimedText, parse_time
from diarize.formats.times import format_clock, round_transcript
from diarize.text import split_fields, split_lines
from diarize.types import Transcript

_NO_CUES = ("NOTE", "STYLE", "REGION")
_TAG = re.compile(r"<([^<>]*)>")
_VOICE = re.compile(r"v(?:\.\S*)?\s+(.*)", re.DOTALL)


def dumps(transcript: Transcript) -> str:
    """The header and the cues; the header alone without turns and words.

    Without words, one cue for each turn, with the speaker alone. Words of nobody have no voice tag.
    """
    transcript = round_transcript(transcript)
    labels = make_labels(transcript)
    return "\n".join(("WEBVTT\n", *(_block(cue, labels) for cue in make_cues(transcript, lambda speaker: ""))))


def _block(cue: Cue, labels: dict[str | None, str]) -> str:
    """One cue. An empty text, and one that would be read as a prefix (`[Anna]: `), get the prefix of the speaker."""
    label = None if cue.speaker is None else labels[cue.speaker]
    content = " ".join(cue.lines)
    needs_prefix = not content or split_speaker(TimedText(content, None, None, label)).text != content
    text = (f"[{labels[cue.speaker]}]: " if needs_prefix else "") + "\n".join(cue.lines)
    text = html.escape(text.rstrip(), quote=False)
    if label is not None:
        text = f"<v {html.escape(label, quote=False)}>{text}</v>"
    return f"{format_clock(cue.start)} --> {format_clock(cue.end)}\n{text}\n"


def loads(text: str, where: str) -> tuple[TextSegment, ...]:
    """The cues as segments, one for every voice in a cue. Raises FormatError if a time of a cue is invalid."""
    return to_segments(parse(text), where)


def parse(text: str) -> list[TimedText]:
    """The cues of a file: blocks of lines separated by blank lines; notes, styles and regions are ignored.

    A voice tag gives the speaker of the text after it, a timestamp tag (`<00:00:01.000>`) its time; other tags are
    removed.
    """
    cues: list[TimedText] = []
    for block in re.split(r"\n[ \t]*\n", "\n".join(split_lines(text))):
        lines = block.strip("\n").split("\n")
        at = next((i for i, line in enumerate(lines) if parse_timing(line) is not None), None)
        if at is None or split_fields(lines[0])[:1] in ([name] for name in _NO_CUES):
            continue
        times = parse_timing(lines[at])
        assert times is not None
        cues += _parts(" ".join(lines[at + 1 :]), *times)
    return cues


def _parts(payload: str, start: float | None, end: float | None) -> list[TimedText]:
    """The parts of a cue's text between its voice and timestamp tags."""
    parts: list[TimedText] = []
    speaker: str | None = None
    text, since = "", start

    def close(until: float | None) -> None:
        content = " ".join(html.unescape(text).split())
        if content:
            parts.append(split_speaker(TimedText(content, since, until, speaker)))

    at = 0
    for tag in _TAG.finditer(payload):
        text += payload[at : tag.start()]
        at = tag.end()
        inside = tag[1].strip()
        if voice := _VOICE.fullmatch(inside):
            close(None)
            text, since = "", since if not parts else None
            speaker = " ".join(html.unescape(voice[1]).split()) or None
        elif inside == "/v":
            close(None)
            text, since, speaker = "", None, None
        elif inside[:1].isdigit() and (time := parse_time(inside)) is not None:
            close(time)
            text, since = "", time
    text += payload[at:]
    close(end)
    return fill_between(parts, start, end)

"""WebVTT subtitles (W3C, "WebVTT: The Web Video Text Tracks Format"), the speaker of a cue as its voice, `<v Anna>`.

`&`, `<` and `>` are escaped in names and text, so that these cannot open a tag or look like a timing line. No cue has
a blank line, which would end it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

from diarize.formats.cue_timing import Cue, CuePart, broken_rules
from diarize.formats.cues import make_cues, split_speaker, to_segments
from diarize.formats.naming import make_labels
from diarize.formats.options import DEFAULT, ExportOptions
from diarize.formats.repair import fill_between
from diarize.formats.segments import TextSegment
from diarize.formats.timed_text import TimedText, parse_time
from diarize.formats.times import format_clock, round_transcript
from diarize.formats.timing_lines import (
    Remarks,
    SourceCue,
    cue_number,
    is_blank,
    looks_like_times,
    note_timing,
    numbered_lines,
    parse_timing,
    refuse_inner_timing,
    without_marks,
)
from diarize.text import split_fields
from diarize.types import Transcript

_NO_CUES = ("NOTE", "STYLE", "REGION")
_TAG = re.compile(r"<([^<>]*)>")
_WEBEX = re.compile(r"\d+[ \t]+\"(.*)\"(?:[ \t]+\(\d+\))?[ \t]*")
_GUID = re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f-]{8,}(?:/\S*)?$")  # Teams
_VOICE = re.compile(r"v(?:\.\S*)?\s+(.*)", re.DOTALL)


def dumps(transcript: Transcript, options: ExportOptions = DEFAULT) -> str:
    """The header and the cues; the header alone without turns and words.

    Without words, cues with the speakers alone. Words of nobody have no voice tag.
    """
    transcript = round_transcript(transcript)
    labels = make_labels(transcript)
    cues = make_cues(transcript, lambda speaker: "", options)
    return "\n".join(("WEBVTT\n", *(_block(cue, labels) for cue in cues)))


def remarks(transcript: Transcript, options: ExportOptions = DEFAULT) -> tuple[str, ...]:
    """Which rules of subtitles could not be kept."""
    return broken_rules(make_cues(round_transcript(transcript), lambda speaker: "", options))


def _block(cue: Cue, labels: dict[str | None, str]) -> str:
    """One cue, with a voice tag for each speaker in it."""
    text = "\n".join(_voice(part, labels) for part in cue.parts)
    return f"{format_clock(cue.start)} --> {format_clock(cue.end)}\n{text}\n"


def _voice(part: CuePart, labels: dict[str | None, str]) -> str:
    """A text with its voice tag. An empty one, and one that would be read as a prefix (`[Anna]: `), get the prefix of
    the speaker."""
    label = None if part.speaker is None else labels[part.speaker]
    content = " ".join(part.lines)
    needs_prefix = not content or split_speaker(TimedText(content, None, None, label)).text != content
    text = (f"[{labels[part.speaker]}]: " if needs_prefix else "") + "\n".join(part.lines)
    text = html.escape(text.rstrip(), quote=False)
    return text if label is None else f"<v {html.escape(label, quote=False)}>{text}</v>"


def loads(text: str, where: str) -> tuple[TextSegment, ...]:
    """The cues as segments, one for every voice in a cue. Raises FormatError if a time of a cue is invalid."""
    return to_segments(read_cues(text, where)[0], where)


def parse(text: str, where: str = "text") -> list[TimedText]:
    """The texts of the cues, with their times as in the file."""
    return [part for cue in read_cues(text, where)[0] for part in cue.parts]


def read_cues(text: str, where: str) -> tuple[list[SourceCue], tuple[str, ...]]:
    """The cues of a file, and notes on lines that were not read.

    Empty lines separate blocks; a line of spaces does not, and is in the cue. Notes, styles, regions and headers, also
    of files that were joined, are no cues. A timing line inside a block begins a cue of its own. A block without a
    timing line is the text of the cue before, where that has none. Raises FormatError, with the line, for a timing line
    in the middle of a line.

    A voice tag gives the speaker of the text after it, an identifier `1 "Anna Lopez" (123)` (Webex) that of its cue, a
    timestamp tag (`<00:00:01.000>`) the time of the text after it; other tags are removed.
    """
    remarks, cues = Remarks(), []
    for block in _blocks(numbered_lines(text)):
        at = [i for i, (_, line) in enumerate(block) if parse_timing(line) is not None]
        is_header = without_marks(block[0][1]).startswith("WEBVTT")
        if split_fields(without_marks(block[0][1]))[:1] in ([name] for name in _NO_CUES):
            continue
        for i, after in zip(at, [*at[1:], len(block)], strict=False):
            before = block[i - 1][1] if i > 0 and not (is_header and i == 1) else ""
            identifier = before if i == at[0] or _is_identifier(before) else ""
            body = block[i + 1 : after]
            if after < len(block) and body and _is_identifier(body[-1][1]):
                body.pop()
            number, line = block[i]
            cue = SourceCue(number, *(parse_timing(line) or (None, None)), _content(body, where), identifier)
            note_timing(cue, line, remarks, where)
            cues.append(cue)
        stray = [] if is_header else block[: max(0, at[0] - 1)] if at else block
        is_text = not any(looks_like_times(line) for _, line in stray)
        if not at and stray and is_text and cues and not cues[-1].content:
            cues[-1] = replace(cues[-1], content=_content(stray, where))
        else:
            for number, _ in stray:
                remarks.add("line", "outside of all cues, not read", number)
    return [replace(cue, parts=tuple(_parts(cue))) for cue in cues], remarks.notes


def _blocks(lines: list[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """Groups of lines between empty ones."""
    for is_empty, group in groupby(lines, key=lambda line: not line[1].strip("\ufeff")):
        if not is_empty:
            yield list(group)


def _is_identifier(line: str) -> bool:
    """Whether a line before a timing line is its identifier, and not the end of the text before it."""
    return cue_number(line) is not None or _WEBEX.fullmatch(line) is not None or _GUID.match(line) is not None


def _content(lines: list[tuple[int, str]], where: str) -> str:
    for number, line in lines:
        refuse_inner_timing(number, line, where)
    return "\n".join(line.strip() for _, line in lines if not is_blank(line))


def _parts(cue: SourceCue) -> list[TimedText]:
    """The parts of a cue's text between its voice and timestamp tags."""
    payload, start, end = cue.content, cue.start, cue.end
    parts: list[TimedText] = []
    webex = _WEBEX.fullmatch(cue.identifier)
    speaker = None if webex is None else webex[1].strip() or None
    text, since = "", start

    def close(until: float | None) -> None:
        lines = (" ".join(line.split()) for line in html.unescape(text).split("\n"))
        content = "\n".join(line for line in lines if line)
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

"""SubRip subtitles (.srt). The speaker is before the text as `[Anna]: `, as in files of whisperX.

Brackets and colon distinguish a name from text with a colon, so that the file can be read back. SubRip has no escapes,
and players hide `<...>` and `{\\...}` as styles: these brackets are replaced by similar characters.
"""

from __future__ import annotations

import re
from dataclasses import replace

from diarize.formats.cue_timing import Cue, broken_rules
from diarize.formats.cues import make_cues, split_speakers, to_segments
from diarize.formats.naming import make_labels
from diarize.formats.options import DEFAULT, ExportOptions
from diarize.formats.segments import TextSegment
from diarize.formats.timed_text import TimedText
from diarize.formats.times import format_clock, round_transcript
from diarize.formats.timing_lines import (
    Remarks,
    SourceCue,
    Times,
    cue_number,
    is_blank,
    looks_like_times,
    note_timing,
    numbered_lines,
    parse_timing,
    refuse_inner_timing,
)
from diarize.types import Transcript

INERT = str.maketrans({"<": "‹", ">": "›"})
_STYLE = re.compile(
    r"</?(?:[ibusvc]|font|lang|ruby|rt|span|em|strong|p)\b[^<>\n]*>|<[\d:.,]{5,14}>|\{\\[^{}\n]*\}", re.IGNORECASE
)
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?[ \t]([^<>\n]+)>")  # of WebVTT, as converters leave it
_BREAK = re.compile(r"<br\s{0,2}/?>|\\N", re.IGNORECASE)


def dumps(transcript: Transcript, options: ExportOptions = DEFAULT) -> str:
    """Numbered cues; "" without turns and words. Without words, cues with the speakers alone."""
    blocks = []
    for number, cue in enumerate(_make(transcript, options), 1):
        text = "\n".join(cue.lines).translate(INERT).replace("{\\", "(\\")
        blocks.append(f"{number}\n{format_clock(cue.start, ',')} --> {format_clock(cue.end, ',')}\n{text}\n\n")
    return "".join(blocks)


def remarks(transcript: Transcript, options: ExportOptions = DEFAULT) -> tuple[str, ...]:
    """Which rules of subtitles could not be kept."""
    return broken_rules(_make(transcript, options))


def _make(transcript: Transcript, options: ExportOptions) -> list[Cue]:
    transcript = round_transcript(transcript)
    labels = make_labels(transcript)
    return make_cues(transcript, lambda speaker: f"[{labels[speaker]}]: ", options)


def loads(text: str, where: str) -> tuple[TextSegment, ...]:
    """The cues as segments, the speaker from the `[Name]: ` prefix. Raises FormatError for an invalid time."""
    return to_segments(read_cues(text, where)[0], where)


def parse(text: str, where: str = "text") -> list[TimedText]:
    """The texts of the cues, with their times as in the file."""
    return [part for cue in read_cues(text, where)[0] for part in cue.parts]


def read_cues(text: str, where: str) -> tuple[list[SourceCue], tuple[str, ...]]:
    """The cues of a file: each from its timing line to the next one, without the cue number; and notes on lines that
    were not read. Style tags are removed.

    Blank lines do not separate cues: files of some tools lack them, or have blank lines inside a cue. Raises
    FormatError, with the line, for a timing line in the middle of a line.
    """
    lines = numbered_lines(text)
    starts = [(i, times) for i in range(len(lines)) if (times := _times(lines, i)) is not None]
    remarks, cues = Remarks(), []

    # What is before the first cue: its number, if the file has numbers.
    prelude, last_number = _without_number(lines[: starts[0][0]] if starts else lines, None, begin=True)
    for number, line in prelude:
        if line.strip():
            remarks.add("line", "before the first cue, not read", number)
    for (i, times), (after, _) in zip(starts, [*starts[1:], (len(lines), None)], strict=False):
        body = lines[i + 1 : after]
        if after < len(lines):
            body, own_number = _without_number(body, last_number)
            last_number = own_number if own_number is not None or last_number is None else last_number + 1
        for number, line in body:
            refuse_inner_timing(number, line, where)
        cue = SourceCue(lines[i][0], *times, "\n".join(line.strip() for _, line in body if line.strip()))
        note_timing(cue, lines[i][1], remarks, where)
        cues.append(replace(cue, parts=tuple(_parts(cue))))
    return cues, remarks.notes


def _parts(cue: SourceCue) -> list[TimedText]:
    content = _BREAK.sub("\n", cue.content).replace("&nbsp;", " ")  # as converters from HTML leave it
    voice = _VOICE.search(content)
    content = "\n".join(line.strip() for line in _STYLE.sub("", content).split("\n")).strip()
    return split_speakers(TimedText(content, cue.start, cue.end, None if voice is None else voice[1].strip()))


def _times(lines: list[tuple[int, str]], i: int) -> Times | None:
    """The times of a timing line, also of a damaged one behind a cue number or a blank line."""
    line = lines[i][1]
    times = parse_timing(line)
    if times is not None or i == 0 or not looks_like_times(line):
        return times
    behind_number = cue_number(lines[i - 1][1]) is not None and (i == 1 or is_blank(lines[i - 2][1]))
    return (None, None) if behind_number or is_blank(lines[i - 1][1]) else None


def _without_number(
    body: list[tuple[int, str]], last: int | None, begin: bool = False
) -> tuple[list[tuple[int, str]], int | None]:
    """The lines before a timing line without the cue number at their end, and that number.

    `last`: the number of the cue before; None if the file has no numbers so far. `begin`: the lines are
    those before the first cue. A number directly before the timing line is a cue number where the cues have numbers, or
    behind a blank line; with blank lines after it, if it is the next one.
    """
    end = len(body)
    while end and is_blank(body[end - 1][1]):
        end -= 1
    number = cue_number(body[end - 1][1]) if end else None
    if number is None:
        return body, None
    alone = is_blank(body[end - 2][1]) if end > 1 else begin
    if end == len(body):
        is_number = alone or last is not None
    else:
        is_number = alone and (begin or (last is not None and number == last + 1))
    return (body[: end - 1], number) if is_number else (body, None)

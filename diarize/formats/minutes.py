"""Minutes in Markdown: title, participants with their speaking time, and one paragraph for each utterance.

A paragraph is `Anna: text #00:03:40-5#`. MAXQDA, ATLAS.ti and NVivo read such paragraphs with the speaker before the
colon and the time stamp at the end (Dresing and Pehl 2018, "Praxisbuch Interview, Transkription & Analyse", chapter 3).
"""

from __future__ import annotations

import re

from diarize.formats.entries import entries, speaking_times
from diarize.formats.naming import encodable, make_labels, visible
from diarize.formats.options import DEFAULT, ExportOptions
from diarize.formats.times import format_short_clock, round_transcript
from diarize.text import join
from diarize.types import Transcript

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&$])")
_BLOCK = re.compile(r"^(\d{1,9})?([-+=.)!:>]|\s)")  # a list, a heading, a rule at the start of a line


def dumps(transcript: Transcript, options: ExportOptions = DEFAULT) -> str:
    """The minutes. Without words, one paragraph for each turn. Words that are a draft say so first."""
    transcript = round_transcript(transcript)
    labels = make_labels(transcript)
    lines = [f"# {escape(visible(options.title or transcript.recording)) or '?'}", ""]
    if transcript.draft:
        lines += [f"> DRAFT: {escape(visible(transcript.draft))}", ""]
    if options.date:
        lines += [f"Date: {escape(visible(options.date))}", ""]
    lines += [f"Length: {format_short_clock(transcript.duration)}", ""]
    times = speaking_times(transcript)
    if times:
        total = sum(times.values()) or 1.0
        lines += ["| participant | speaking time | share |", "|---|---|---|"]
        lines += [
            f"| {escape(labels[id])} | {format_short_clock(seconds)} | {seconds / total:.0%} |"
            for id, seconds in times.items()
        ]
        lines.append("")
    for entry in entries(transcript):
        text = visible(join(word.text for word in entry.words))
        line = f"{escape(labels[entry.speaker])}: {escape(text)}".rstrip()
        lines += [f"{line} #{format_stamp(entry.end)}#", ""]
    return encodable("\n".join(lines).rstrip("\n") + "\n")


def escape(text: str) -> str:
    """Text that Markdown shows as it is (CommonMark 0.31, 2.4)."""
    text = _SPECIAL.sub(r"\\\1", text)
    return _BLOCK.sub(lambda head: f"{head[1] or ''}\\{head[2]}" if head[2].strip() else head[0].lstrip(), text)


def format_stamp(seconds: float) -> str:
    """`00:03:40-5`, to the tenth of a second."""
    return format_short_clock(seconds).replace(".", "-")

"""Minutes in Markdown: title, participants with their speaking time, and one paragraph for each utterance.

A paragraph is `Anna: text #00:03:40-5#`. MAXQDA, ATLAS.ti and NVivo read such paragraphs with the speaker before the
colon and the time stamp at the end (Dresing and Pehl 2018, "Praxisbuch Interview, Transkription & Analyse", chapter 3).
"""

from __future__ import annotations

import re

from diarize.formats.naming import encodable, make_labels, visible
from diarize.formats.times import format_short_clock, round_transcript
from diarize.types import Transcript

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&$])")
_BLOCK = re.compile(r"^(\d{1,9})?([-+=.)!:>]|\s)")  # a list, a heading, a rule at the start of a line


def dumps(transcript: Transcript) -> str:
    """The minutes. Without words, one paragraph for each turn. Words that are a draft say so first."""
    transcript = round_transcript(transcript)
    labels = make_labels(transcript)
    lines = [f"# {escape(visible(transcript.recording)) or '?'}", ""]
    if transcript.draft:
        lines += [f"> DRAFT: {escape(visible(transcript.draft))}", ""]
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
    rows = [(u.end, u.speaker, visible(u.text)) for u in transcript.utterances()]
    if not transcript.words:
        rows = [(turn.end, turn.speaker, "") for turn in transcript.turns]
    for end, speaker, text in rows:
        lines += [f"{escape(labels[speaker])}: {escape(text)}".rstrip() + f" #{_stamp(end)}#", ""]
    return encodable("\n".join(lines).rstrip("\n") + "\n")


def speaking_times(transcript: Transcript) -> dict[str, float]:
    """Speaker id -> seconds of speech, in the order of the speakers; overlapping turns of one speaker count once."""
    seconds = dict.fromkeys((speaker.id for speaker in transcript.speakers), 0.0)
    latest = dict.fromkeys(seconds, 0.0)  # end of the speaker's turns so far
    for turn in transcript.turns:
        seconds[turn.speaker] += max(0.0, turn.end - max(turn.start, latest[turn.speaker]))
        latest[turn.speaker] = max(turn.end, latest[turn.speaker])
    return seconds


def escape(text: str) -> str:
    """Text that Markdown shows as it is (CommonMark 0.31, 2.4)."""
    text = _SPECIAL.sub(r"\\\1", text)
    return _BLOCK.sub(lambda head: f"{head[1] or ''}\\{head[2]}" if head[2].strip() else head[0].lstrip(), text)


def _stamp(seconds: float) -> str:
    return format_short_clock(seconds).replace(".", "-")

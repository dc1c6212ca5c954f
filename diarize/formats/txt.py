"""Plain text for reading: `[00:01:02.3 - 00:01:05.0] Anna: text`, one line for each utterance.

Without words, one line for each turn. Words of nobody have the speaker `?`. Words that are a draft say so first.
"""

from __future__ import annotations

from diarize.formats.naming import make_labels, visible
from diarize.formats.times import format_short_clock, round_transcript
from diarize.types import Transcript


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

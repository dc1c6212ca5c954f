"""Plain text for reading: `[00:01:02.3 - 00:01:05.0] Anna: text`, one line an utterance.

Without words, one line a turn. Words of nobody are said by `?`.
"""

from __future__ import annotations

from diarize.formats.naming import labels, visible
from diarize.formats.times import rounded, short_clock
from diarize.types import Transcript


def dumps(transcript: Transcript) -> str:
    """The transcript as lines; "" when nobody spoke. Names and text are on one line and cannot turn its direction."""
    transcript = rounded(transcript)
    shown = labels(transcript)
    spoken = [(u.start, u.end, u.speaker, visible(u.text)) for u in transcript.utterances()]
    if not transcript.words:
        spoken = [(turn.start, turn.end, turn.speaker, "") for turn in transcript.turns]
    return "".join(
        f"[{short_clock(start)} - {short_clock(end)}] {f'{shown[speaker]}: {text}'.rstrip()}\n"
        for start, end, speaker, text in spoken
    )

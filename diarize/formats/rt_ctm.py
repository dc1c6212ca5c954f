"""CTM with speakers, one line a word (NIST, "The 2009 (RT-09) Rich Transcription Meeting Recognition Evaluation Plan",
appendix C): `<file> <channel> <start> <duration> <word> <confidence> lex <speaker>`.

As `ctm`, which also reads it. Confidence and speaker are `NA` and `<NA>` where there are none.
"""

from __future__ import annotations

from diarize.formats.ctm import write_lines
from diarize.formats.naming import NOBODY, to_token
from diarize.types import Transcript, Word


def dumps(transcript: Transcript) -> str:
    """One line for each word; "" without words. Words without a visible character are left out."""
    return write_lines(transcript, _tail)


def _tail(word: Word) -> str:
    confidence = "NA" if word.probability is None else f"{word.probability:.3f}"
    speaker = NOBODY if word.speaker is None else to_token(word.speaker)
    return f" {confidence} lex {speaker}"

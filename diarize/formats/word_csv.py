"""CSV, one row a word, safe to open in a spreadsheet: the columns of `csv`, in the same order."""

from __future__ import annotations

from diarize.formats.csv import write
from diarize.formats.times import round_transcript
from diarize.types import Transcript
from diarize.units import round_time

COLUMNS = ("recording", "start", "end", "duration", "speaker", "name", "text", "probability", "human")


def dumps(transcript: Transcript) -> str:
    """A header, and one row for each word by start. A word that a person wrote has no probability."""
    transcript = round_transcript(transcript)
    words = sorted(transcript.words, key=lambda word: (word.start, word.end))
    cells = ((w.start, w.end, round_time(w.end - w.start), w.speaker, w.text, w.probability, w.human) for w in words)
    return write(transcript, COLUMNS, cells)

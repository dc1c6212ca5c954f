"""CSV, one row a word, safe to open in a spreadsheet: the columns of `csv`, in the same order."""

from __future__ import annotations

import csv
import io

from diarize.formats.csv import guard, guard_optional
from diarize.formats.times import round_transcript
from diarize.types import Transcript
from diarize.units import round_time

COLUMNS = ("recording", "start", "end", "duration", "speaker", "name", "text", "probability", "human")


def dumps(transcript: Transcript) -> str:
    """A header, and one row for each word by start. A word that a person wrote has no probability."""
    transcript = round_transcript(transcript)
    names: dict[str | None, str | None] = {speaker.id: speaker.called for speaker in transcript.speakers}
    sheet = io.StringIO()
    writer = csv.writer(sheet)  # the "excel" dialect: commas, quotes where needed, CRLF
    writer.writerow(COLUMNS)
    for word in sorted(transcript.words, key=lambda word: (word.start, word.end)):
        writer.writerow(
            (
                guard(transcript.recording),
                f"{word.start:.3f}",
                f"{word.end:.3f}",
                f"{round_time(word.end - word.start):.3f}",
                guard_optional(word.speaker),
                guard_optional(names.get(word.speaker)),
                guard(word.text),
                "" if word.probability is None else repr(float(word.probability)),
                "yes" if word.human else "",
            )
        )
    return sheet.getvalue()

"""Audacity labels (Audacity manual, "Importing and Exporting Labels"): a line a turn, `start<TAB>end<TAB>[Anna]: text`.

Times are seconds with six decimals, as Audacity writes them.
"""

from __future__ import annotations

from diarize.errors import FormatError
from diarize.formats.cues import split_speaker
from diarize.formats.naming import encodable, make_labels, visible
from diarize.formats.segments import text_segments
from diarize.formats.tiers import Label, TierFile, milliseconds
from diarize.formats.timed_text import TimedText, parse_time
from diarize.formats.times import round_transcript
from diarize.text import counted, split_lines
from diarize.types import Transcript


def dumps(transcript: Transcript) -> str:
    """A label for each turn, with its text; "" without turns and words."""
    transcript = round_transcript(transcript)
    labels = make_labels(transcript)
    return "".join(
        f"{row.start:.6f}\t{row.end:.6f}\t" + encodable(f"[{labels[row.speaker]}]: {visible(row.text)}".rstrip()) + "\n"
        for row in text_segments(transcript)
    )


def loads(text: str, where: str) -> TierFile:
    """The labels as turns, the speaker from `[Anna]: `; a label without one is of nobody. Raises FormatError.

    Lines of spectral selections, which begin with a backslash, and labels of a point in time are not read.
    """
    turns = []
    points = 0
    for number, line in enumerate(split_lines(text.lstrip("\ufeff")), 1):
        if not line.strip() or line.startswith("\\"):
            continue
        start, end, label = (*line.split("\t", 2), "", "")[:3]
        times = parse_time(start), parse_time(end)
        if times[0] is None or times[1] is None or not times[0] <= times[1]:
            raise FormatError(f"{where}:{number}", "no start and end in seconds, separated by a tab")
        first, last = (milliseconds(time, f"{where}:{number}") for time in times if time is not None)
        if first == last:
            points += 1
            continue
        part = split_speaker(TimedText(" ".join(label.split()), None, None))
        turns.append(Label(first, last, part.speaker, part.text))
    notes = (f"{counted(points, 'label')} of a point in time not read",) if points else ()
    turns.sort(key=lambda one: (one.start, one.end, one.speaker or "", one.text))
    return TierFile(tuple(turns), None, notes=notes)

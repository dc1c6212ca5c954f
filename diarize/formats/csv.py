"""CSV, one row a turn (RFC 4180), safe to open in a spreadsheet.

A cell that a spreadsheet would run as a formula (it begins with = + - @, a tab or a carriage return, after any
spaces) gets a leading apostrophe, and so does a cell that begins with an apostrophe: without its first apostrophe it is
the text again. An empty speaker is nobody; a speaker with an empty id is a single apostrophe.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from diarize.errors import FormatError
from diarize.formats.naming import encodable
from diarize.formats.segments import TextSegment, check_span, is_empty, note_empty, parse_seconds, text_segments
from diarize.formats.times import round_transcript
from diarize.text import counted, split_lines
from diarize.types import Transcript

COLUMNS = ("recording", "start", "end", "duration", "speaker", "name", "text", "confidence", "human")
Row = tuple[float, float, float, str | None, str, float | None, object]  # what `write` takes; times in s
_NEEDED = ("recording", "start", "end", "speaker", "text")
_FORMULA = frozenset("=+-@\t\r\n'＝＋－＠")  # the wide forms count in spreadsheets of East Asian locales


def guard(cell: str) -> str:
    """A cell that no spreadsheet runs as a formula. `unguard` reverses it exactly (lone surrogates become U+FFFD)."""
    cell = encodable(cell)
    head = cell[:1] if cell[:1] in _FORMULA else cell.lstrip()[:1]
    return f"'{cell}" if head in _FORMULA and head else cell


def unguard(cell: str) -> str:
    return cell[1:] if cell.startswith("'") else cell


def guard_optional(cell: str | None) -> str:
    """As `guard`; None is an empty cell, an empty text an apostrophe."""
    return "" if cell is None else guard(cell) or "'"


def unguard_optional(cell: str) -> str | None:
    return unguard(cell) if cell else None


def dumps(transcript: Transcript) -> str:
    """A header, one row for each turn, and rows for text outside of all turns, so that no text is lost."""
    transcript = round_transcript(transcript)
    rows = text_segments(transcript)
    cells = ((r.start, r.end, r.duration, r.speaker, r.text, r.confidence, r.human) for r in rows)
    return write(transcript, COLUMNS, cells)


def write(transcript: Transcript, columns: Sequence[str], rows: Iterable[Row]) -> str:
    """A table with these rows of a transcript, each with the recording and the speaker's name."""
    names: dict[str | None, str | None] = {speaker.id: speaker.called for speaker in transcript.speakers}
    sheet = io.StringIO()
    writer = csv.writer(sheet)  # the "excel" dialect: commas, quotes where needed, CRLF
    writer.writerow(columns)
    for start, end, duration, speaker, text, confidence, human in rows:
        writer.writerow(
            (
                guard(transcript.recording),
                f"{start:.3f}",
                f"{end:.3f}",
                f"{duration:.3f}",
                guard_optional(speaker),
                guard_optional(names.get(speaker)),
                guard(text),
                "" if confidence is None else repr(float(confidence)),
                "yes" if human else "",
            )
        )
    return sheet.getvalue()


def loads(text: str, where: str, notes: list[str] | None = None) -> dict[str, tuple[TextSegment, ...]]:
    """Recording -> its segments, in the order of the file. Columns are recognised by name; others are ignored.

    Segments of length 0 are left out, and a note on them is added to `notes`. Raises FormatError, with the row, if a
    column is missing or a time is not a number.
    """
    before = csv.field_size_limit()
    csv.field_size_limit(max(before, len(text)))  # an hour of one speaker is one cell
    try:
        lines = list(csv.reader(split_lines(text.lstrip("\ufeff"), keep_ends=True), strict=True))
    except csv.Error as error:
        raise FormatError(where, f"not CSV: {error}") from None
    finally:
        csv.field_size_limit(before)
    header = lines[0] if lines else []
    if missing := [column for column in _NEEDED if column not in header]:
        raise FormatError(where, f"the first row lacks the columns {', '.join(missing)}")
    segments: dict[str, list[TextSegment]] = {}
    empty = 0
    for at, cells in enumerate(lines[1:], 2):
        place = f"{where}: row {at}"
        if not cells:
            continue
        if len(cells) != len(header):
            raise FormatError(place, f"{counted(len(cells), 'cell')} under {counted(len(header), 'column')}")
        cell = dict(zip(header, cells, strict=True))
        own = segments.setdefault(unguard(cell["recording"]), [])
        start, end = parse_seconds(cell["start"], place), parse_seconds(cell["end"], place)
        if is_empty(start, end, place):
            empty += 1
            continue
        start, end = check_span(start, end, place)
        confidence = cell.get("confidence") or None
        own.append(
            TextSegment(
                start,
                end,
                unguard_optional(cell["speaker"]),
                unguard(cell["text"]),
                None if confidence is None else parse_seconds(confidence, place),
            )
        )
    note_empty(empty, where, notes)
    return {recording: tuple(own) for recording, own in segments.items()}

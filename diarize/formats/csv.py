"""CSV, one row a turn (RFC 4180), safe to open in a spreadsheet.

A cell that a spreadsheet would run as a formula (it begins with = + - @, a tab or a carriage return, after any
spaces) gets a leading apostrophe, and so does one that begins with an apostrophe: taking one apostrophe off gives the
text back.
An empty speaker is nobody; a speaker whose id is empty is a lone apostrophe.
"""

from __future__ import annotations

import csv
import io

from diarize.errors import FormatError
from diarize.formats.naming import encodable
from diarize.formats.rows import Row, number, rows, segment
from diarize.formats.times import rounded
from diarize.text import counted
from diarize.types import Transcript

COLUMNS = ("recording", "start", "end", "duration", "speaker", "text", "name", "confidence")
_NEEDED = ("recording", "start", "end", "speaker", "text")
_FORMULA = frozenset("=+-@\t\r\n'＝＋－＠")  # the wide forms count in spreadsheets of East Asian locales


def guard(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula. `unguard` reverses it exactly (lone surrogates become U+FFFD)."""
    cell = encodable(cell)
    head = cell[:1] if cell[:1] in _FORMULA else cell.lstrip()[:1]
    return f"'{cell}" if head in _FORMULA and head else cell


def unguard(cell: str) -> str:
    return cell[1:] if cell.startswith("'") else cell


def guard_optional(cell: str | None) -> str:
    """Like `guard`, and tells what is missing (an empty cell) from what is empty (an apostrophe)."""
    return "" if cell is None else guard(cell) or "'"


def unguard_optional(cell: str) -> str | None:
    return unguard(cell) if cell else None


def dumps(transcript: Transcript) -> str:
    """A header and one row a turn; what was said in no turn has rows too, so that no text is lost."""
    transcript = rounded(transcript)
    names: dict[str | None, str | None] = {speaker.id: speaker.called for speaker in transcript.speakers}
    sheet = io.StringIO()
    writer = csv.writer(sheet)  # the "excel" dialect: commas, quotes where needed, CRLF
    writer.writerow(COLUMNS)
    for row in rows(transcript):
        writer.writerow(
            (
                guard(transcript.recording),
                f"{row.start:.3f}",
                f"{row.end:.3f}",
                f"{row.duration:.3f}",
                guard_optional(row.speaker),
                guard(row.text),
                guard_optional(names.get(row.speaker)),
                "" if row.confidence is None else repr(float(row.confidence)),
            )
        )
    return sheet.getvalue()


def loads(text: str, where: str) -> dict[str, tuple[Row, ...]]:
    """Recording -> its rows, in the order of the file. Columns are found by their names; others are passed over.

    Raises FormatError, with the row, where a column is missing or a time is none.
    """
    before = csv.field_size_limit()
    csv.field_size_limit(max(before, len(text)))  # an hour's monologue is one cell
    try:
        lines = list(csv.reader(io.StringIO(text.lstrip("\ufeff"), newline=""), strict=True))
    except csv.Error as error:
        raise FormatError(where, f"no CSV: {error}") from None
    finally:
        csv.field_size_limit(before)
    header = lines[0] if lines else []
    if missing := [column for column in _NEEDED if column not in header]:
        raise FormatError(where, f"the first row lacks the columns {', '.join(missing)}")
    found: dict[str, list[Row]] = {}
    for at, cells in enumerate(lines[1:], 2):
        place = f"{where}: row {at}"
        if not cells:
            continue
        if len(cells) != len(header):
            raise FormatError(place, f"{counted(len(cells), 'cell')} under {counted(len(header), 'column')}")
        cell = dict(zip(header, cells, strict=True))
        start, end = segment(number(cell["start"], place), number(cell["end"], place), place)
        confidence = cell.get("confidence") or None
        found.setdefault(unguard(cell["recording"]), []).append(
            Row(
                start,
                end,
                unguard_optional(cell["speaker"]),
                unguard(cell["text"]),
                None if confidence is None else number(confidence, place),
            )
        )
    return {recording: tuple(own) for recording, own in found.items()}

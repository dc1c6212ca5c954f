"""Minutes as DOCX (Office Open XML, ECMA-376): written with python-docx (extra `documents`), read without it.

Title, date, participants with their speaking time, and the transcript in one of two profiles. Paragraphs:
`Anna: text #00:03:40-5#`, as in `minutes`, which MAXQDA and ATLAS.ti import. A table of time span, speaker and content,
which NVivo imports. What a person decided is underlined: words, and names of speakers before turns.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any
from unicodedata import bidirectional
from xml.etree.ElementTree import Element

from diarize import files
from diarize.errors import FormatError, MissingExtra
from diarize.formats.entries import MinutesEntry, entries, speaking_times
from diarize.formats.minutes import format_stamp
from diarize.formats.naming import make_labels, visible
from diarize.formats.options import DEFAULT, ExportOptions
from diarize.formats.tiers import MOST_CHARACTERS, Label, TierFile, for_xml, parse_xml
from diarize.formats.timed_text import parse_time
from diarize.formats.times import format_short_clock, round_transcript
from diarize.text import counted, join
from diarize.types import Transcript
from diarize.units import to_milliseconds

_HEADINGS = ("Timespan", "Speaker", "Content")  # of the columns that NVivo asks for
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_STAMP = re.compile(r"\s*#(\d{1,3}:\d{2}:\d{2}[-.]\d)#\s*$")
_SPAN = re.compile(r"\s*([\d:.]{5,20})\s*[-–]\s*([\d:.]{5,20})\s*")
_TRANSCRIPT = "Transcript"  # the heading
_HUMAN = "Underlined: decided by a person."


def encode(transcript: Transcript, options: ExportOptions = DEFAULT) -> bytes:
    """The file. Without words, an entry for each turn. Words that are a draft say so first. Raises MissingExtra."""
    try:
        import docx
        from docx.shared import Pt
    except ModuleNotFoundError as error:
        raise MissingExtra("DOCX", "documents") from error
    transcript = round_transcript(transcript)
    labels = {id: for_xml(label) for id, label in make_labels(transcript).items()}
    file = docx.Document()
    file.styles["Normal"].font.size = Pt(11)
    title = for_xml(visible(options.title or transcript.recording)) or "?"
    _set_properties(file.core_properties, transcript, title)
    _align(file.add_heading(title, 0), title)
    if transcript.draft:
        file.add_paragraph().add_run(f"DRAFT: {for_xml(visible(transcript.draft))}").bold = True
    if options.date:
        file.add_paragraph(f"Date: {for_xml(visible(options.date))}")
    file.add_paragraph(f"Recording: {for_xml(visible(transcript.recording))}")
    file.add_paragraph(f"Length: {format_short_clock(transcript.duration)}")
    _add_participants(file, transcript, labels)
    rows = entries(transcript)
    if any(row.human or any(word.human for word in row.words) for row in rows):
        file.add_paragraph(_HUMAN)
    file.add_heading(_TRANSCRIPT, 1)
    if options.table:
        _add_table(file, rows, labels)
    else:
        for row in rows:
            paragraph = file.add_paragraph()
            _add_name(paragraph, f"{labels[row.speaker]}:", row)
            _add_words(paragraph, row, " ")
            paragraph.add_run(f" #{format_stamp(row.end)}#")
            _align(paragraph, labels[row.speaker])
    buffer = io.BytesIO()
    file.save(buffer)
    return files.reproducible_zip(buffer.getvalue())


def _set_properties(properties: Any, transcript: Transcript, title: str) -> None:
    """Title, recording, sha256 and version; a property holds 255 characters."""
    source = transcript.provenance.source
    product = for_xml(visible(transcript.provenance.product))
    properties.title = title[:255]
    properties.subject = for_xml(visible(transcript.recording))[:255]
    properties.author = properties.last_modified_by = product[:255]
    properties.identifier = "" if source is None else f"sha256:{source.digest}"[:255]
    properties.language = for_xml(visible(transcript.language or ""))[:255]
    properties.version = product.rpartition(" ")[2][:255]
    properties.comments = ""
    properties.created = properties.modified = datetime(1980, 1, 1)  # fixed: same transcript, same bytes
    properties.revision = 1


def _add_participants(file: Any, transcript: Transcript, labels: dict[str | None, str]) -> None:
    times = speaking_times(transcript)
    if not times:
        return
    file.add_heading("Participants", 1)
    table = file.add_table(1, 3)
    table.style = "Table Grid"
    for cell, text in zip(table.rows[0].cells, ("Participant", "Speaking time", "Share"), strict=True):
        cell.paragraphs[0].add_run(text).bold = True
    total = sum(times.values()) or 1.0
    for speaker in transcript.speakers:
        seconds = times[speaker.id]
        name, clock, share = table.add_row().cells
        name.paragraphs[0].add_run(labels[speaker.id]).underline = speaker.human or None
        clock.text, share.text = format_short_clock(seconds), f"{seconds / total:.0%}"
    file.add_paragraph()


def _add_table(file: Any, rows: Sequence[MinutesEntry], labels: dict[str | None, str]) -> None:
    """A row an entry; its heading is repeated on every page."""
    from docx.oxml import OxmlElement
    from docx.shared import Cm

    table = file.add_table(1, 3)
    table.style, table.autofit = "Table Grid", False
    widths = (Cm(4.2), Cm(3.0), Cm(8.0))
    for column, width in zip(table.columns, widths, strict=True):
        column.width = width
    head = table.rows[0]
    head._tr.get_or_add_trPr().append(OxmlElement("w:tblHeader"))
    for cell, text, width in zip(head.cells, _HEADINGS, widths, strict=True):
        cell.paragraphs[0].add_run(text).bold = True
        cell.width = width
    for row in rows:
        span, name, content = table.add_row().cells
        span.text = f"{format_short_clock(row.start)} - {format_short_clock(row.end)}"
        _add_name(name.paragraphs[0], labels[row.speaker], row)
        _add_words(content.paragraphs[0], row)
        _align(content.paragraphs[0], join(word.text for word in row.words))
        for cell, width in zip((span, name, content), widths, strict=True):
            cell.width = width


def _add_name(paragraph: Any, text: str, row: MinutesEntry) -> None:
    run = paragraph.add_run(text)
    run.bold, run.underline = True, row.human or None


def _add_words(paragraph: Any, row: MinutesEntry, lead: str = "") -> None:
    """The text; runs of words that a person decided are underlined."""
    before = ""
    for human, group in groupby(row.words, key=lambda word: word.human):
        words = [visible(word.text) for word in group]
        longer = join([before, *words])
        addition = for_xml(longer[len(before) :])
        if addition.strip():
            space = addition[: len(addition) - len(addition.lstrip())]
            paragraph.add_run(lead + space)
            paragraph.add_run(addition.lstrip()).underline = human or None
            lead = ""
        before = longer


def _align(paragraph: Any, text: str) -> None:
    """Right to left, where the text begins so (Unicode Standard Annex 9, P2)."""
    strong = next((kind for kind in map(bidirectional, text) if kind in ("L", "R", "AL")), "L")
    if strong != "L":
        from docx.oxml import OxmlElement

        paragraph._p.get_or_add_pPr().append(OxmlElement("w:bidi"))


def loads(data: bytes, where: str, labels: Sequence[str] = ()) -> TierFile:
    """The entries of both profiles, as Word and LibreOffice write them. `labels`: names that may begin a paragraph.

    Deleted text of tracked changes is not read, inserted text is. Raises FormatError for a file that is no DOCX, that
    is too large, or that has no transcript.
    """
    body = parse_xml(_document(data, where), where).find(f"{_W}body")
    if body is None:
        raise FormatError(where, "not a Word document")
    known = sorted(labels, key=len, reverse=True)
    blocks: list[Label] = []
    pending: list[str] = []  # paragraphs of an entry that somebody divided: its stamp is at the end of the last one
    latest, has_begun = 0, False
    for element in body:
        if element.tag == f"{_W}tbl":
            blocks += _read_table(element, where)
        elif element.tag == f"{_W}p":
            text = " ".join(_text(element).split())
            stamp = _STAMP.search(text)
            time = None if stamp is None else parse_time(stamp[1].replace("-", "."))
            if stamp is None or time is None:
                if text == _TRANSCRIPT:
                    has_begun = True
                elif text and has_begun:
                    pending.append(text)
                continue
            end = to_milliseconds(time)
            for part in _parts([*pending, text[: stamp.start()]], known):
                blocks.append(Label(min(latest, end), end, *_split_name(part, known, where)))
            pending, latest, has_begun = [], end, True
    if not blocks and not has_begun:
        raise FormatError(where, "has no transcript", "It needs stamps (#00:00:00-0#) or a table as exports have.")
    note = f"{counted(len(pending), 'paragraph')} without a time stamp at the end not read"
    return TierFile(tuple(blocks), has_turns=False, notes=(note,) if pending and blocks else ())


def _parts(paragraphs: Sequence[str], known: Sequence[str]) -> list[str]:
    """The paragraphs before a stamp as one text, or as several where another one begins with a name."""
    parts: list[str] = []
    for text in paragraphs:
        if parts and not any(f"{text} ".startswith(f"{label}: ") for label in known):
            parts[-1] += f" {text}"
        else:
            parts.append(text)
    return parts


def _document(data: bytes, where: str) -> str:
    """The main part of the archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entry = archive.getinfo("word/document.xml")
            if entry.file_size > MOST_CHARACTERS:
                raise FormatError(where, f"is larger than {MOST_CHARACTERS // 1_000_000} MB")
            with archive.open(entry) as file:
                return file.read(MOST_CHARACTERS).decode("utf-8-sig")
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError, OSError, NotImplementedError, RuntimeError, ValueError):
        raise FormatError(where, "not a Word document") from None


def _text(element: Element) -> str:
    """The text of an element as it is after all tracked changes."""
    return "".join(_pieces(element))


def _pieces(element: Element) -> Iterator[str]:
    for child in element:
        if child.tag == f"{_W}t":
            yield child.text or ""
        elif child.tag in (f"{_W}tab", f"{_W}br", f"{_W}cr"):
            yield " "
        elif child.tag not in (f"{_W}del", f"{_W}moveFrom", f"{_W}pPr"):
            yield from _pieces(child)
            if child.tag == f"{_W}p":
                yield " "


def _read_table(table: Element, where: str) -> Iterator[Label]:
    """The rows of a table with a time span in the first column of three; of no other table."""
    for row in table.iter(f"{_W}tr"):
        cells = [" ".join(_text(cell).split()) for cell in row.findall(f"{_W}tc")]
        if len(cells) != 3 or (span := _SPAN.fullmatch(cells[0])) is None:
            continue
        times = [parse_time(span[k]) for k in (1, 2)]
        if times[0] is None or times[1] is None:
            raise FormatError(where, f"{cells[0][:40]!r} are no times")
        start, end = to_milliseconds(times[0]), to_milliseconds(times[1])
        yield Label(start, max(start, end), None if cells[1] == "?" else cells[1], cells[2])


def _split_name(text: str, known: Sequence[str], where: str) -> tuple[str | None, str]:
    """`Anna: text`: a name of `known`, else what is before the first colon."""
    text += " "
    name, colon, content = text.partition(": ")
    if label := next((label for label in known if text.startswith(f"{label}: ")), None):
        name, content = label, text[len(label) + 2 :]
    elif not colon:
        raise FormatError(where, f"no name before a colon: {text[:40].strip()!r}")
    return (None if name.strip() == "?" else name.strip()), content.strip()

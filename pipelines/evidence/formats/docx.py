"""A document as DOCX, for those who go on writing in it. Needs the extra `evidence` (python-docx)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from diarize import files
from diarize.errors import MissingExtra
from pipelines.evidence.formats import pdf
from pipelines.evidence.formats.document import Block, Command, Document, Grid, Paragraph

_PAGE, _MARGIN = (21.0, 29.7), 2.0  # cm, A4
_WIDTH = _PAGE[0] - 2 * _MARGIN  # cm
_LONGEST = 45  # characters of a cell from which on it does not ask for a wider column


def render(document: Document) -> bytes:
    """The bytes of the file. Raises MissingExtra without python-docx."""
    try:
        import docx
    except ModuleNotFoundError as error:
        raise MissingExtra("DOCX reports", "evidence") from error
    file = docx.Document()
    _lay_out(file)
    properties = file.core_properties
    properties.title, properties.author = (
        _text(f"{document.title}: {document.subtitle}")[:255],
        _text(document.author)[:255],
    )
    properties.created = properties.modified = document.date.replace(tzinfo=None)
    properties.language = document.language
    file.add_heading(_text(document.title), 0)
    file.add_paragraph(_text(document.subtitle))
    for section in document.sections:
        file.add_heading(_text(section.title), 1)
        kind = file.add_paragraph(_text(document.kinds[section.kind]))
        kind.runs[0].italic = True
        kind.paragraph_format.keep_with_next = True
        for block in section.blocks:
            _add(file, block)
    buffer = io.BytesIO()
    file.save(buffer)
    return files.reproducible_zip(buffer.getvalue())


def _lay_out(file: Any) -> None:
    from docx.shared import Cm, Pt

    page = file.sections[0]
    page.page_width, page.page_height = (Cm(length) for length in _PAGE)
    page.left_margin = page.right_margin = page.top_margin = page.bottom_margin = Cm(_MARGIN)
    file.styles["Normal"].font.size = Pt(10)


def _add(file: Any, block: Block) -> None:
    if isinstance(block, Paragraph):
        paragraph = file.add_paragraph()
        paragraph.add_run(_text(block.text)).bold = block.strong
        paragraph.paragraph_format.keep_with_next = block.strong  # what it is the title of
    elif isinstance(block, Command):
        file.add_paragraph().add_run(_text(block.text)).font.name = "Courier New"
    elif isinstance(block, Grid):
        _add_grid(file, block)
    else:
        from docx.shared import Cm

        file.add_picture(io.BytesIO(pdf.picture_png(block)), width=Cm(15))
        file.paragraphs[-1].paragraph_format.keep_with_next = True
        file.add_paragraph(_text(block.caption)).runs[0].italic = True


def _add_grid(file: Any, grid: Grid) -> None:
    from docx.oxml import OxmlElement
    from docx.shared import Cm, Pt

    if grid.caption:
        file.add_paragraph(_text(grid.caption)).paragraph_format.keep_with_next = True
    rows = [grid.columns, *grid.rows] if grid.columns else list(grid.rows)
    if not rows:
        return
    table = file.add_table(len(rows), len(rows[0]))
    table.style = "Table Grid"
    table.autofit = False
    widths = [Cm(width) for width in _column_widths(rows)]
    for column, width in zip(table.columns, widths, strict=True):
        column.width = width
    for number, (row, cells) in enumerate(zip(table.rows, rows, strict=True)):
        row._tr.get_or_add_trPr().append(OxmlElement("w:cantSplit"))
        if grid.columns and number == 0:
            row._tr.get_or_add_trPr().append(OxmlElement("w:tblHeader"))  # again on each page
        for cell, text, width in zip(row.cells, cells, widths, strict=True):
            cell.text, cell.width = _text(text), width
            for run in (run for paragraph in cell.paragraphs for run in paragraph.runs):
                run.font.size, run.bold = Pt(9), bool(grid.columns) and number == 0
    file.add_paragraph().paragraph_format.space_after = Pt(0)


def _column_widths(rows: Sequence[Sequence[str]]) -> list[float]:
    """cm of each column, by its longest cell: of 45 characters at most, and of 12 at least."""
    longest = [max(12, *(min(_LONGEST, len(cell)) for cell in column)) for column in zip(*rows, strict=True)]
    return [_WIDTH * length / sum(longest) for length in longest]


def _text(text: str) -> str:
    """Without characters that XML cannot hold."""
    return "".join(c if c in "\n\t" or (c.isprintable() and c.encode("utf-8", "ignore")) else "\ufffd" for c in text)

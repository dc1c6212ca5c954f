"""A document as DOCX, for those who go on writing in it. Needs the extra `evidence` (python-docx)."""

from __future__ import annotations

import io
import zipfile
from typing import Any

from diarize.errors import MissingExtra
from pipelines.evidence.formats import pdf
from pipelines.evidence.formats.document import Block, Command, Document, Grid, Paragraph

_EPOCH = (1980, 1, 1, 0, 0, 0)  # of all entries, so that the bytes are the same every time


def render(document: Document) -> bytes:
    """The bytes of the file. Raises MissingExtra without python-docx."""
    try:
        import docx
    except ModuleNotFoundError as error:
        raise MissingExtra("DOCX reports", "evidence") from error
    file = docx.Document()
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
        file.add_paragraph(_text(document.kinds[section.kind])).runs[0].italic = True
        for block in section.blocks:
            _add(file, block)
    buffer = io.BytesIO()
    file.save(buffer)
    return _with_fixed_times(buffer.getvalue())


def _add(file: Any, block: Block) -> None:
    if isinstance(block, Paragraph):
        file.add_paragraph().add_run(_text(block.text)).bold = block.strong
    elif isinstance(block, Command):
        file.add_paragraph().add_run(_text(block.text)).font.name = "Courier New"
    elif isinstance(block, Grid):
        _add_grid(file, block)
    else:
        from docx.shared import Cm

        file.add_picture(io.BytesIO(pdf.picture_png(block)), width=Cm(15))
        file.add_paragraph(_text(block.caption)).runs[0].italic = True


def _add_grid(file: Any, grid: Grid) -> None:
    if grid.caption:
        file.add_paragraph(_text(grid.caption))
    rows = [grid.columns, *grid.rows] if grid.columns else list(grid.rows)
    if not rows:
        return
    table = file.add_table(len(rows), len(rows[0]))
    table.style = "Table Grid"
    for row, cells in zip(table.rows, rows, strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = _text(text)


def _with_fixed_times(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            fixed = zipfile.ZipInfo(entry.filename, _EPOCH)
            fixed.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(fixed, old.read(entry))
    return buffer.getvalue()


def _text(text: str) -> str:
    """Without characters that XML cannot hold."""
    return "".join(c if c in "\n\t" or (c.isprintable() and c.encode("utf-8", "ignore")) else "\ufffd" for c in text)

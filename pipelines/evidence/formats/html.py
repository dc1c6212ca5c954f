"""A document as one HTML file: no script, nothing loaded from elsewhere, the same bytes every time."""

from __future__ import annotations

from html import escape

from pipelines.evidence.formats.document import Block, Command, Document, Grid, Paragraph, ReportSection

_STYLE = """
body { font: 11pt/1.4 "Libertinus Serif", Georgia, serif; color: #111 }
body { max-width: 50em; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.6em; margin-bottom: 0 } h2 { font-size: 1.2em; margin: 0 }
section { border-left: 0.4em solid #0072B2; padding-left: 1em; margin: 2em 0 }
section.entered { border-color: #E69F00 } section.concluded { border-color: #CC3311; border-left-style: double }
.kind { font-size: 0.8em; color: #444; margin: 0 0 0.6em } p.strong { font-weight: bold; font-size: 1.15em }
table { border-collapse: collapse; width: 100%; margin: 0.8em 0; font-size: 0.92em }
caption { text-align: left; font-style: italic }
th, td { border-bottom: 1px solid #bbb; padding: 0.2em 0.6em 0.2em 0; text-align: left; vertical-align: top }
th, td { overflow-wrap: anywhere }
table.small { font-size: 0.8em } code, pre { font-family: "DejaVu Sans Mono", monospace; font-size: 0.85em }
pre { background: #f3f3f3; padding: 0.6em; white-space: pre-wrap; overflow-wrap: anywhere }
figure { margin: 1em 0 } figure svg { width: 100%; height: auto } figcaption { font-size: 0.9em; font-style: italic }
@media print { body { max-width: none; margin: 0 } table, figure { break-inside: avoid } }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def render(document: Document) -> bytes:
    """The bytes of the file."""
    lines = [
        "<!DOCTYPE html>",
        f'<html lang="{escape(document.language)}">',
        f'<head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        f"<title>{_text(document.title)}: {_text(document.subtitle)}</title>",
        f"<style>{_STYLE}</style></head>",
        f"<body><h1>{_text(document.title)}</h1><p>{_text(document.subtitle)}</p>",
        *(_section(section, document) for section in document.sections),
        "</body></html>",
    ]
    return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")


def _section(section: ReportSection, document: Document) -> str:
    head = f'<h2>{_text(section.title)}</h2><p class="kind">{_text(document.kinds[section.kind])}</p>'
    return f'<section class="{section.kind}">{head}\n' + "\n".join(map(_block, section.blocks)) + "</section>"


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return f'<p class="strong">{_text(block.text)}</p>' if block.strong else f"<p>{_text(block.text)}</p>"
    if isinstance(block, Command):
        return f"<pre>{_text(block.text)}</pre>"
    if isinstance(block, Grid):
        return _grid(block)
    svg = block.svg.decode("utf-8").replace("<svg ", f'<svg role="img" aria-label="{_text(block.alt)}" ', 1)
    return f"<figure>{svg}<figcaption>{_text(block.caption)}</figcaption></figure>"


def _grid(grid: Grid) -> str:
    caption = f"<caption>{_text(grid.caption)}</caption>" if grid.caption else ""
    cells = "".join(f'<th scope="col">{_text(name)}</th>' for name in grid.columns)
    head = f"<thead><tr>{cells}</tr></thead>" if grid.columns else ""
    rows = "".join(
        f"<tr>{_first(row[0], grid)}{''.join(f'<td>{_text(cell)}</td>' for cell in row[1:])}</tr>" for row in grid.rows
    )
    small = ' class="small"' if grid.small else ""
    return f"<table{small}>{caption}{head}<tbody>{rows}</tbody></table>"


def _first(cell: str, grid: Grid) -> str:
    return f"<td>{_text(cell)}</td>" if grid.columns else f'<th scope="row">{_text(cell)}</th>'


def _text(text: str) -> str:
    """Escaped; control characters, and marks that turn the direction of text, are made visible."""
    shown = "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )
    return escape(shown).replace("\n", "<br>")

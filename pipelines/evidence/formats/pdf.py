"""A document as PDF, by Typst: tagged (PDF/UA-1), with its own fonts, the same bytes every time with one version of it.

Fonts of the system are not used: those in the `typst` package are the same everywhere. A character that they lack is
written as its number, for example U+65E5.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from diarize.errors import MissingExtra, OutputError
from pipelines.evidence.formats.document import Block, Command, Document, Grid, Paragraph, Picture

_COLOURS = {"computed": "#0072B2", "entered": "#E69F00", "concluded": "#CC3311"}
_LACKING = re.compile(r"the text [`\"“]*(.+?)[`\"”]* could not be displayed")
_MOST_LACKING = 200  # characters that the fonts lack and that are replaced one by one
_COVERED = ((0x20, 0x7E), (0xA0, 0x17F), (0x370, 0x3FF), (0x400, 0x45F), (0x2010, 0x2027), (0x2030, 0x203A))
_SINGLE = "€™→←≥≤≈−×·…‰"


def typst_version() -> str:
    """The installed version; "" without one."""
    try:
        return version("typst")
    except PackageNotFoundError:
        return ""


def render(document: Document) -> bytes:
    """The bytes of the file. Raises MissingExtra without Typst, OutputError where it cannot compile."""
    try:
        import typst
    except ModuleNotFoundError as error:
        raise MissingExtra("PDF reports", "evidence") from error
    compile_: Any = typst.compile  # its annotations do not know that it takes a dictionary of files
    pictures = [block for section in document.sections for block in section.blocks if isinstance(block, Picture)]
    lacking: set[str] = set()
    for _ in range(_MOST_LACKING):
        sources = {"main.typ": _source(document, lacking).encode()}
        sources |= {f"p{i}.svg": picture.svg for i, picture in enumerate(pictures)}
        try:
            result = compile_(
                sources,
                format="pdf",
                ignore_system_fonts=True,
                pdf_standards=["ua-1"],
                timestamp=int(document.date.timestamp()),
            )
            return bytes(result)
        except (RuntimeError, ValueError, OSError) as error:
            match = _LACKING.search(str(error).replace("\\", ""))
            more = {c for c in (match[1] if match else "") if ord(c) > 126} - lacking
            if not more:
                raise OutputError("report.pdf", f"Typst cannot compile it: {error}") from error
            lacking |= more
    raise OutputError("report.pdf", "its texts have too many characters that the fonts lack")


def picture_png(picture: Picture) -> bytes:
    """A picture as PNG, for formats without SVG. Raises MissingExtra."""
    try:
        import typst
    except ModuleNotFoundError as error:
        raise MissingExtra("DOCX reports", "evidence") from error
    compile_: Any = typst.compile
    source = b'#set page(width: auto, height: auto, margin: 0pt)\n#image("p.svg", width: 16cm)'
    result = compile_({"main.typ": source, "p.svg": picture.svg}, format="png", ignore_system_fonts=True, ppi=144.0)
    return bytes(result)


def _source(document: Document, lacking: set[str]) -> str:
    def text(value: str) -> str:
        return _literal(value, lacking)

    date = document.date
    day = f"year: {date.year}, month: {date.month}, day: {date.day}"
    page, _, pages = document.page.partition("{pages}")
    before, _, between = page.partition("{page}")
    total = "#context counter(page).final().first()"
    footer = f"#{text(before)};#context counter(page).display();#{text(between)};{total};#{text(pages)};"
    title = text(f"{document.title}: {document.subtitle}")
    head = f"#{text(document.subtitle)}; #h(1fr) {footer}"
    lines = [
        f"#set document(title: {title}, author: {text(document.author or '-')}, date: datetime({day}))",
        f'#set text(lang: "{document.language}", font: "Libertinus Serif", size: 10pt)',
        f'#set page(paper: "a4", margin: 2.2cm, footer: text(size: 8pt)[{head}])',
        '#show raw: set text(font: "DejaVu Sans Mono", size: 7.5pt)',
        "#set table(stroke: (x, y) => (bottom: 0.4pt + luma(170)), inset: (x: 3pt, y: 3pt))",
        "#show figure: set block(breakable: true)",
        "#show heading.where(level: 2): set text(size: 12pt)",
        f"= #{text(document.title)};",
        f"#{text(document.subtitle)};",
    ]
    number = 0
    for section in document.sections:
        colour = _COLOURS[section.kind]
        dash = ', dash: "dashed"' if section.kind == "concluded" else ""
        rule = f'line(length: 100%, stroke: (paint: rgb("{colour}"), thickness: 2pt{dash}))'
        lines.append(f"#block(sticky: true, above: 18pt, {rule})")
        lines.append(f"== #{text(section.title)};")
        kind = f"text(size: 8pt, fill: luma(80))[#{text(document.kinds[section.kind])};]"
        lines.append(f"#block(sticky: true, {kind})")
        for block in section.blocks:
            lines.append(_block(block, number, lacking))
            number += isinstance(block, Picture)
    return "\n\n".join(lines) + "\n"


def _block(block: Block, number: int, lacking: set[str]) -> str:
    if isinstance(block, Paragraph):
        shown = f"#{_literal(block.text, lacking)};"
        # With what follows it on one page.
        return f'#block(sticky: true, text(size: 11pt, weight: "bold")[{shown}])' if block.strong else shown
    if isinstance(block, Command):
        return f"#raw({_literal(block.text, lacking)}, block: true)"
    if isinstance(block, Grid):
        return _grid(block, lacking)
    alt, caption = _literal(block.alt, lacking), _literal(block.caption, lacking)
    image = f'image("p{number}.svg", width: 100%, alt: {alt})'
    return f"#figure({image}, caption: [#{caption};], kind: image, supplement: none, numbering: none)"


def _grid(grid: Grid, lacking: set[str]) -> str:
    count = len(grid.columns) or len(grid.rows[0] if grid.rows else ("",))
    widths = ", ".join(_widths(grid, count))
    size = "7.5pt" if grid.small else "8.5pt"
    head = ""
    if grid.columns:
        head = "table.header(" + ", ".join(f"[*#{_literal(name, lacking)};*]" for name in grid.columns) + "), "
    cells = ", ".join(
        f"[*#{_literal(cell, lacking)};*]" if not grid.columns and i == 0 else f"[#{_literal(cell, lacking)};]"
        for row in grid.rows
        for i, cell in enumerate(row)
    )
    table = f"table(columns: ({widths}), align: left, {head}{cells})"
    if grid.caption:
        caption = f"figure.caption(position: top)[#{_literal(grid.caption, lacking)};]"
        table = f"figure({table}, caption: {caption}, supplement: none, numbering: none)"
    return f"#text(size: {size})[#{table}]"


def _widths(grid: Grid, count: int) -> list[str]:
    """Columns by the length of their longest cell, within limits; of titles and values, a third and two thirds."""
    if not grid.columns:
        return ["1fr", "2.4fr"] if count == 2 else ["1fr"] * count
    rows = [grid.columns, *grid.rows]
    columns = [[row[i] for row in rows if i < len(row)] for i in range(count)]
    longest = [max(map(len, cells)) for cells in columns]
    words = [max((len(word) for cell in cells for word in cell.split()), default=0) for cells in columns]
    return [f"{max(min(a, 44), min(b, 24) + 3, 8)}fr" for a, b in zip(longest, words, strict=True)]


def _literal(text: str, lacking: set[str]) -> str:
    """Text as a Typst string: nothing in it is markup. Long words may break."""
    shown = "".join(_shown(c, lacking) for c in text)
    shown = re.sub(r"\S{25,}", _breakable, shown)
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _breakable(match: re.Match[str]) -> str:
    """A long word with places at which a line may break: after signs; in a digest after 16 characters."""
    word = match[0]
    if re.fullmatch(r"[0-9a-f]+", word):
        return "\u200b".join(re.findall(".{1,16}", word))
    return re.sub(r"[/,=(:;_@]", lambda sign: sign[0] + "\u200b", word)


def _shown(c: str, lacking: set[str]) -> str:
    covered = c == "\n" or c in _SINGLE or any(low <= ord(c) <= high for low, high in _COVERED)
    return c if covered and c not in lacking else f"U+{ord(c):04X}"

"""Tables of figures on a terminal: no figure is broken; columns that do not fit continue in another table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from diarize.errors import printable
from pipelines.cli.console import broken

_GAP = 2  # columns of the terminal between two columns of a table
_NAMES = 0.4  # largest part of the width for names; a longer name continues in the next line
_TITLE = 24  # columns; a longer word in the title of a column continues in the next line
_MARK = re.compile(r"(.+) \*")
_INTERVAL = re.compile(r"(.+) (\[[^]]*\])")


def fit_tables(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], names: int, width: int
) -> Iterator[tuple[str, Table]]:
    """Tables, with their titles, that show all cells in `width` columns of a terminal.

    The first `names` (1 or 2) columns name the row. Of two, the first becomes a line of its own above the rows that
    share it. The unit % goes into the title, and marks (`5 *`) before their figures, so that figures are aligned. Where
    intervals (`5 [4, 6]`) do not fit beside their figures in one table, they go below them.
    """
    if any(" %" in cell for row in rows for cell in row[names:]):
        title += ", %"
    # The cells as they are shown: printable, with marks and units where they do not disturb the alignment.
    labels = [_indent(printable(cell) for cell in row[:names]) for row in rows]
    cells = [[_MARK.sub(r"* \1", printable(cell).replace(" %", "")) for cell in row[names:]] for row in rows]
    heads = [printable(head) for head in columns[names:]]
    # Names first, as they must be readable in every table; figures share what is left.
    longest = max((cell_len(line) for lines in labels for line in lines), default=0)
    first = min(max(longest, *(cell_len(head) for head in columns[:names])), int(_NAMES * width))
    parts = _parts(heads, cells, width - first)
    if len(parts) > 1:
        cells = [[_INTERVAL.sub(r"\1\n\2", cell) for cell in row] for row in cells]
        parts = _parts(heads, cells, width - first)
    for number, part in enumerate(parts):
        table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
        table.add_column(Text("\n  ".join(columns[:names])), width=first, overflow="fold")
        for at in part:
            table.add_column(Text(heads[at]), width=_width(heads, cells, at), overflow="fold", justify="right")
        before: str | None = None
        for lines, row in zip(labels, cells, strict=True):
            if len(lines) > 1 and lines[0] != before:
                table.add_row(Text(broken(lines[0], first)))
            before = lines[0]
            table.add_row(Text(broken(lines[-1], first)), *(Text(row[at]) for at in part))
        yield title + (" (continued)" if number else ""), table


def _indent(names: Iterator[str]) -> list[str]:
    first, *others = names
    return [first, *(f"  {other}" for other in others)]


def _parts(heads: Sequence[str], cells: Sequence[Sequence[str]], room: int) -> list[list[int]]:
    """Indices of the columns that fit together into `room` columns of a terminal, about as many in each part."""
    parts = _fill(heads, cells, room)
    while 1 < len(parts) < len(heads) and len(narrower := _fill(heads, cells, room - 1)) == len(parts):
        parts, room = narrower, room - 1
    return parts


def _fill(heads: Sequence[str], cells: Sequence[Sequence[str]], room: int) -> list[list[int]]:
    """As many columns as fit in each part but the last; at least one."""
    parts: list[list[int]] = [[]]
    left = room
    for at in range(len(heads)):
        needed = _GAP + _width(heads, cells, at)
        if needed > left and parts[-1]:
            parts.append([])
            left = room
        parts[-1].append(at)
        left -= needed
    return parts


def _width(heads: Sequence[str], cells: Sequence[Sequence[str]], at: int) -> int:
    """Columns of a terminal that a column of figures needs; its title may take several lines."""
    # Names first, as they must be readable in every table; figures share what is left.
    longest = max((cell_len(line) for row in cells for line in row[at].split("\n")), default=0)
    return max(longest, min(_TITLE, max((cell_len(word) for word in heads[at].split()), default=0)), 1)

"""What all commands print with: messages to the error stream, results to the output stream.

A closed stream (`| head`) or a full disk never ends a run. Characters that a terminal cannot show are escaped, and so
are control characters: names of files and people may contain anything. On a terminal, lines are broken between words;
no word or figure is (a name in a table is broken after a separator). In files and pipes, each message is one line.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO, cast

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from diarize.errors import printable

NARROWEST = 60  # columns of a table; on a narrower terminal lines are broken rather than columns left out

_LEAST = 20  # columns of a terminal on which messages are broken
# No line ends between a figure and its unit.
_SPACES = r"(?<!\d)\s+|\s+(?!(?:%|s|ms|min|h|Hz|kHz|dB|kB|MB|GB|MiB)(?!\w))"
_IN_TEXT = re.compile(rf".+?(?:{_SPACES}|$)", re.DOTALL)
_IN_NAMES = re.compile(rf".+?(?:{_SPACES}|[/\\_](?=.)|-(?=[^\W\d])|$)", re.DOTALL)


def say(text: str | Table = "", stream: TextIO | None = None) -> None:
    """Print text or a table; a closed stream is no error."""
    console = open_console(stream or sys.stdout)
    if isinstance(text, Table):
        console.width = max(console.width, NARROWEST, text.__rich_measure__(console, console.options).minimum)
        console.print(text, soft_wrap=True)
    else:
        lines = [printable(line) for line in text.split("\n")]
        if console.is_terminal:
            lines = [wrapped(line, console.width) for line in lines]
        console.print(Text("\n".join(lines)), soft_wrap=True)


def warn(text: str) -> None:
    say(text, sys.stderr)


class UnfailingStream:
    """A stream that raises nothing: without a reader, or on a full disk, the text is lost and the run goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with self._no_errors():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._no_errors():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _no_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):  # or Python complains when it flushes at its end
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def open_console(stream: TextIO) -> Console:
    console = Console(file=cast(TextIO, UnfailingStream(stream)), highlight=False, markup=False, emoji=False)
    if console.width < 1:  # COLUMNS=0: nothing would be printed, no error either
        console.width = NARROWEST
    return console


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A plain table of text that fits the terminal: a longer text continues in the next line; nothing is cut."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = fit(columns, cells, max(open_console(sys.stdout).width, NARROWEST))
    table = Table(*(Column(name, no_wrap=True) for name in columns), box=box.SIMPLE)
    for row in cells:
        table.add_row(*(Text(broken(cell, width)) for cell, width in zip(row, widths, strict=True)))
    return table


def fit(columns: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> list[int]:
    """The widths of columns in a table of `width`: the widest are reduced, and none below what cannot be broken.

    That is at most half of the table: a longer word is broken where the line ends.
    """
    texts = [[columns[i], *(row[i] for row in cells)] for i in range(len(columns))]
    widths = [max(map(cell_len, column)) for column in texts]
    least = [max(cell_len(piece.rstrip()) for text in column for piece in pieces(text)) for column in texts]
    least = [max(min(low, width // 2), cell_len(name)) for low, name in zip(least, columns, strict=True)]
    while sum(widths) > width - 3 * len(widths) - 1:
        reducible = [i for i in range(len(widths)) if widths[i] > least[i]]
        if not reducible:
            break
        widths[max(reducible, key=lambda i: widths[i])] -= 1
    return widths


def pieces(text: str, breaks: re.Pattern[str] | None = None) -> list[str]:
    """The parts of a text between which a line may end: after a space, and in a name after a slash, _ or hyphen."""
    return (breaks or _IN_NAMES).findall(text) or [""]


def broken(text: str, width: int) -> str:
    """A text as lines of at most `width` columns; a piece that is longer is broken where the line ends."""
    lines = [""]
    for piece in pieces(text):
        if lines[-1] and cell_len(lines[-1]) + cell_len(piece.rstrip()) > width:
            lines.append("")
        while cell_len(piece.rstrip()) > width:
            lines[-1], piece = piece[:width], piece[width:]
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


def wrapped(line: str, width: int) -> str:
    """A message as lines of at most `width` columns, broken between words; a longer word stays whole."""
    if cell_len(line) <= width or width < _LEAST:
        return line
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    lines = [""]
    for piece in pieces(line, _IN_TEXT):
        if lines[-1].strip() and cell_len(lines[-1]) + cell_len(piece.rstrip()) > width:
            lines.append(indent)
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


def filled(facts: Iterable[str], width: int) -> Iterator[str]:
    """Facts joined by commas, in lines of at most `width` columns; no fact is broken."""
    line = ""
    for fact in facts:
        if line and len(line) + len(fact) + 3 > width:
            yield line + ","
            line = ""
        line += f", {fact}" if line else fact
    if line:
        yield line


def clock(seconds: float) -> str:
    """A length of time as h:mm:ss."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"

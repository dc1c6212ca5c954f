"""What all commands print with: messages to the error stream, results to the output stream.

A closed stream (`| head`) or a full disk never ends a run. Characters that a terminal cannot show are escaped, and so
are control characters: names of files and people may contain anything. A text that a user may want to copy (a name, a
command, a path) is never cut or folded.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO, cast

from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from diarize.errors import printable

NARROWEST = 60  # columns of a table; on a narrower terminal lines are broken rather than columns left out


def say(text: str | Table = "", stream: TextIO | None = None) -> None:
    """Print text or a table; a closed stream is no error."""
    console = open_console(stream or sys.stdout)
    if isinstance(text, Table):
        console.width = max(console.width, NARROWEST)
        console.print(text, soft_wrap=True)
    else:
        console.print(Text("\n".join(printable(line) for line in text.split("\n"))), soft_wrap=True)


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
    """A plain table of text. A text that is too long for its column continues in the next line; nothing is cut."""
    table = Table(*(Column(name, overflow="fold") for name in columns), box=box.SIMPLE)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


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

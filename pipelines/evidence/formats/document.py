"""The blocks of a document, from which every format is written: what is said stands in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

ContentKind = Literal["computed", "entered", "concluded"]  # by software; by people; a conclusion of the examiner


@dataclass(frozen=True, slots=True)
class Paragraph:
    text: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A command line, or other text that is shown as it is typed."""

    text: str


@dataclass(frozen=True, slots=True)
class Grid:
    """A table. `columns` may be empty: then the first cell of each row is its title."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    small: bool = False  # digests and other long texts


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as SVG, with a text for those who do not see it."""

    svg: bytes = field(repr=False)
    alt: str
    caption: str


Block = Paragraph | Command | Grid | Picture


@dataclass(frozen=True, slots=True)
class ReportSection:
    title: str
    kind: ContentKind
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A report, ready to be written. `page` is the text of a footer with {page} and {pages}."""

    title: str
    subtitle: str
    author: str
    language: str
    date: datetime
    kinds: Mapping[ContentKind, str]
    page: str
    sections: tuple[ReportSection, ...]


def pairs(rows: Sequence[tuple[str, str]], small: bool = False) -> Grid:
    """A table of titles and values."""
    return Grid((), tuple(rows), small=small)

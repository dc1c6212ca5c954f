"""What a reference leaves open, in the text of STM (NIST SCTK, "sclite input formats", transcript alternations).

| in the text | meaning |
|---|---|
| `{ um / uh / @ }` | one of these; they may be nested, and need no spaces |
| `(uh)` | a word that may be missing (`sclite -D`) |
| `@` | no word |

`{laugh}`, braces without a slash, is a word. Braces and signs that are words themselves are escaped (`nist.escape`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from diarize.errors import FormatError
from diarize.formats.nist import unescape

_TOKEN = re.compile(r"[{}]|[^ \t{}]+")
_OPTIONAL = re.compile(r"\(([^()]+)\)")
_NULL = "@"
_DEEPEST = 50  # braces inside braces; a person writes two or three


@dataclass(frozen=True, slots=True)
class OpenChoice:
    """One of several passages. `optional`: a word, or nothing; a scorer counts its absence as right."""

    options: tuple[Passage, ...]
    optional: bool = False


Passage = tuple["str | OpenChoice", ...]  # words and choices, in their order


def parse(text: str, where: str) -> Passage | None:
    """A text as a passage; None for a text that leaves nothing open. Raises FormatError for braces without partner."""
    tokens = _TOKEN.findall(text)
    options, end = _options(tokens, 0, where, 0)
    if end < len(tokens):
        raise FormatError(where, "'}' without '{'", "Write %7D for a brace that is a word.")
    (passage,) = options
    return passage if _NULL in tokens or any(isinstance(item, OpenChoice) for item in passage) else None


def _options(tokens: list[str], at: int, where: str, depth: int) -> tuple[list[Passage], int]:
    """(passages between slashes, up to the brace that closes them or the end; position of that brace)."""
    if depth > _DEEPEST:
        raise FormatError(where, f"more than {_DEEPEST} braces inside each other")
    options: list[list[str | OpenChoice]] = [[]]
    while at < len(tokens) and tokens[at] != "}":
        if tokens[at] != "{":
            parts = re.split("(/)", tokens[at]) if depth else [tokens[at]]
            for part in filter(None, parts):
                if part == "/" and depth:
                    options.append([])
                elif part != _NULL:
                    options[-1].append(_word(part))
            at += 1
            continue
        inner, end = _options(tokens, at + 1, where, depth + 1)
        if end >= len(tokens):
            raise FormatError(where, "'{' without '}'", "Write %7B for a brace that is a word.")
        if len(inner) > 1:
            options[-1].append(OpenChoice(tuple(inner)))
        else:
            options[-1] += ["{", *inner[0], "}"]
        at = end + 1
    return [tuple(option) for option in options], at


def _word(token: str) -> str | OpenChoice:
    optional = _OPTIONAL.fullmatch(token)
    return unescape(token) if optional is None else OpenChoice(((unescape(optional[1]),), ()), optional=True)


def first(passage: Passage) -> Iterator[str]:
    """The words of the first option everywhere, optional ones in parentheses."""
    for item in passage:
        if isinstance(item, str):
            yield item
        elif item.optional:
            yield f"({''.join(first(item.options[0]))})"
        else:
            yield from first(item.options[0])

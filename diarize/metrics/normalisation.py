"""Normalises text before words are compared: named steps, applied in order.

Two transcripts of the same talk differ in capitals, commas and apostrophes, which are no errors of recognition. The
steps influence a word error rate as much as the recognizer does, so they are part of a result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from unicodedata import category, normalize

from diarize import text as _text
from diarize.errors import ConfigError, suggest

DEFAULT = ("nfkc", "lower", "apostrophes", "punctuation", "unspaced")

_APOSTROPHES = re.compile("[‘’ʼ＇`´]")
_JOINERS = "\u200c\u200d"
_BRACKETS = re.compile(r"\[[^\[\]]*\]|\([^()]*\)|<[^<>]*>|\{[^{}]*\}")
_FILLERS = re.compile(r"(?<![\w'])(?:mm+-?hm+|uh+-huh+|u+h+|u+m+|e+r+m*|a+h+|h+m+|mm+)(?![\w'])", re.IGNORECASE)


def _without_punctuation(text: str) -> str:
    """Punctuation and symbols to spaces; an apostrophe between two letters stays (`don't`).

    Invisible format characters are removed, except the joiners in words of Persian and of Indic scripts.
    """
    characters = []
    for i, c in enumerate(text):
        kind = category(c)
        inner = c == "'" and 0 < i < len(text) - 1 and text[i - 1].isalnum() and text[i + 1].isalnum()
        if kind == "Cf":
            characters.append(c if c in _JOINERS else "")
        else:
            characters.append(" " if kind[0] in "PS" and not inner else c)
    return "".join(characters)


def _without_marks(text: str) -> str:
    return normalize("NFC", "".join(c for c in normalize("NFD", text) if category(c) != "Mn"))


STEPS: dict[str, Callable[[str], str]] = {
    "nfkc": lambda t: normalize("NFKC", t),  # compatibility forms to plain ones: ﬁ to fi, ２ to 2
    "lower": str.casefold,  # no letter case (Unicode case folding)
    "apostrophes": lambda t: _APOSTROPHES.sub("'", t),  # every form of apostrophe to '
    "punctuation": _without_punctuation,  # punctuation and symbols to spaces, except an apostrophe inside a word
    "unspaced": lambda t: " ".join(_text.split(t)),  # in scripts without spaces, every letter is a word
    "brackets": lambda t: _BRACKETS.sub(" ", t),  # no text in brackets: [noise], (laughs), <unk>
    "fillers": lambda t: _FILLERS.sub(" ", t),  # no hesitations of English: uh, um, er, erm, ah, hm, mm
    "marks": _without_marks,  # no accents and other marks: é to e
}


def check_steps(names: Sequence[str]) -> tuple[str, ...]:
    """The same names, checked. Raises ConfigError, which names the most similar step, for an unknown one."""
    for name in names:
        if name not in STEPS:
            raise ConfigError("normalise", repr(name), "no such step", suggest(name, STEPS))
    return tuple(names)


def normalised(text: str, names: Sequence[str] = DEFAULT) -> str:
    """`text` after the named steps: words separated by single spaces."""
    for name in names:
        text = STEPS[name](text)
    return " ".join(text.split())

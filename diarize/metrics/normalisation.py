"""Text made comparable before words are counted: named steps, applied in the order given.

Two transcripts of the same talk differ in capitals, commas and apostrophes, and none of that is an error of
recognition. Which steps were taken decides a word error rate as much as the recognizer does: they are part of a result.
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

    Invisible format characters go, but for the joiners that spell words of Persian and of Indic scripts.
    """
    kept = []
    for i, c in enumerate(text):
        kind = category(c)
        inner = c == "'" and 0 < i < len(text) - 1 and text[i - 1].isalnum() and text[i + 1].isalnum()
        if kind == "Cf":
            kept.append(c if c in _JOINERS else "")
        else:
            kept.append(" " if kind[0] in "PS" and not inner else c)
    return "".join(kept)


def _without_marks(text: str) -> str:
    return normalize("NFC", "".join(c for c in normalize("NFD", text) if category(c) != "Mn"))


STEPS: dict[str, tuple[Callable[[str], str], str]] = {
    # name -> (what it does to a text, said in words)
    "nfkc": (lambda t: normalize("NFKC", t), "compatibility forms to plain ones (Unicode NFKC): ﬁ to fi, ２ to 2"),
    "lower": (str.casefold, "letter case taken off (Unicode case folding)"),
    "apostrophes": (lambda t: _APOSTROPHES.sub("'", t), "every form of apostrophe to '"),
    "punctuation": (_without_punctuation, "punctuation and symbols to spaces, but for an apostrophe inside a word"),
    "unspaced": (lambda t: " ".join(_text.split(t)), "in scripts without spaces every letter is a word"),
    "brackets": (lambda t: _BRACKETS.sub(" ", t), "what stands in brackets left out: [noise], (laughs), <unk>"),
    "fillers": (lambda t: _FILLERS.sub(" ", t), "hesitations of English left out: uh, um, er, erm, ah, hm, mm"),
    "marks": (_without_marks, "accents and other marks left out: é to e"),
}


def steps(names: Sequence[str]) -> tuple[str, ...]:
    """The same names, known to be steps. Raises ConfigError, which names the nearest step, for others."""
    for name in names:
        if name not in STEPS:
            raise ConfigError("normalise", repr(name), "no such step", suggest(name, STEPS))
    return tuple(names)


def normalised(text: str, names: Sequence[str] = DEFAULT) -> str:
    """`text` after the named steps: words parted by single spaces."""
    for name in names:
        text = STEPS[name][0](text)
    return " ".join(text.split())

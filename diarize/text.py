"""Words to text. Scripts written without spaces (Han, kana, Thai, Lao, Khmer, Myanmar) are joined without them."""

from __future__ import annotations

from collections.abc import Iterable
from unicodedata import category

# Unicode blocks of scripts that put no space between words (Unicode Standard, chapters 16 and 18). Hangul does.
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x312F),  # CJK radicals, punctuation, Hiragana, Katakana, Bopomofo
    (0x31A0, 0x9FFF),  # Bopomofo extended .. CJK unified ideographs
    (0xF900, 0xFAFF),  # CJK compatibility ideographs
    (0xFF00, 0xFFEF),  # full-width forms
    (0x20000, 0x3FFFF),  # CJK extensions
)
_BREAKS = frozenset(("Cc", "Cs", "Zl", "Zp"))  # control, lone surrogate, line and paragraph separator
_CLOSING = frozenset(",.;:!?%)]}»”’…؟،؛।")


def unspaced(character: str) -> bool:
    """True for a character of a script that is written without spaces between words."""
    return any(first <= ord(character) <= last for first, last in _UNSPACED)


def join(words: Iterable[str]) -> str:
    """One line of text: single spaces, none beside an unspaced script, none before closing punctuation.

    Whitespace and control characters inside a word become one space, so that the result is a single line.
    """
    line = ""
    for word in words:
        word = " ".join("".join(" " if category(c) in _BREAKS else c for c in word).split())
        if not word:
            continue
        tight = not line or unspaced(line[-1]) or unspaced(word[0]) or all(c in _CLOSING for c in word)
        line += word if tight else " " + word
    return line

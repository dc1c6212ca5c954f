"""Words to text, and text to words, also in scripts without spaces (Han, kana, Thai, Lao, Khmer, Myanmar); and the
lines and fields of text files.
"""

from __future__ import annotations

import re
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
_TRAILING = frozenset(("Mn", "Mc", "Me", "Cf", "Lm", "Po", "Pe", "Pf"))  # never begin a word of an unspaced script
_OPENING = frozenset(("Ps", "Pi"))  # never end one
_VOWELS_BEFORE = frozenset("เแโใไເແໂໃໄ")  # Thai and Lao vowels that are written before their consonant
_VOWELS_AFTER = frozenset("ะาำๅະາຳ")  # and vowels that are letters of their own after it

_LINE_END = re.compile(r"\r{0,3}\n|\r")
_LINE = re.compile(r"[^\r\n]*(?:\r{0,3}\n|\r)|[^\r\n]+")

# Of nouns that do not just add an s.
_PLURALS = {"person": "people", "enrolled person": "enrolled people", "entry": "entries"}


def counted(number: int, noun: str) -> str:
    """`1 turn`, `2 turns`, `0 people`."""
    return f"{number} {noun if number == 1 else _PLURALS.get(noun, noun + 's')}"


def split_lines(text: str, keep_ends: bool = False) -> list[str]:
    """The lines of a file: they end at CR, LF or CR LF, and nowhere else (`str.splitlines` also breaks at U+2028, NEL,
    form feeds and others, which are characters of the text). `keep_ends`: with their ends, as `csv` needs them.

    Text that was converted twice has CR CR LF, which is one end.
    """
    if keep_ends:
        return _LINE.findall(text)
    lines = _LINE_END.split(text)
    if not lines[-1]:
        lines.pop()
    return lines


def split_fields(line: str) -> list[str]:
    """The fields of a line, separated by spaces and tabs, and by no other white space (`str.split` knows more)."""
    return [field for field in line.replace("\t", " ").split(" ") if field]


def unspaced(character: str) -> bool:
    """True for a character of a script that is written without spaces between words."""
    return character >= "\u0e00" and any(first <= ord(character) <= last for first, last in _UNSPACED)


def join(words: Iterable[str]) -> str:
    """One line of text: single spaces, none beside an unspaced script, none before closing punctuation.

    Whitespace and control characters inside a word become one space, so that the result is a single line.
    """
    line = ""
    for word in words:
        if not word.isprintable():  # fast path: printable words contain none of _BREAKS
            word = "".join(" " if category(c) in _BREAKS else c for c in word)
        word = " ".join(word.split())
        if not word:
            continue
        no_space = not line or unspaced(line[-1]) or unspaced(word[0]) or all(c in _CLOSING for c in word)
        line += word if no_space else " " + word
    return line


def split(text: str) -> list[str]:
    """Text to words: at white space, and in scripts without spaces after every letter with its marks.

    Only white space is removed: `"".join(split(text)) == "".join(text.split())`.
    """
    words: list[str] = []
    for chunk in text.split():
        begin = 0
        for i in range(1, len(chunk)):
            if may_break(chunk[i - 1], chunk[i]):
                words.append(chunk[begin:i])
                begin = i
        words.append(chunk[begin:])
    return words


def may_break(before: str, after: str) -> bool:
    """Whether a word, or a line, may end between two characters without a space between them."""
    if not (unspaced(before) or unspaced(after)):
        return False
    if before in _VOWELS_BEFORE or category(before) in _OPENING or before == "\u200d":
        return False
    return after not in _VOWELS_AFTER and after not in _CLOSING and category(after) not in _TRAILING

"""A text in one or two lines of 42 columns, broken at a sensible place (Netflix, "Timed Text Style Guide: General
Requirements", 1.9, line treatment).

Good places are behind punctuation, then where both lines are about equally long, the lower one rather longer. A short
word at the end of a line is most often an article, a preposition or a conjunction, which belongs to what follows (the
most frequent words are short: Zipf 1949, "Human Behavior and the Principle of Least Effort", chapter 2). In scripts
without spaces a line may end behind any letter; behind hiragana before another script, where most phrases of Japanese
end, it does so rather than inside a word.
"""

from __future__ import annotations

from unicodedata import category, east_asian_width

from diarize.text import may_break, unspaced

COLUMNS = 42  # of a line; two lines
SENTENCE = frozenset(".?!…。？！؟۔।॥")
CLAUSE = frozenset(",;:、，；：،؛—–")
SHORT = 3  # letters of a word that does not like to end a line

# Columns of difference in length that a place is worth.
_PUNCTUATION = -14
_AFTER_SHORT = 9
_INSIDE_PHRASE = 8
_UPPER_LONGER = 2


def count_columns(text: str) -> int:
    """Columns of a text in a font of fixed width (Unicode Standard Annex 11)."""
    return len(text) if text.isascii() else sum(2 if east_asian_width(c) in "WF" else 1 for c in text)


def fits(text: str) -> bool:
    """True if `text` fits into two lines of 42 columns."""
    columns = count_columns(text)
    return columns <= COLUMNS or (columns <= 2 * COLUMNS + 1 and len(break_lines(text)) == 2)


def break_lines(text: str, forbidden: int = 0) -> tuple[str, ...]:
    """One line, or two; one line that is too long if it cannot be broken. No line ends within the first `forbidden`
    characters."""
    total = count_columns(text)
    if total <= COLUMNS:
        return (text,)
    best: tuple[float, str, str] | None = None
    left = 0
    for i, character in enumerate(text):
        if left > COLUMNS:
            break
        if i > forbidden and (character == " " or may_break(text[i - 1], character)):
            first, second = text[:i].rstrip(), text[i:].lstrip()
            right = count_columns(second) if total - left <= COLUMNS + 1 else total
            if first and second and right <= COLUMNS and not second.startswith("["):
                cost = abs(left - right) + _place(first, second) + (_UPPER_LONGER if left > right else 0)
                if best is None or cost < best[0]:
                    best = (cost, first, second)
        left += count_columns(character)
    return (text,) if best is None else best[1:]


def _place(first: str, second: str) -> int:
    """What a break between two texts costs, in columns; less than 0: it is a good place."""
    if first[-1] in SENTENCE or first[-1] in CLAUSE:
        return _PUNCTUATION
    if unspaced(first[-1]):
        ends_phrase = _is_hiragana(first[-1]) and not _is_hiragana(second[0])
        return 0 if ends_phrase else _INSIDE_PHRASE
    return _AFTER_SHORT if ends_with_short_word(first) else 0


def ends_with_short_word(text: str) -> bool:
    """Whether the last word has one to three letters and nothing else."""
    word = text.rsplit(" ", 1)[-1]
    return 0 < len(word) <= SHORT and all(category(c)[0] in "LM" for c in word) and not unspaced(word[0])


def _is_hiragana(character: str) -> bool:
    return "\u3041" <= character <= "\u309f"

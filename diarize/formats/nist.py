"""What the formats of NIST share: lines of fields (RTTM, UEM, CTM, STM), and words in CTM and STM.

NIST SCTK, "sclite input formats": `;;` begins a comment. Of words, `{ a / b }` are alternatives, `@` is not a word, a
leading `<...>` is a label, and IGNORE_TIME_SEGMENT_IN_SCORING hides a segment. Such text is escaped with % and two
digits; any other text, also `50%`, is not changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from diarize.text import split_fields, split_lines

_ESCAPES = re.compile("%(25|3C|40|49|69|7B|7D)")
_IGNORE = "ignore_time_segment_in_scoring"
_GAPS = ("inter_segment_gap", "intersegment_gap", "excluded_region")  # SCTK's chfilt.pl and stm2rttm.pl


def read_lines(text: str, where: str) -> Iterator[tuple[str, list[str], str]]:
    """(place in messages, fields, line) of each line that is not empty and no comment."""
    for number, line in enumerate(split_lines(text), 1):
        fields = split_fields(line.lstrip("\ufeff"))  # at the start of each file, where several were joined
        if fields and not fields[0].startswith(";;"):
            yield f"{where}:{number}", fields, line


def is_ignored(words: Sequence[str]) -> bool:
    """True for the text of an STM segment whose time is not to be scored; sclite accepts other words beside."""
    return any(word.casefold() in (_IGNORE, "ignoretimesegmentinscoring") for word in words)


def is_gap(fields: Sequence[str]) -> bool:
    """True for an STM segment in which nobody talks: its third field is `inter_segment_gap` or `excluded_region`."""
    return fields[2].casefold().removeprefix(f"{fields[0]}_{fields[1]}_".casefold()) in _GAPS


def escape(word: str) -> str:
    """A word without white space, as written in a file."""
    safe = _ESCAPES.sub(r"%25\1", word).replace("{", "%7B").replace("}", "%7D")
    if safe == "@" or safe.startswith("<") or safe.casefold() == _IGNORE:
        safe = f"%{ord(safe[0]):02X}{safe[1:]}"
    return safe


def unescape(word: str) -> str:
    return _ESCAPES.sub(lambda code: chr(int(code[1], 16)), word)

"""Text as CTM and STM bear it: words parted by spaces, among which sclite gives some a meaning of their own.

NIST SCTK, "sclite input formats": `{ a / b }` are alternatives, `@` is no word, a leading `<...>` is a label, and
IGNORE_TIME_SEGMENT_IN_SCORING hides a segment. Text that looks so is escaped with % and two digits; any other text,
`50%` too, stays as it is.
"""

from __future__ import annotations

import re

_ESCAPES = re.compile("%(25|3C|40|49|69|7B|7D)")
_IGNORE = "ignore_time_segment_in_scoring"


def escape(word: str) -> str:
    """A word without white space, as it stands in a file."""
    safe = _ESCAPES.sub(r"%25\1", word).replace("{", "%7B").replace("}", "%7D")
    if safe == "@" or safe.startswith("<") or safe.casefold() == _IGNORE:
        safe = f"%{ord(safe[0]):02X}{safe[1:]}"
    return safe


def unescape(word: str) -> str:
    return _ESCAPES.sub(lambda code: chr(int(code[1], 16)), word)

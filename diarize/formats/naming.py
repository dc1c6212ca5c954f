"""Names that are safe in a format. A speaker may be called `NA`, `Anna Maria`, `a --> b`, or have an empty name.

`to_token` makes an id for formats whose fields are separated by spaces (RTTM, UEM, CTM, STM): two ids never share a
token, an id always has the same one, and `from_token` reverses it. `make_labels` and `visible` are for human readers.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from unicodedata import normalize
from urllib.parse import quote, unquote

from diarize.text import join
from diarize.types import Transcript

NOBODY = "<NA>"  # the speaker of nobody in formats that require one; no id has this token ("<" is escaped)
_UNKNOWN = "?"  # the label of nobody
_EMPTY = "%"  # token of the empty id; no other token has a % without two digits after it
_LONGEST = 100  # characters of a token: field buffers of scorers written in C are small
_SHORTENED = 80  # characters of a longer one before "~" and 16 digits of its sha256

# Readers built on pandas read these as a missing value (pandas.read_csv, na_values); the last two have a meaning in
# sclite.
_RESERVED = frozenset(("na", "nan", "-nan", "null", "none", "inter_segment_gap", "excluded_region"))
# Explicit directional embeddings, overrides and isolates (Unicode Standard Annex 9, 2.1 to 2.4): they change the
# direction of the text around them.
_DIRECTIONAL = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)))

_NOT_XML = re.compile("[\ud800-\udfff\ufffe\uffff]")  # XML 1.0, 2.2, Char; labels have no control characters


def to_token(name: str) -> str:
    """A name as printable ASCII without spaces: percent-encoded UTF-8 (RFC 3986, 2.1), at most 100 characters.

    A longer one is cut and ends in `~` and a digest; only the `speakers` format maps it back to the name.
    """
    if not name:
        return _EMPTY
    safe = quote(name, safe="", errors="surrogatepass").replace("~", "%7E")
    if safe.casefold() in _RESERVED:
        safe = f"%{ord(safe[0]):02X}{safe[1:]}"
    if len(safe) > _LONGEST:
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        safe = f"{safe[:_SHORTENED]}~{digest[:16]}"
    return safe


def from_token(token: str) -> str:
    """The name of a token; a text that is not a token of this project (`100%` of another tool) is itself the name."""
    if token == _EMPTY:
        return ""
    try:
        name = unquote(token, errors="surrogatepass")
    except UnicodeDecodeError:
        return token
    return name if to_token(name) == token else token


def encodable(text: str) -> str:
    """The same text without lone surrogates, which UTF-8 cannot encode: each becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def visible(text: str) -> str:
    """One line without control characters and without changes of the writing direction."""
    return join([text.translate(_DIRECTIONAL)])


def shorten(name: str, longest: int = 32) -> str:
    """A name for readers: one line of at most `longest` characters, without square brackets (SRT uses them)."""
    line = visible(name).replace("[", "(").replace("]", ")")
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def make_labels(transcript: Transcript) -> dict[str | None, str]:
    """Speaker id -> label for readers; two speakers never have the same one, even if they share a name.

    Nobody (None) is `?`. Shared names are followed by the id: `Anna (S1)`, `Anna (S2)`.
    """
    names = {speaker.id: shorten(speaker.label) or "(no name)" for speaker in transcript.speakers}
    count = Counter(_appearance(name) for name in names.values())
    count[_appearance(_UNKNOWN)] += 1
    labels: dict[str | None, str] = {None: _UNKNOWN}
    used = set(count)
    for id, name in names.items():
        label = name
        if count[_appearance(name)] > 1:
            label = f"{shorten(name, 16)} ({shorten(id, 12)})"
            number = 2
            while _appearance(label) in used:
                label, number = f"{shorten(name, 16)} ({number})", number + 1
            used.add(_appearance(label))
        labels[id] = label
    return labels


def _appearance(label: str) -> str:
    """The same value for labels that a reader cannot distinguish (compatibility forms, letter case, spaces, and what
    XML cannot hold)."""
    return re.sub(r"\s+", " ", normalize("NFKC", _NOT_XML.sub("\ufffd", label))).casefold()

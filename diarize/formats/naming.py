"""Names as formats can bear them. A speaker may be called `NA`, `Anna Maria`, `a --> b` or nothing at all.

`token` makes an id for the formats whose fields are parted by spaces (RTTM, UEM, CTM, STM): no two ids share a token,
an id always has the same one, and `plain` gives the id back. `labels` and `visible` are for what people read.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from unicodedata import normalize
from urllib.parse import quote, unquote

from diarize.text import join
from diarize.types import Transcript

NOBODY = "<NA>"  # stands where a format wants a speaker and there is none; no id has this token ("<" is escaped)
_UNKNOWN = "?"  # what people are shown for nobody
_EMPTY = "%"  # token of the empty id; no other token has a % without two digits after it
_LONGEST = 100  # characters of a token: field buffers of scorers written in C are small
_SHORTENED = 80  # characters kept of a longer one, before "~" and 16 digits of its sha256

# Readers built on pandas take these for a missing value (pandas.read_csv, na_values), and sclite takes the last two for
# segments of its own.
_RESERVED = frozenset(("na", "nan", "-nan", "null", "none", "inter_segment_gap", "excluded_region"))
# Explicit directional embeddings, overrides and isolates (Unicode Standard Annex 9, 2.1 to 2.4): they turn the text
# around them.
_DIRECTIONAL = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)))


def token(name: str) -> str:
    """A name as printable ASCII without spaces: percent-encoded UTF-8 (RFC 3986, 2.1), at most 100 characters.

    A longer one is cut and ends in `~` and a digest; it cannot be turned back, the `speakers` format maps it.
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


def plain(token_: str) -> str:
    """The name behind a token; what is not a token of ours (another tool's `100%`) is itself the name."""
    if token_ == _EMPTY:
        return ""
    try:
        name = unquote(token_, errors="surrogatepass")
    except UnicodeDecodeError:
        return token_
    return name if token(name) == token_ else token_


def encodable(text: str) -> str:
    """The same text without lone surrogates, which no file can hold: each becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def visible(text: str) -> str:
    """One line that cannot disturb what stands around it: no control characters, no turning of the direction."""
    return join([text.translate(_DIRECTIONAL)])


def shown(name: str, longest: int = 32) -> str:
    """A name as people see it: one line of at most `longest` characters, without square brackets (SRT uses them)."""
    line = visible(name).replace("[", "(").replace("]", ")")
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def labels(transcript: Transcript) -> dict[str | None, str]:
    """Speaker id -> what people are shown; never the same for two speakers, also where two people share a name.

    Nobody (None) is `?`. Who shares a name has the id beside it: `Anna (S1)`, `Anna (S2)`.
    """
    wanted = {speaker.id: shown(speaker.label) or "(no name)" for speaker in transcript.speakers}
    count = Counter(_alike(label) for label in wanted.values())
    count[_alike(_UNKNOWN)] += 1
    chosen: dict[str | None, str] = {None: _UNKNOWN}
    taken = set(count)
    for id, label in wanted.items():
        if count[_alike(label)] > 1:
            label = f"{shown(label, 16)} ({shown(id, 12)})"
            number = 2
            while _alike(label) in taken:
                label, number = f"{shown(wanted[id], 16)} ({number})", number + 1
            taken.add(_alike(label))
        chosen[id] = label
    return chosen


def _alike(label: str) -> str:
    """What two labels share that a reader could not tell apart (compatibility forms, letter case, spaces)."""
    return re.sub(r"\s+", " ", normalize("NFKC", label)).casefold()

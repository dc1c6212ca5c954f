"""Strict JSON: valid UTF-8 for any string, and no NaN or Infinity."""

from __future__ import annotations

import json
import re
from typing import Any

from diarize.errors import FormatError

_LONE = re.compile("[\ud800-\udfff]")  # half a surrogate pair, as in file names with undecodable bytes


def dump_json(value: Any, where: str) -> str:
    """One line of JSON, keys in the order given. Raises FormatError for a value that JSON cannot hold.

    Lone surrogates are escaped (RFC 8259, 7). Two that form a pair are one character when they are read back.
    """
    try:
        line = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise FormatError(where, f"a value cannot be written as JSON ({error})") from error
    return _LONE.sub(lambda half: f"\\u{ord(half.group()):04x}", line)


def parse_json(text: str, where: str, foreign: bool = False) -> Any:
    """The value of a JSON text. Raises FormatError, with line and column, if it is not JSON.

    NaN and Infinity, which Python's parser accepts, are refused, as they are not JSON; in `foreign` files, where other
    tools write them for what they do not know, they are None.
    """
    try:
        return json.loads(text, parse_constant=_ignore if foreign else _refuse)
    except json.JSONDecodeError as error:
        raise FormatError(f"{where}:{error.lineno}", f"not JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise FormatError(where, f"not valid JSON: {error}") from None


def _ignore(constant: str) -> None:
    return None


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a JSON number")

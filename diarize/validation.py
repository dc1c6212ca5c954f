"""What is wrong with a value of the settings, in plain words: pydantic's messages name its own types."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

_KINDS = {  # the beginning of pydantic's name of an error -> what is wanted
    "int": "a whole number",
    "float": "a number",
    "finite_number": "a finite number",
    "bool": "true or false",
    "string": "a text",
    "tuple": 'a list, as ["srt", "rttm"]',
    "list": "a list",
}
_BOUNDS = {
    "greater_than_equal": "at least",
    "greater_than": "above",
    "less_than_equal": "at most",
    "less_than": "below",
}
SEE = "See: diarize config show"


def explain(error: ValidationError, model: type[BaseModel]) -> tuple[str, str, str]:
    """(dotted key, problem, cure) of the first error of a `model` of sections. The problem of a wrong value begins with
    "must be", so that it can follow the name of the setting.
    """
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    key, kind = ".".join(path) or "settings", first["type"]
    if kind == "extra_forbidden":
        return key, *_unknown(path, first["input"], model)
    if kind == "value_error":  # the message of a section's rule has the values
        return key, first["msg"].removeprefix("Value error, "), SEE
    wanted = _wanted(kind, first.get("ctx", {}), first["input"], key, model)
    if wanted is None:
        return key, f"{first['msg']} (got {first['input']!r})", SEE
    choices = re.findall(r"'([^']*)'", str(first.get("ctx", {}).get("expected", "")))
    close = difflib.get_close_matches(str(first["input"]).casefold(), choices, n=1)
    return key, f"must be {wanted}, not {show(first['input'])}", f"Did you mean {close[0]}?" if close else SEE


def show(value: Any) -> str:
    """A value as a settings file has it: texts in double quotes."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):  # a number too long to be shown, or a circle
        return "this value"
    return text if len(text) <= 60 else f"{text[:60]}..."


def suggestion(name: str, known: Sequence[str], others: str = "Known") -> str:
    """ "Did you mean ...?" where one of the names is similar, else all of them."""
    close = difflib.get_close_matches(name.casefold(), known, n=1)
    return f"Did you mean {close[0]}?" if close else f"{others}: {', '.join(known)}"


def _wanted(kind: str, context: Mapping[str, Any], value: Any, key: str, model: type[BaseModel]) -> str | None:
    """What a setting takes, or None where pydantic says it best."""
    if kind in _BOUNDS:
        return f"{_BOUNDS[kind]} {next(iter(context.values())):g}"
    if kind == "literal_error":
        return f"one of {str(context['expected']).replace(chr(39), chr(34)).replace(' or ', ', ')}"
    if kind == "string_pattern_mismatch" and key == "audio.channel":
        return "auto, mix, per-channel, or the number of a channel, as 0"
    if kind == "string_pattern_mismatch" and key == "asr.language":
        return "a code of two or three letters, as en"
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return f"a section, [{key}]"
    return next((text for prefix, text in _KINDS.items() if kind.startswith(prefix)), None)


def _unknown(path: Sequence[str], value: Any, model: type[BaseModel]) -> tuple[str, str]:
    """(problem, cure) of a key that no section has."""
    sections = {name: kind for name in model.model_fields if (kind := _section(model, name)) is not None}
    everywhere = [name for name in model.model_fields if name not in sections]
    everywhere += [f"{section}.{name}" for section, kind in sections.items() for name in kind.model_fields]
    if len(path) == 1 and isinstance(value, Mapping):
        cure = suggestion(f"[{path[0]}]", [f"[{name}]" for name in sections], "Sections")
        return "no such section", cure
    inside = sections.get(path[0])
    names = [f"{path[0]}.{name}" for name in inside.model_fields] if inside is not None else everywhere
    same = [key for key in everywhere if key.rpartition(".")[2] == path[-1]]  # in another section
    if len(same) == 1:
        return "no such setting", f"Did you mean {same[0]}?"
    return "no such setting", suggestion(".".join(path), names)


def _section(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    kind = model.model_fields[name].annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None

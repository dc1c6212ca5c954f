"""Values of foreign JSON. A value that is missing or of another type is an error, never an empty text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeGuard

from diarize.errors import FormatError
from diarize.formats.timed_text import TimedText, parse_time

_DURATION = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?")


def objects(value: Any, where: str, what: str) -> list[dict[str, Any]]:
    """A list of objects. Raises FormatError for anything else."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise FormatError(where, f"{what} is not a list of objects: {_shown(value)}")
    return value


def is_objects(value: Any) -> TypeGuard[list[dict[str, Any]]]:
    """True for a list of objects."""
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def text_of(item: dict[str, Any], key: str, where: str) -> str:
    """The text under `key`. Raises FormatError where there is none."""
    value = item.get(key)
    if not isinstance(value, str):
        raise FormatError(where, f"{key} is not a text: {_shown(item.get(key, item))}")
    return value


def best(item: dict[str, Any], key: str, where: str) -> dict[str, Any] | None:
    """The first of the alternatives under `key`; None for an empty list. Raises FormatError for anything else."""
    alternatives = objects(item.get(key), where, key)
    return alternatives[0] if alternatives else None


def speaker_of(value: Any) -> str | None:
    """A speaker's label: a text that is not empty, or a number; else None."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def scaled(value: Any, unit: float) -> float | None:
    """A number of units of `unit` seconds, in seconds; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return parse_time(value * unit)
    except OverflowError:
        return None


def duration(value: Any) -> float | None:
    """An ISO 8601 duration (`PT1M2.5S`) in seconds; None for anything else."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None or not any(match.groups()):
        return None
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return parse_time(hours * 3600 + minutes * 60 + seconds)


def language_of(value: Any) -> str | None:
    """The language of a tag such as `en-US` or `en_us`; None where there is none."""
    return re.split("[-_]", value)[0].lower() or None if isinstance(value, str) else None


def channel_speaker(channel: int | str, speaker: str | None, several: bool) -> str | None:
    """The speaker of a word of one of `several` channels: the channel, and the label within it, if there is one."""
    if not several:
        return speaker
    name = f"CHANNEL_{channel}"
    return name if speaker is None else f"{name} {speaker}"


def by_time(texts: Iterable[TimedText]) -> list[TimedText]:
    """The texts of several channels by start, in their order; one without a start follows the one before it."""
    keyed, latest = [], 0.0
    for text in texts:
        latest = latest if text.start is None else text.start
        keyed.append((latest, text))
    return [text for _, text in sorted(keyed, key=lambda pair: pair[0])]


def attach(words: list[TimedText], mark: str) -> bool:
    """Add a punctuation mark to the last word; False where there is none."""
    if not words:
        return False
    words[-1] = replace(words[-1], text=words[-1].text + mark)
    return True


def require_times(texts: Sequence[TimedText], content: Any, where: str) -> None:
    """Raises FormatError where the service wrote a text, but no words or segments with times."""
    if not texts and isinstance(content, str) and content.strip():
        raise FormatError(where, f"has a text, but no words with times: {_shown(content)}", "Request times of words.")


def _shown(value: Any) -> str:
    return repr(str(value)[:40])

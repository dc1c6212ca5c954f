"""Speechmatics, `GET /v2/jobs/{id}/transcript?format=json-v2`.

    {"format": "2.9", "metadata": {"transcription_config": {"language"}},
     "results": [{"type": "word", "start_time", "end_time", "channel", "alternatives": [{"content", "confidence",
                  "speaker", "language"}]},
                 {"type": "punctuation", "attaches_to": "previous", "alternatives": [...]}]}

The speaker `UU` is an unknown one. Results of the type `entity` are written as a whole.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from diarize.formats.foreign import attach, best, by_time, is_objects, language_of, objects, speaker_of, text_of
from diarize.formats.timed_text import TimedText, parse_probability, parse_time

_TYPES = ("word", "punctuation", "entity", "speaker_change")
_UNKNOWN = "UU"


def fits(value: Any) -> bool:
    """True for results with types of this service, or none and a version of its format."""
    results = value.get("results") if isinstance(value, dict) else None
    if not is_objects(results):
        return False
    return (bool(results) and results[0].get("type") in _TYPES) or (not results and "format" in value)


def parse(value: Any, where: str) -> tuple[list[TimedText], str | None]:
    """The words, with punctuation attached as the service says."""
    words: dict[str | None, list[TimedText]] = {}  # by channel
    prefix = ""
    for item in objects(value["results"], where, "results"):
        alternative = None if item.get("type") == "speaker_change" else best(item, "alternatives", where)
        if alternative is None:
            continue
        content, channel = text_of(alternative, "content", where), speaker_of(item.get("channel"))
        own = words.setdefault(channel, [])
        side = item.get("attaches_to", "previous" if item.get("type") == "punctuation" else "none")
        if side in ("previous", "both") and attach(own, content):
            continue
        if side in ("next", "both"):
            prefix += content
            continue
        speaker = speaker_of(alternative.get("speaker"))
        word = TimedText(
            prefix + content,
            parse_time(item.get("start_time")),
            parse_time(item.get("end_time")),
            channel if speaker in (None, _UNKNOWN) else speaker,
            parse_probability(alternative.get("confidence")),
            word=item.get("type") == "word",
        )
        own.append(word)
        prefix = ""
    if prefix and (last := next(iter(words.values()), [])):
        last[-1] = replace(last[-1], text=last[-1].text + prefix)
    texts = [word for own in words.values() for word in own]
    return by_time(texts) if len(words) > 1 else texts, _language(value)


def _language(value: dict[str, Any]) -> str | None:
    metadata = value.get("metadata")
    config = metadata.get("transcription_config") if isinstance(metadata, dict) else None
    language = language_of(config.get("language")) if isinstance(config, dict) else None
    return None if language in ("auto", "multi") else language

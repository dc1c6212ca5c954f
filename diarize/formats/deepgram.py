"""Deepgram, `POST /v1/listen` of a recording.

{"metadata": {"duration", "channels"},
 "results": {"channels": [{"detected_language", "alternatives": [{"transcript", "words": [
                 {"word", "punctuated_word", "start", "end", "confidence", "speaker"}]}]}],
             "utterances": [{"start", "end", "channel", "transcript", "speaker", "words": [...]}]}}
"""

from __future__ import annotations

from typing import Any

from diarize.formats.foreign import (
    best,
    by_time,
    channel_speaker,
    is_objects,
    language_of,
    objects,
    require_times,
    speaker_of,
    text_of,
)
from diarize.formats.timed_text import TimedText, parse_probability, parse_time


def fits(value: Any) -> bool:
    """True for results by channel."""
    results = value.get("results") if isinstance(value, dict) else None
    return isinstance(results, dict) and is_objects(results.get("channels"))


def parse(value: Any, where: str) -> tuple[list[TimedText], str | None]:
    """The words of the first alternative of every channel, with punctuation where the service wrote it."""
    channels = objects(value["results"]["channels"], where, "channels")
    texts: list[TimedText] = []
    language: str | None = None
    for number, channel in enumerate(channels):
        alternative = best(channel, "alternatives", where)
        if alternative is None:
            continue
        words = objects(alternative.get("words") or [], where, "words")
        own = [_timed(word, where, number, len(channels) > 1) for word in words]
        require_times(own, alternative.get("transcript"), where)
        texts += own
        language = language or language_of(channel.get("detected_language"))
    return by_time(texts), language


def _timed(item: dict[str, Any], where: str, channel: int, several: bool) -> TimedText:
    return TimedText(
        text_of(item, "punctuated_word" if item.get("punctuated_word") else "word", where),
        parse_time(item.get("start")),
        parse_time(item.get("end")),
        channel_speaker(channel, speaker_of(item.get("speaker")), several),
        parse_probability(item.get("confidence")),
        word=True,
    )

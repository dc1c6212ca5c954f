"""Azure Speech: the file of a batch transcription (ticks of 100 ns), and the response of fast transcription (ms).

{"source", "durationInTicks", "recognizedPhrases": [{"recognitionStatus", "channel", "speaker", "offsetInTicks",
  "durationInTicks", "offset": "PT0.36S", "duration", "locale", "nBest": [{"confidence", "display", "words": [{"word",
  "offsetInTicks", "durationInTicks", "confidence"}], "displayWords": [{"displayText", ...}]}]}]}
{"durationMilliseconds", "combinedPhrases", "phrases": [{"channel", "speaker", "offsetMilliseconds",
  "durationMilliseconds", "text", "locale", "confidence", "words": [{"text", "offsetMilliseconds", ...}]}]}
"""

from __future__ import annotations

from typing import Any

from diarize.formats.foreign import (
    best,
    by_time,
    channel_speaker,
    duration,
    language_of,
    objects,
    scaled,
    speaker_of,
    text_of,
)
from diarize.formats.timed_text import TimedText, parse_probability

_TICK, _MILLISECOND = 1e-7, 1e-3


def fits(value: Any) -> bool:
    """True for either file."""
    return isinstance(value, dict) and ("recognizedPhrases" in value or {"combinedPhrases", "phrases"} <= set(value))


def parse(value: Any, where: str) -> tuple[list[TimedText], str | None]:
    """The phrases with their words, by start. A phrase that was not recognized has no text."""
    batch = "recognizedPhrases" in value
    phrases = objects(value["recognizedPhrases" if batch else "phrases"], where, "phrases")
    several = len({phrase.get("channel") for phrase in phrases if isinstance(phrase.get("channel"), int)}) > 1
    texts: list[TimedText] = []
    for phrase in phrases:
        source = best(phrase, "nBest", where) if batch and "nBest" in phrase else phrase
        if source is None or (batch and phrase.get("recognitionStatus", "Success") != "Success"):
            continue
        speaker = channel_speaker(str(phrase.get("channel")), speaker_of(phrase.get("speaker")), several)
        text = text_of(source, "display" if batch and "display" in source else "lexical" if batch else "text", where)
        key, words = ("displayText", source.get("displayWords")) if batch else ("text", source.get("words"))
        if batch and not words:
            key, words = "word", source.get("words")
        start, end = _times(phrase)
        confidence = parse_probability(source.get("confidence"))
        own = [_word(word, key, where) for word in objects(words or [], where, "words")]
        texts.append(TimedText(text, start, end, speaker, confidence, words=tuple(own)))
    return by_time(texts), next((tag for phrase in phrases if (tag := language_of(phrase.get("locale")))), None)


def _word(item: dict[str, Any], key: str, where: str) -> TimedText:
    start, end = _times(item)
    confidence = parse_probability(item.get("confidence"))
    return TimedText(text_of(item, key, where), start, end, None, confidence, word=True)


def _times(item: dict[str, Any]) -> tuple[float | None, float | None]:
    """Start and end, from the first of ticks, milliseconds and ISO durations that the item has."""
    for offset, length in (
        (scaled(item.get("offsetInTicks"), _TICK), scaled(item.get("durationInTicks"), _TICK)),
        (scaled(item.get("offsetMilliseconds"), _MILLISECOND), scaled(item.get("durationMilliseconds"), _MILLISECOND)),
        (duration(item.get("offset")), duration(item.get("duration"))),
    ):
        if offset is not None:
            return offset, None if length is None else offset + length
    return None, None

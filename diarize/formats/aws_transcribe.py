"""AWS Transcribe, the file of a batch job. Times and confidences are strings.

    {"jobName", "status", "results": {"transcripts": [{"transcript"}], "language_code",
     "items": [{"type": "pronunciation", "start_time", "end_time", "speaker_label", "channel_label",
                "alternatives": [{"confidence", "content"}]},
               {"type": "punctuation", "alternatives": [...]}],
     "speaker_labels": {"segments": [{"items": [{"start_time", "end_time", "speaker_label"}]}]},
     "channel_labels": {"channels": [{"channel_label", "items": [...]}]}}}

Older files have speakers in `speaker_labels` only.
"""

from __future__ import annotations

from typing import Any

from diarize.formats.foreign import (
    attach,
    best,
    by_time,
    language_of,
    objects,
    require_times,
    speaker_of,
    text_of,
)
from diarize.formats.timed_text import TimedText, parse_probability, parse_time

_Key = tuple[Any, Any]  # (start, end) of a word, as in the file


def fits(value: Any) -> bool:
    """True for results with transcripts, and items or channels."""
    results = value.get("results") if isinstance(value, dict) else None
    return (
        isinstance(results, dict) and "transcripts" in results and ("items" in results or "channel_labels" in results)
    )


def parse(value: Any, where: str) -> tuple[list[TimedText], str | None]:
    """The words, each with the punctuation after it."""
    results = value["results"]
    speakers = _speakers(results.get("speaker_labels"), where)
    labels = results.get("channel_labels")
    channels = objects(labels.get("channels") or [], where, "channels") if isinstance(labels, dict) else []
    lists = [channel.get("items") for channel in channels] or [results.get("items")]
    texts: list[TimedText] = []
    for items in lists:
        own: list[TimedText] = []
        for item in objects(items, where, "items"):
            _add(own, item, speakers, where)
        texts += own
    transcripts = objects(results["transcripts"], where, "transcripts")
    require_times(texts, " ".join(str(item.get("transcript", "")) for item in transcripts), where)
    return by_time(texts) if channels else texts, language_of(results.get("language_code"))


def _add(words: list[TimedText], item: dict[str, Any], speakers: dict[_Key, str | None], where: str) -> None:
    alternative = best(item, "alternatives", where)
    content = "" if alternative is None else text_of(alternative, "content", where)
    if not content or alternative is None or (item.get("type") == "punctuation" and attach(words, content)):
        return
    start, end = item.get("start_time"), item.get("end_time")
    speaker = speaker_of(item.get("speaker_label")) or speakers.get((str(start), str(end)))
    channel = speaker_of(item.get("channel_label"))
    if speaker is None and channel is not None:
        speaker = "CHANNEL_" + channel.removeprefix("ch_")
    confidence = parse_probability(alternative.get("confidence"))
    words.append(TimedText(content, parse_time(start), parse_time(end), speaker, confidence, word=True))


def _speakers(labels: Any, where: str) -> dict[_Key, str | None]:
    """(start, end) of a word -> its speaker."""
    segments = objects(labels.get("segments") or [], where, "segments") if isinstance(labels, dict) else []
    return {
        (str(item.get("start_time")), str(item.get("end_time"))): speaker_of(item.get("speaker_label"))
        for segment in segments
        for item in objects(segment.get("items") or [], where, "items")
    }

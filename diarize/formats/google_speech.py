"""Google Cloud Speech-to-Text v1, v1p1beta1 and v2: responses, operations, and files of batch recognition.

    {"results": [{"alternatives": [{"transcript", "confidence", "words": [{"startTime": "1.300s", "endTime", "word",
                  "speakerTag": 1, "speakerLabel": "1"}]}], "channelTag": 1, "resultEndTime", "languageCode"}]}

v2 writes `startOffset`, `endOffset` and `resultEndOffset`; an operation has the same in `response`; client libraries
write names with underscores. With speakers, v1 repeats all words, with speakers, in the last result.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from diarize.formats.foreign import (
    best,
    by_time,
    channel_speaker,
    is_objects,
    language_of,
    objects,
    scaled,
    speaker_of,
    text_of,
)
from diarize.formats.timed_text import TimedText, parse_probability, parse_time

_NANOSECOND = 1e-9
_SECONDS = re.compile(r"-?\d+(?:\.\d+)?s?")


def fits(value: Any) -> bool:
    """True for results with alternatives that have a transcript or words."""
    results = _results(value)
    if not is_objects(results):
        return False
    lists = (item.get("alternatives") for item in results)
    first = next((alternatives[0] for alternatives in lists if is_objects(alternatives) and alternatives), None)
    if first is None:
        return isinstance(value, dict) and ("totalBilledTime" in value or "response" in value)
    return "transcript" in first or is_objects(first.get("words"))


def parse(value: Any, where: str) -> tuple[list[TimedText], str | None]:
    """The words of the best alternatives; of a result without words its transcript."""
    results = objects(_results(value), where, "results")
    spoken = [(result, _words(result, where)) for result in results]
    labelled = [bool(words) and all(word.speaker is not None for word in words) for _, words in spoken]
    if len(spoken) > 1 and labelled[-1] and not any(labelled[:-1]):
        spoken = spoken[-1:]
    channels = {_key(result, "channelTag") for result, _ in spoken}
    texts: list[TimedText] = []
    ends: dict[Any, float | None] = {}  # channel -> end of its last result
    for result, words in spoken:
        channel = _key(result, "channelTag")
        end = _time(_key(result, "resultEndTime", "resultEndOffset"))
        who = channel_speaker(int(channel) - 1 if isinstance(channel, int) else 0, None, len(channels) > 1)
        alternative = best(result, "alternatives", where) if result.get("alternatives") else None
        if words:
            texts += [word if who is None else _labelled(word, who) for word in words]
        elif alternative is not None and (text := str(alternative.get("transcript") or "")).strip():
            texts.append(TimedText(text, ends.get(channel, 0.0) if end is not None else None, end, who))
        ends[channel] = end
    language = next((tag for result in results if (tag := language_of(_key(result, "languageCode")))), None)
    return by_time(texts) if len(channels) > 1 else texts, language


def _results(value: Any) -> Any:
    """The list of results, wherever the response has it."""
    for _ in range(4):  # an operation, a file of a batch, its transcript
        if not isinstance(value, dict):
            return None
        results = value.get("results", value.get("response", value.get("transcript")))
        if isinstance(results, dict) and "results" in value and len(results) == 1:
            results = next(iter(results.values()))  # by address of the recording
        if not isinstance(results, dict):
            return results
        value = results
    return None


def _words(result: dict[str, Any], where: str) -> list[TimedText]:
    alternative = best(result, "alternatives", where) if result.get("alternatives") else None
    items = objects(alternative.get("words") or [], where, "words") if alternative is not None else []
    return [
        TimedText(
            text_of(item, "word", where),
            _time(_key(item, "startTime", "startOffset")),
            _time(_key(item, "endTime", "endOffset")),
            _speaker(item),
            parse_probability(item.get("confidence") or None),  # 0: not set
            word=True,
        )
        for item in items
    ]


def _labelled(word: TimedText, channel: str) -> TimedText:
    return replace(word, speaker=channel if word.speaker is None else f"{channel} {word.speaker}")


def _speaker(item: dict[str, Any]) -> str | None:
    label = speaker_of(_key(item, "speakerLabel"))
    tag = _key(item, "speakerTag")
    return label or (speaker_of(tag) if tag else None)  # 0: not set


def _key(item: dict[str, Any], *names: str) -> Any:
    """The value under the first of the names, also written with underscores; None where there is none."""
    for name in names:
        for key in (name, re.sub("([A-Z])", lambda capital: "_" + capital[1].lower(), name)):
            if item.get(key) is not None:
                return item[key]
    return None


def _time(value: Any) -> float | None:
    """`"1.300s"`, a number of seconds, or {"seconds", "nanos"}; None for anything else."""
    if isinstance(value, dict):
        seconds, nanos = scaled(value.get("seconds", 0), 1), scaled(value.get("nanos", 0), _NANOSECOND)
        return None if seconds is None or nanos is None else parse_time(seconds + nanos)
    if isinstance(value, str):
        return parse_time(value.removesuffix("s")) if _SECONDS.fullmatch(value) else None
    return parse_time(value)

"""The JSON of Whisper and similar recognizers, recognised by shape.

| written by | shape |
|---|---|
| openai-whisper, whisper-timestamped | {"segments": [{"start", "end", "text", "words": [...]}]} |
| OpenAI's API | the same, or {"words": [...]} beside the segments |
| whisperX | also {"word_segments": [...]}; words without times; "speaker" on segments and words |
| faster-whisper, written by a script | [{"start", "end", "text", "words": [...]}], or a list of words |
| whisper.cpp (`-oj`, `-ojf`) | {"transcription": [{"offsets": {"from", "to"}, "text", "tokens": [...]}]}, in ms |
| transformers | {"chunks": [{"timestamp": [start, end], "text"}]} |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from diarize.errors import FormatError
from diarize.formats.timed_text import TimedText, parse_probability, parse_time
from diarize.types import least_probability

_SPECIAL = re.compile(r"\[_[^\]]*\]|<\|[^|]*\|>")  # tokens of whisper.cpp and Whisper that are not text


def parse(value: Any, where: str) -> tuple[list[TimedText], str | None]:
    """The segments, and the language. Raises FormatError if the shape is not a known one."""
    if isinstance(value, list):
        return _segments(value, where), None
    if not isinstance(value, dict):
        raise FormatError(where, "is neither an object nor a list")
    language = value.get("language")
    if isinstance(value.get("transcription"), list):
        result = value.get("result")
        language = result.get("language") if isinstance(result, dict) else None
        segments = [_cpp(item, where) for item in value["transcription"]]
    elif isinstance(value.get("chunks"), list):
        segments = [_chunk(item, where) for item in value["chunks"]]
    else:
        segments = _finest(value, where)
    return segments, language if isinstance(language, str) and language else None


def _finest(value: Mapping[str, Any], where: str) -> list[TimedText]:
    """The list with times of single words, if there is one, else the segments."""
    segments = _segments(value["segments"], where) if isinstance(value.get("segments"), list) else []
    if any(segment.words for segment in segments):
        return segments
    for key in ("words", "word_segments"):
        if isinstance(value.get(key), list) and value[key]:
            return _segments(value[key], where)
    if not any(isinstance(value.get(key), list) for key in ("segments", "words", "word_segments")):
        raise FormatError(
            where,
            "its JSON is not that of a known recognizer",
            "Known: Whisper, whisperX, faster-whisper, whisper.cpp, transformers, SegLST, transcript.json.",
        )
    return segments


def _segments(items: list[Any], where: str) -> list[TimedText]:
    return [_segment(item, where) for item in items]


def _segment(item: Any, where: str) -> TimedText:
    """A segment or a word: {"start", "end", "text" or "word", "words"?, "speaker"?, a confidence?}."""
    if not isinstance(item, dict):
        raise FormatError(where, f"a segment or word is an object, not {str(item)[:40]!r}")
    single = "word" in item
    text = item.get("word") if single else item.get("text", "")
    if not isinstance(text, str):
        raise FormatError(where, f"a text is not a string: {str(text)[:40]!r}")
    inner = item.get("words")
    score = next((item[key] for key in ("probability", "score", "confidence", "p") if key in item), None)
    speaker = item.get("speaker")
    return TimedText(
        text,
        parse_time(item.get("start")),
        parse_time(item.get("end")),
        speaker if isinstance(speaker, str) else None,
        parse_probability(score) if single or inner is None else 1.0,
        single or (inner is None and "confidence" in item and " " not in text.strip()),
        tuple(_segments(inner, where)) if isinstance(inner, list) and not single else (),
    )


def _chunk(item: Any, where: str) -> TimedText:
    times = item.get("timestamp") if isinstance(item, dict) else None
    if not isinstance(times, list) or len(times) != 2 or not isinstance(item.get("text"), str):
        raise FormatError(where, f"a chunk is an object with text and a timestamp, not {str(item)[:40]!r}")
    return TimedText(item["text"], parse_time(times[0]), parse_time(times[1]))


def _cpp(item: Any, where: str) -> TimedText:
    """A segment of whisper.cpp. Its tokens are parts of words; the first one of a word begins with a space."""
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        raise FormatError(where, f"a segment is an object with a text, not {str(item)[:40]!r}")
    start, end = _offsets(item)
    words: list[TimedText] = []
    tokens = item.get("tokens")
    for token in tokens if isinstance(tokens, list) else []:
        text = token.get("text") if isinstance(token, dict) else None
        if not isinstance(text, str) or _SPECIAL.fullmatch(text.strip()) or not text:
            continue
        since, until = _offsets(token)
        score = parse_probability(token.get("p"))
        if words and not text[0].isspace():
            before = words[-1]
            words[-1] = replace(
                before,
                text=before.text + text,
                end=before.end if until is None else until,
                probability=least_probability(before.probability, score),
            )
        else:
            words.append(TimedText(text, since, until, None, score, word=True))
    text = "".join(word.text for word in words)
    complete = "".join(text.split()) == "".join(item["text"].split())
    return TimedText(item["text"], start, end, words=tuple(words) if complete else ())


def _offsets(item: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Seconds from {"offsets": {"from": ms, "to": ms}}, else from the clock times beside it."""
    offsets, clocks = item.get("offsets"), item.get("timestamps")
    if isinstance(offsets, dict):
        start, end = parse_time(offsets.get("from")), parse_time(offsets.get("to"))
        return None if start is None else start / 1000, None if end is None else end / 1000
    if isinstance(clocks, dict):
        return parse_time(clocks.get("from")), parse_time(clocks.get("to"))
    return None, None

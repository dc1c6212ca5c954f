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
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from diarize.errors import FormatError
from diarize.formats import services
from diarize.formats.foreign import speaker_of
from diarize.formats.timed_text import TimedText, parse_probability, parse_time
from diarize.types import least_probability

_TOOLS = ("Whisper", "whisperX", "faster-whisper", "whisper.cpp", "transformers", "SegLST")
KNOWN = ", ".join((*_TOOLS, *services.SERVICES))

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
        _require_segments(segments, value, where)
    else:
        segments = _finest(value, where)
        _require_segments(segments, value, where)
    return segments, language if isinstance(language, str) and language else None


def _finest(value: Mapping[str, Any], where: str) -> list[TimedText]:
    """The list with times of single words, if there is one, else the segments."""
    lists = {key: value[key] for key in ("segments", "words", "word_segments") if value.get(key) is not None}
    if not lists or not all(isinstance(items, list) for items in lists.values()):
        raise FormatError(where, "its JSON is not that of a known recognizer", f"Known: {KNOWN}, transcript.json.")
    segments = _segments(lists.get("segments", []), where)
    if any(segment.words for segment in segments):
        return segments
    items = lists.get("words") or lists.get("word_segments")
    return _segments(items, where) if items else segments


def _require_segments(segments: Sequence[TimedText], value: Mapping[str, Any], where: str) -> None:
    """Raises FormatError where the file has a text, but nothing of it in its lists."""
    text = value.get("text")
    has_words = any(segment.text.strip() or segment.words for segment in segments)
    if not has_words and isinstance(text, str) and text.strip():
        raise FormatError(where, f"has a text, but no segments or words with times: {text[:40]!r}")


def _segments(items: list[Any], where: str) -> list[TimedText]:
    return [_segment(item, where) for item in items]


def _segment(item: Any, where: str) -> TimedText:
    """A segment or a word: {"start", "end", "text" or "word", "words"?, "speaker"?, a confidence?}."""
    if not isinstance(item, dict):
        raise FormatError(where, f"a segment or word is an object, not {str(item)[:40]!r}")
    single, inner = "word" in item, item.get("words")
    if inner is not None and not isinstance(inner, list):
        raise FormatError(where, f"the words of a segment are not a list: {str(inner)[:40]!r}")
    if not single and "text" not in item and not inner:
        raise FormatError(where, f"a segment or word has no text: {str(item)[:40]!r}")
    text = item.get("word" if single else "text", "")
    if not isinstance(text, str):
        raise FormatError(where, f"a text is not a string: {str(text)[:40]!r}")
    score = next((item[key] for key in ("probability", "score", "confidence", "p") if key in item), None)
    return TimedText(
        text,
        parse_time(item.get("start")),
        parse_time(item.get("end")),
        speaker_of(item.get("speaker")),
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
    complete = "".join("".join(word.text for word in words).split()) == "".join(item["text"].split())
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

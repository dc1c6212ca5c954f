"""AssemblyAI, `GET /v2/transcript/{id}`: times in milliseconds.

{"id", "status": "completed", "text", "language_code", "audio_duration",
 "words": [{"text", "start", "end", "confidence", "speaker"}],
 "utterances": [{"speaker", "start", "end", "text", "words": [...]}] or null}
"""

from __future__ import annotations

from typing import Any

from diarize.errors import FormatError
from diarize.formats.foreign import is_objects, language_of, objects, require_times, scaled, speaker_of, text_of
from diarize.formats.timed_text import TimedText, parse_probability

_MILLISECOND = 1e-3
_OWN = ("audio_url", "audio_duration", "utterances", "acoustic_model", "speech_model")
_STATES = ("queued", "processing", "completed", "error")


def fits(value: Any) -> bool:
    """True for the service's response: its own keys, or a state, beside words with a text."""
    if not isinstance(value, dict) or "segments" in value or "results" in value:
        return False
    words = value.get("words")
    if is_objects(words) and words and not {"text", "start", "end"} <= set(words[0]):
        return False
    has_state = value.get("status") in _STATES and "id" in value
    return has_state or ("words" in value and any(key in value for key in _OWN))


def parse(value: Any, where: str) -> tuple[list[TimedText], str | None]:
    """The words, else the utterances. Raises FormatError for a transcript that failed or is not complete."""
    status = value.get("status", "completed")
    if status != "completed":
        problem = str(value.get("error") or "the transcript is not complete")[:200]
        raise FormatError(where, f"AssemblyAI's status is {status!r}: {problem}", "Download it when it is completed.")
    words = objects(value.get("words") or [], where, "words")
    utterances = objects(value.get("utterances") or [], where, "utterances")
    texts = [_timed(item, where, word=bool(words)) for item in words or utterances]
    require_times(texts, value.get("text"), where)
    return texts, language_of(value.get("language_code"))


def _timed(item: dict[str, Any], where: str, word: bool) -> TimedText:
    return TimedText(
        text_of(item, "text", where),
        scaled(item.get("start"), _MILLISECOND),
        scaled(item.get("end"), _MILLISECOND),
        speaker_of(item.get("speaker")),
        parse_probability(item.get("confidence")),
        word,
    )

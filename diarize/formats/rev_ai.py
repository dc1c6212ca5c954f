"""Rev.ai, `GET /speechtotext/v1/jobs/{id}/transcript`, and the JSON of rev.com, which has names and clock times.

    {"monologues": [{"speaker": 0, "elements": [{"type": "text", "value", "ts", "end_ts", "confidence"},
                                                {"type": "punct", "value": ", "}]}],
     "speakers": [{"id": 0, "name": "Anna"}]}

Elements of type `unknown` are sounds without text.
"""

from __future__ import annotations

from typing import Any

from diarize.errors import FormatError
from diarize.formats.foreign import attach, objects, speaker_of, text_of
from diarize.formats.timed_text import TimedText, parse_probability, parse_time


def fits(value: Any) -> bool:
    """True for monologues."""
    return isinstance(value, dict) and "monologues" in value


def parse(value: Any, where: str) -> tuple[list[TimedText], str | None]:
    """The words, each with the punctuation after it. Rev.ai does not write the language."""
    speakers = value.get("speakers")
    listed = objects(speakers, where, "speakers") if speakers else []
    names = {speaker_of(item.get("id")): speaker_of(item.get("name")) for item in listed}
    texts: list[TimedText] = []
    for monologue in objects(value["monologues"], where, "monologues"):
        label = speaker_of(monologue.get("speaker"))
        own: list[TimedText] = []
        for item in objects(monologue.get("elements"), where, "elements"):
            _add(own, item, names.get(label) or label, where)
        texts += own
    return texts, None


def _add(words: list[TimedText], item: dict[str, Any], speaker: str | None, where: str) -> None:
    kind, content = item.get("type"), text_of(item, "value", where).strip()
    if kind not in ("text", "punct", "unknown"):
        raise FormatError(where, f"an element of the type {str(kind)[:40]!r}")
    if kind == "unknown" or not content or (kind == "punct" and attach(words, content)):
        return
    start, end = (parse_time(item.get(f"{side}ts", item.get(f"{side}timestamp"))) for side in ("", "end_"))
    words.append(TimedText(content, start, end, speaker, parse_probability(item.get("confidence")), word=True))

"""The words of another recognizer, from a file of any kind that has them with times: Whisper's JSON in its dialects
(see `whisper_json`), SRT, WebVTT, CTM, SegLST, and this project's own `transcript.json`.

The kind is told by what is in the file; the name decides only where the file is empty. Times that are missing or
impossible get the ones that `repair` finds. No text is left out; styles, notes and cue numbers are no text.
"""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

from diarize import files
from diarize.errors import FormatError
from diarize.formats import ctm, repair, seglst, srt, transcript_json, vtt, whisper_json
from diarize.formats.cues import timing
from diarize.formats.entries import Entry, seconds
from diarize.formats.jsontext import parse
from diarize.types import Word

_KINDS = "Known: Whisper, whisperX, whisper.cpp and SegLST JSON, transcript.json, SRT, WebVTT, CTM."
_EMPTY = (".srt", ".vtt", ".ctm")  # kinds of which an empty file says that nobody spoke

_BOMS = (  # the four-byte marks first: that of UTF-32 little-endian begins like that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read(path: Path) -> tuple[tuple[Word, ...], str | None]:
    """The words of a file, in its order, with times in seconds and the speakers it names; and the language, if it says.

    Raises FormatError where the file cannot be read, is of no known kind, or has words without any time.
    """
    return loads(decode(files.read(path), str(path)), str(path), path.stem)


def decode(data: bytes, where: str) -> str:
    """UTF-8, or what the byte order mark says. Raises FormatError, with line and byte: no encoding is guessed."""
    encoding = next((name for mark, name in _BOMS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem = f"byte {error.start} (0x{data[error.start]:02x}) is not {encoding.removesuffix('-sig').upper()}"
        raise FormatError(f"{where}:{line}", problem, "Save the file as UTF-8.") from None


def loads(text: str, where: str, recording: str = "") -> tuple[tuple[Word, ...], str | None]:
    """Like `read`, of a text. `recording` chooses where a file tells of several."""
    text = text.removeprefix("\ufeff")
    head = text.lstrip()
    if head.startswith("WEBVTT"):
        return repair.repaired(vtt.entries(text), where), None
    if head.startswith(("{", "[")) and not _looks_timed(text):
        return _json(parse(text, where), text, where, recording)
    if _looks_timed(text):
        return repair.repaired(srt.entries(text), where), None
    if _looks_like_ctm(head):
        return repair.repaired(_one(ctm.entries(text, where), where, recording), where), None
    if not head and where.lower().endswith(_EMPTY):
        return (), None
    raise FormatError(where, "is empty" if not head else "is of no known kind", _KINDS)


def _looks_timed(text: str) -> bool:
    """Whether a line among the first ones is the timing line of a cue."""
    return any(timing(line) is not None for line in text[:4000].splitlines())


def _looks_like_ctm(text: str) -> bool:
    lines = (line.split() for line in text.splitlines() if not line.startswith(";;"))
    fields = next((fields for fields in lines if fields), [])
    return 5 <= len(fields) <= 8 and any(seconds(field) is not None for field in fields[2:4])


def _json(value: Any, text: str, where: str, recording: str) -> tuple[tuple[Word, ...], str | None]:
    if isinstance(value, dict) and "schema" in value:
        transcript = transcript_json.loads(text, where)
        return transcript.words, transcript.language
    if isinstance(value, list) and value and isinstance(value[0], dict) and "session_id" in value[0]:
        return repair.repaired(_one(seglst.entries(value, where), where, recording), where), None
    entries, language = whisper_json.entries(value, where)
    return repair.repaired(entries, where), language


def _one(found: dict[str, list[Entry]], where: str, recording: str) -> list[Entry]:
    """The entries of the only recording, or of the one that is asked for. Raises FormatError where it is not clear."""
    if len(found) > 1 and recording not in found:
        several = ", ".join(repr(name) for name in list(found)[:5])
        raise FormatError(
            where,
            f"tells of {len(found)} recordings ({several}), and none of them is {recording!r}",
            "Give a file of one recording, or name the file after it.",
        )
    return found.get(recording, []) if len(found) > 1 else next(iter(found.values()), [])

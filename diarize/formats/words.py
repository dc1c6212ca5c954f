"""The words of another recognizer, from a file with times: Whisper's JSON in its variants (see `whisper_json`), JSON of
transcription services (see `services`), SRT, WebVTT, CTM, SegLST, and this project's own `transcript.json`.

The content decides the kind of the file; the name matters only if the file is empty. `repair` replaces missing and
impossible times. No text is left out; styles, notes and cue numbers are not text.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diarize import files
from diarize.errors import FormatError
from diarize.formats import captions, ctm, repair, seglst, services, srt, transcript_json, vtt, whisper_json
from diarize.formats.jsontext import parse_json
from diarize.formats.timed_text import TimedText, parse_time
from diarize.formats.timing_lines import SourceCue, parse_timing, without_marks
from diarize.text import split_fields, split_lines
from diarize.types import Word

_KINDS = f"Known: {whisper_json.KNOWN} (all JSON), transcript.json, SRT, WebVTT, CTM."
_EMPTY = (".srt", ".vtt", ".ctm")  # kinds of which an empty file means that nobody spoke

_BOMS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class ForeignWords:
    """The words of a file, in its order, with times in seconds and its speakers; the language, if it is in the file;
    and notes on what was left out or changed."""

    words: tuple[Word, ...]
    language: str | None = None
    notes: tuple[str, ...] = ()


def read(path: Path) -> tuple[tuple[Word, ...], str | None]:
    """The words of a file and the language, as `read_file`."""
    content = read_file(path)
    return content.words, content.language


def read_file(path: Path, names_in_text: bool = True) -> ForeignWords:
    """The words of a file. `names_in_text`: whether names before a colon in subtitles are speakers (`captions`).

    Raises FormatError where the file cannot be read, is of no known kind, or has words without any time.
    """
    return parse(decode(files.read(path), str(path)), str(path), path.stem, names_in_text)


def decode(data: bytes, where: str) -> str:
    """UTF-8, or the encoding of the byte order mark. Raises FormatError, with line and byte: no encoding is guessed."""
    encoding = next((name for mark, name in _BOMS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem = f"byte {error.start} (0x{data[error.start]:02x}) is not {encoding.removesuffix('-sig').upper()}"
        raise FormatError(f"{where}:{line}", problem, "Save the file as UTF-8.") from None


def loads(text: str, where: str, recording: str = "") -> tuple[tuple[Word, ...], str | None]:
    """As `read`, of a text. `recording` selects one if the file has several."""
    content = parse(text, where, recording)
    return content.words, content.language


def parse(text: str, where: str, recording: str = "", names_in_text: bool = True) -> ForeignWords:
    """As `read_file`, of a text. `recording` selects one if the file has several."""
    text = text.removeprefix("\ufeff")
    head = without_marks(text[:1000]).lstrip()
    if head.startswith("WEBVTT"):
        return _captions(*vtt.read_cues(text, where), where, names_in_text)
    has_timing_line = _has_timing_line(text)
    if head.startswith(("{", "[")) and not has_timing_line:
        return _json(parse_json(text, where, foreign=True), text, where, recording)
    if has_timing_line:
        return _captions(*srt.read_cues(text, where), where, names_in_text)
    if _looks_like_ctm(text):
        texts, notes = captions.without_sound_tokens(_select(ctm.parse(text, where), where, recording))
        return ForeignWords(repair.repair_times(texts, where), None, notes)
    if not head and where.lower().endswith(_EMPTY):
        return ForeignWords(())
    raise FormatError(where, "is empty" if not head else "is not of a known kind", _KINDS)


def _captions(cues: list[SourceCue], notes: tuple[str, ...], where: str, names_in_text: bool) -> ForeignWords:
    if notes and not cues:
        raise FormatError(where, f"has no cue: {notes[0]}", _KINDS)
    texts, more = captions.clean([cue.parts for cue in cues], names_in_text)
    return ForeignWords(repair.repair_times(texts, where), None, (*notes, *more))


def _has_timing_line(text: str) -> bool:
    """Whether one of the first lines is the timing line of a cue."""
    return any(parse_timing(line) is not None for line in split_lines(text[:4000]))


def _looks_like_ctm(text: str) -> bool:
    lines = (split_fields(line) for line in split_lines(text) if not line.startswith(";;"))
    fields = next((fields for fields in lines if fields), [])
    return 5 <= len(fields) <= 8 and any(parse_time(field) is not None for field in fields[2:4])


def _json(value: Any, text: str, where: str, recording: str) -> ForeignWords:
    if isinstance(value, dict) and "schema" in value:
        transcript = transcript_json.loads(text, where)
        return ForeignWords(transcript.words, transcript.language)
    if isinstance(value, list) and value and isinstance(value[0], dict) and "session_id" in value[0]:
        return ForeignWords(repair.repair_times(_select(seglst.parse(value, where), where, recording), where))
    if (parse_response := services.find(value)) is not None:
        entries, language = parse_response(value, where)
        return ForeignWords(repair.repair_times(entries, where), language)
    entries, language = whisper_json.parse(value, where)
    texts, notes = captions.clean_segments(entries)
    return ForeignWords(repair.repair_times(texts, where), language, notes)


def _select(recordings: dict[str, list[TimedText]], where: str, recording: str) -> list[TimedText]:
    """The texts of the only recording, or of the one called `recording`. Raises FormatError if neither exists."""
    if len(recordings) > 1 and recording not in recordings:
        several = ", ".join(repr(name) for name in list(recordings)[:5])
        raise FormatError(
            where,
            f"has {len(recordings)} recordings ({several}), and none of them is {recording!r}",
            "Use a file of one recording, or name the file after the recording.",
        )
    return recordings.get(recording, []) if len(recordings) > 1 else next(iter(recordings.values()), [])

"""A transcript as text: name -> (module, file suffix, description). One module for each format, imported when used.

Every module has `dumps(transcript) -> str`, or `encode(transcript) -> bytes` where the file is no text; those that can
be read back have `loads(text, where)` too. Modules of subtitles take `ExportOptions` as their second argument.
`diarize.formats.words` reads the words of other recognizers.
"""

from __future__ import annotations

import codecs
from importlib import import_module

from diarize.errors import ConfigError, suggest
from diarize.formats.options import DEFAULT, ExportOptions
from diarize.types import Transcript

FORMATS: dict[str, tuple[str, str, str]] = {
    "json": (
        "diarize.formats.transcript_json",
        ".json",
        "the whole transcript, exactly; the source of all other formats",
    ),
    "txt": ("diarize.formats.txt", ".txt", "a line an utterance, for reading"),
    "srt": ("diarize.formats.srt", ".srt", "SubRip subtitles"),
    "vtt": ("diarize.formats.vtt", ".vtt", "WebVTT subtitles with voice tags"),
    "rttm": ("diarize.formats.rttm", ".rttm", "who spoke when (NIST RT-09)"),
    "uem": ("diarize.formats.uem", ".uem", "the parts of the recording that were decoded (NIST)"),
    "csv": ("diarize.formats.csv", ".csv", "a row a turn, for spreadsheets"),
    "wordcsv": ("diarize.formats.word_csv", ".words.csv", "a row a word, for spreadsheets"),
    "ctm": ("diarize.formats.ctm", ".ctm", "a line a word (NIST sclite)"),
    "rtctm": ("diarize.formats.rt_ctm", ".speakers.ctm", "a line a word with its speaker (NIST RT-09)"),
    "stm": ("diarize.formats.stm", ".stm", "a line a turn with its text (NIST sclite)"),
    "seglst": ("diarize.formats.seglst", ".seglst.json", "segment list (CHiME-7, MeetEval)"),
    "speakers": (
        "diarize.formats.speakers",
        ".speakers.json",
        "the ids of RTTM, STM and SegLST, with the names of the speakers",
    ),
    "textgrid": ("diarize.formats.textgrid", ".TextGrid", "tiers of turns and words, for Praat"),
    "eaf": ("diarize.formats.eaf", ".eaf", "tiers of turns and words, for ELAN"),
    "audacity": ("diarize.formats.audacity", ".labels.txt", "a label a turn, for Audacity"),
    "labelstudio": ("diarize.formats.labelstudio", ".labelstudio.json", "a region a turn, for Label Studio"),
    "docx": ("diarize.formats.docx", ".docx", "minutes for Word and LibreOffice"),
    "md": ("diarize.formats.minutes", ".md", "minutes in Markdown, with time stamps of analysis programs"),
    "html": ("diarize.formats.html", ".html", "a page for reading, in one file"),
    "otr": ("diarize.formats.otr", ".otr", "a text with time stamps, for oTranscribe"),
}

BINARY = frozenset(("docx",))  # files that are no text
SUBTITLES = frozenset(("srt", "vtt"))
WITH_OPTIONS = SUBTITLES | {"docx", "md"}


def names() -> tuple[str, ...]:
    """The names of all formats."""
    return tuple(FORMATS)


def dumps(format: str, transcript: Transcript, options: ExportOptions = DEFAULT) -> str:
    """`transcript` in a format. Raises ConfigError for an unknown name, and for a format that is no text."""
    module = import_module(_entry(format)[0])
    if format in BINARY:
        raise ConfigError("formats", repr(format), "is not a text", "Use formats.encode.")
    text: str = module.dumps(transcript, options) if format in WITH_OPTIONS else module.dumps(transcript)
    return text


def encode(format: str, transcript: Transcript, options: ExportOptions = DEFAULT) -> bytes:
    """The file, as bytes. Raises ConfigError for an unknown name, and MissingExtra."""
    if format in BINARY:
        data: bytes = import_module(_entry(format)[0]).encode(transcript, options)
        return data
    mark = codecs.BOM_UTF8 if options.byte_order_mark and suffix(format).endswith(".csv") else b""
    return mark + dumps(format, transcript, options).encode()


def choices(format: str, options: ExportOptions) -> dict[str, str | bool]:
    """Those of `options` that change a file of this format; {} where it is the same as with the defaults."""
    fields: tuple[str, ...] = ()
    if format in SUBTITLES:
        fields = ("one_speaker_a_cue",)
    elif suffix(format).endswith(".csv"):
        fields = ("byte_order_mark",)
    elif format in WITH_OPTIONS:
        fields = ("table", "title", "date") if format == "docx" else ("title", "date")
    return {name: getattr(options, name) for name in fields if getattr(options, name) != getattr(DEFAULT, name)}


def variants(format: str) -> tuple[ExportOptions, ...]:
    """Options that give different files of this format, the default first; titles and dates may be any."""
    if format in SUBTITLES:
        return DEFAULT, ExportOptions(one_speaker_a_cue=True)
    if suffix(format).endswith(".csv"):
        return DEFAULT, ExportOptions(byte_order_mark=True)
    if format == "docx":
        return DEFAULT, ExportOptions(table=True)
    return (DEFAULT,)


def remarks(format: str, transcript: Transcript, options: ExportOptions = DEFAULT) -> tuple[str, ...]:
    """Which rules of the format the transcript does not let it keep."""
    if format not in SUBTITLES:
        return ()
    notes: tuple[str, ...] = import_module(_entry(format)[0]).remarks(transcript, options)
    return notes


def by_suffix(name: str) -> str | None:
    """The format of a file with this name; None for none. `.seglst.json` is looked for before `.json`."""
    matches = [format for format in FORMATS if name.lower().endswith(suffix(format).lower())]
    return max(matches, key=lambda format: len(suffix(format)), default=None)


def suffix(format: str) -> str:
    """The suffix of files of this format, with its dot. Raises ConfigError for an unknown name."""
    return _entry(format)[1]


def _entry(format: str) -> tuple[str, str, str]:
    if format in FORMATS:
        return FORMATS[format]
    raise ConfigError("formats", repr(format), "no such format", suggest(format.lower().removeprefix("."), FORMATS))

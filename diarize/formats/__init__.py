"""A transcript as text: name -> (module, file suffix, description). One module for each format, imported when used.

Every module has `dumps(transcript) -> str`; those that can be read back have `loads(text, where)` too.
`diarize.formats.words` reads the words of other recognizers.
"""

from __future__ import annotations

from importlib import import_module

from diarize.errors import ConfigError, suggest
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
    "ctm": ("diarize.formats.ctm", ".ctm", "a line a word (NIST sclite)"),
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
    "md": ("diarize.formats.minutes", ".md", "minutes in Markdown, with time stamps of analysis programs"),
    "html": ("diarize.formats.html", ".html", "a page for reading, in one file"),
    "otr": ("diarize.formats.otr", ".otr", "a text with time stamps, for oTranscribe"),
}


def names() -> tuple[str, ...]:
    """The names of all formats."""
    return tuple(FORMATS)


def dumps(format: str, transcript: Transcript) -> str:
    """`transcript` in the format called `format`. Raises ConfigError for an unknown name."""
    module = import_module(_entry(format)[0])
    text: str = module.dumps(transcript)
    return text


def suffix(format: str) -> str:
    """The suffix of files of this format, with its dot. Raises ConfigError for an unknown name."""
    return _entry(format)[1]


def _entry(format: str) -> tuple[str, str, str]:
    if format in FORMATS:
        return FORMATS[format]
    raise ConfigError("formats", repr(format), "no such format", suggest(format.lower().removeprefix("."), FORMATS))

"""What `diarize.process` returns: a transcript with its exports."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from diarize import files, formats, types
from diarize.config import OutputConfig
from diarize.errors import ConfigError, MissingExtra, OutputError
from diarize.formats.seglst import dumps as seglst_text
from diarize.text import counted
from pipelines.api.keywords import AnyPath, path_of
from pipelines.inputs.folders import is_folder
from pipelines.results import outputs, tables

if TYPE_CHECKING:
    import pandas
    from pyannote.core import Annotation


class Transcript(types.Transcript):
    """Who said what, when, in one recording: `diarize.types.Transcript`, with every format as a method.

    `turns`, `words`, `speakers` (their ids and names), `duration` (s), `language`, `lost` (spans that could not be
    decoded) and `provenance` are plain, immutable values. Times are seconds.

    >>> import diarize
    >>> talk = diarize.from_seglst([
    ...     {"session_id": "talk", "speaker": "Anna", "start_time": 0.0, "end_time": 1.5, "words": "Hello, you."},
    ...     {"session_id": "talk", "speaker": "Ben", "start_time": 1.2, "end_time": 3.0, "words": "Hi!"},
    ... ])
    >>> talk
    <Transcript 'talk': 3.0 s, 2 speakers, 2 turns, 3 words>
    >>> for turn in talk.turns:
    ...     print(turn.start, turn.end, turn.speaker)
    0.0 1.5 Anna
    1.2 3.0 Ben
    >>> print(talk.to_rttm(), end="")
    SPEAKER talk 1 0.000 1.500 <NA> <NA> Anna <NA> <NA>
    SPEAKER talk 1 1.200 1.800 <NA> <NA> Ben <NA> <NA>
    >>> talk.to_dataframe()[["start", "duration", "speaker", "text"]]
       start  duration speaker         text
    0    0.0       1.5    Anna  Hello, you.
    1    1.2       1.8     Ben          Hi!
    """

    __slots__ = ()

    @classmethod
    def of(cls, transcript: types.Transcript) -> Self:
        """The same transcript, with the methods of this class."""
        return cls(**{field.name: getattr(transcript, field.name) for field in fields(transcript)})

    def __repr__(self) -> str:
        counts = ", ".join(
            counted(len(values), noun)
            for values, noun in ((self.speakers, "speaker"), (self.turns, "turn"), (self.words, "word"))
        )
        notes = f"; {counted(len(self.notes), 'note')}: see .notes" if self.notes else ""
        return f"<Transcript {self.recording!r}: {self.duration:.1f} s, {counts}{notes}>"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know: damage to the recording, what was replaced or left out, and how to do better."""
        source = self.provenance.source
        return (*(source.notes if source is not None else ()), *self.provenance.notes)

    def to_json(self) -> str:
        """`transcript.json`, to the byte as `diarize process` writes it: everything, exactly (`diarize.read`)."""
        return formats.dumps("json", self)

    def to_txt(self) -> str:
        """One line an utterance, for reading."""
        return formats.dumps("txt", self)

    def to_srt(self) -> str:
        """SubRip subtitles."""
        return formats.dumps("srt", self)

    def to_vtt(self) -> str:
        """WebVTT subtitles with voice tags."""
        return formats.dumps("vtt", self)

    def to_rttm(self) -> str:
        """RTTM of NIST RT-09: who spoke when, with ids that hold no spaces (see docs/formats.md)."""
        return formats.dumps("rttm", self)

    def to_uem(self) -> str:
        """UEM: the parts of the recording that could be decoded."""
        return formats.dumps("uem", self)

    def to_csv(self) -> str:
        """One row a turn, safe to open in a spreadsheet."""
        return formats.dumps("csv", self)

    def to_ctm(self) -> str:
        """CTM of sclite: one line a word."""
        return formats.dumps("ctm", self)

    def to_stm(self) -> str:
        """STM of sclite: one line a turn, with its text."""
        return formats.dumps("stm", self)

    def to_textgrid(self) -> str:
        """Praat TextGrid: a tier of turns and one of words for each speaker."""
        return formats.dumps("textgrid", self)

    def to_eaf(self) -> str:
        """ELAN: a tier of turns and one of words for each speaker."""
        return formats.dumps("eaf", self)

    def to_audacity(self) -> str:
        """Audacity labels, one a turn."""
        return formats.dumps("audacity", self)

    def to_labelstudio(self) -> str:
        """A task of Label Studio, one region a turn."""
        return formats.dumps("labelstudio", self)

    def to_wordcsv(self) -> str:
        """One row a word, safe to open in a spreadsheet."""
        return formats.dumps("wordcsv", self)

    def to_rtctm(self) -> str:
        """CTM of RT-09: one line a word, with its speaker."""
        return formats.dumps("rtctm", self)

    def to_docx(self) -> bytes:
        """Minutes for Word and LibreOffice. Raises MissingExtra without python-docx."""
        return formats.encode("docx", self)

    def to_md(self) -> str:
        """Minutes in Markdown."""
        return formats.dumps("md", self)

    def to_html(self) -> str:
        """A page for reading, in one file."""
        return formats.dumps("html", self)

    def to_otr(self) -> str:
        """A text with time stamps, for oTranscribe."""
        return formats.dumps("otr", self)

    def to_seglst(self) -> list[dict[str, Any]]:
        """MeetEval's SegLST: one dict a turn, with session_id, speaker, start_time and end_time (s), and words.

        Ids are those of RTTM; `diarize.from_seglst` gives the names back. `meeteval.io.SegLST(...)` takes the list.
        """
        segments: list[dict[str, Any]] = json.loads(seglst_text(self))
        return segments

    def to_dataframe(self, words: bool = False) -> pandas.DataFrame:
        """One row a turn: recording, start, end, duration (s), speaker, name, text; as `timeline.csv` has them.

        With `words` one row a word: recording, start, end (s), text, probability, speaker, name. A missing
        speaker or name is `pandas.NA`, a missing probability NaN.
        """
        return tables.words([self]) if words else tables.timeline([self])

    def to_annotation(self) -> Annotation:
        """The turns as a `pyannote.core.Annotation`: its uri is the recording, its labels are the ids of the speakers.

        For names: `annotation.rename_labels({s.id: s.label for s in result.speakers})`. Raises MissingExtra where
        pyannote.core is not installed.
        """
        try:
            from pyannote import core
        except ImportError as error:
            raise MissingExtra("pyannote.core", "evaluate") from error
        annotation = core.Annotation(uri=self.recording)
        for number, turn in enumerate(self.turns):
            annotation[core.Segment(turn.start, turn.end), number] = turn.speaker
        return annotation

    def save(self, path: AnyPath) -> Path:
        """Write one format, named by the suffix of `path`; into a folder, all that `diarize process` writes of it.

        A folder is one that exists, or a path that ends in a slash. Corrections in it are applied to its exports. A
        file appears under its name when it is complete, and replaces an earlier one. Returns the path.
        Raises ConfigError for a suffix of no format, OutputError.
        """
        place = path_of(path, "save")
        if is_folder(place) or os.fspath(path).endswith(("/", os.sep)):
            circumstances = outputs.describe_circumstances(datetime.now(UTC), {}, self.duration)
            outputs.write(place, self, OutputConfig().formats, circumstances)
            return place
        content = formats.encode(_format_of(place), self)
        if not is_folder(place.parent):
            raise OutputError(str(place), f"there is no folder {place.parent}", "Make it first, or choose another one.")
        files.write(place, content)
        return place


def _format_of(path: Path) -> str:
    """The name of the format that a file's suffix asks for. Raises ConfigError."""
    if (format := formats.by_suffix(path.name)) is not None:
        return format
    suffixes = [formats.suffix(name) for name in formats.names()]
    problem = "names no format by its suffix"
    raise ConfigError("save", path.name, problem, f"Known: {', '.join(suffixes)}; or name a folder that exists.")

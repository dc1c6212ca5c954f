"""The tables of a run: every turn of every recording (timeline), and the sums of each speaker (speakers).

Only one transcript is in memory at a time and rows are written in blocks, so that memory does not grow with the run.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diarize import files
from diarize.errors import FormatError
from diarize.formats.csv import guard, guard_optional, unguard, unguard_optional
from diarize.formats.naming import encodable
from diarize.formats.segments import text_segments
from diarize.formats.times import round_transcript
from diarize.timeline import total
from diarize.types import Transcript
from diarize.units import round_time

if TYPE_CHECKING:
    import pandas
    import pyarrow

NAMES = ("timeline.csv", "timeline.parquet", "speakers.csv")  # of the files
TIMELINE = {
    "recording": "string",
    "start": "float64",
    "end": "float64",
    "duration": "float64",
    "speaker": "string",
    "name": "string",
    "text": "string",
}
SPEAKERS = {
    "recording": "string",
    "speaker": "string",
    "name": "string",
    "seconds": "float64",
    "share": "float64",
    "turns": "int64",
    "words": "int64",
}
WORDS = {
    "recording": "string",
    "start": "float64",
    "end": "float64",
    "text": "string",
    "probability": "float64",
    "speaker": "string",
    "name": "string",
}
_OPTIONAL = ("speaker", "name")
_BLOCK = 50_000  # rows in memory before they are written: some tens of megabytes


def timeline(transcripts: Iterable[Transcript]) -> pandas.DataFrame:
    """One row a turn: recording, start, end, duration (s), speaker, name, text.

    Recordings are in the order of `transcripts`, the turns of each by start. Words outside all turns have rows too;
    their speaker is missing (`pandas.NA`) where they have none.
    """
    return _frame([row for transcript in transcripts for row in _timeline(round_transcript(transcript))], TIMELINE)


def speakers(transcripts: Iterable[Transcript]) -> pandas.DataFrame:
    """One row a speaker of a recording: recording, speaker, name, seconds, share, turns, words.

    `seconds` is the time in which the speaker talks (their own overlapping turns count once), `share` its part of the
    sum over the speakers of the recording, in [0, 1]. Words without a speaker have a row whose speaker is missing.
    """
    return _frame([row for transcript in transcripts for row in _speakers(round_transcript(transcript))], SPEAKERS)


def words(transcripts: Iterable[Transcript]) -> pandas.DataFrame:
    """One row a word: recording, start, end (s), text, probability, speaker, name; in the order of the transcripts.

    The speaker is missing (`pandas.NA`) where the word has none.
    """
    return _frame([row for transcript in transcripts for row in _words(round_transcript(transcript))], WORDS)


def preload() -> None:
    """Import what `write` needs: that takes a tenth of a second, and costs nothing while recordings are processed."""
    import pyarrow.parquet  # noqa: F401


def write(out: Path, transcripts: Iterable[Transcript], rename: Callable[[str], str] = str) -> None:
    """Write `timeline.csv`, `timeline.parquet` and `speakers.csv` into `out`, each completely or not at all.

    `rename` gives the names of the files of a part of a run.

    Reads `transcripts` once; the same ones give the same bytes. Cells of the CSV files are guarded against formulas
    (see `diarize.formats.csv`), those of the Parquet file are exact. Raises OutputError.
    """
    import pyarrow.parquet

    with ExitStack() as stack:
        sheet, parquet, summary = (stack.enter_context(files.replacing(out / rename(name))) for name in NAMES)
        schema = pyarrow.schema([(name, _arrow(kind)) for name, kind in TIMELINE.items()])
        columns = stack.enter_context(pyarrow.parquet.ParquetWriter(parquet, schema, compression="zstd"))
        sheet.write(_csv([TIMELINE]))
        summary.write(_csv([SPEAKERS]))
        for block, kinds in _blocks(transcripts):
            (sheet if kinds is TIMELINE else summary).write(_csv(_csv_cells(row, kinds) for row in block))
            if kinds is TIMELINE:
                cells = zip(*block, strict=True)
                arrays = [_array(column, kind) for column, kind in zip(cells, kinds.values(), strict=True)]
                columns.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))


def read(path: Path) -> pandas.DataFrame:
    """A CSV file of `write`: texts stay texts (`NA`, `01`), only the columns of numbers are numbers.

    Raises FormatError where the file is not one of them.
    """
    import pandas

    try:
        raw = pandas.read_csv(path, dtype=str, keep_default_na=False, na_filter=False, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise FormatError(str(path), f"no table: {error}") from error
    kinds = _kinds(raw)
    if not kinds:
        raise FormatError(str(path), f"no table of this project: its columns are {', '.join(map(str, raw.columns))}")
    cells = {
        name: [unguard_optional(cell) if name in _OPTIONAL else unguard(cell) for cell in raw[name]]
        if kind == "string"
        else raw[name]
        for name, kind in kinds.items()
    }
    try:
        return pandas.DataFrame(cells).astype(kinds)
    except ValueError as error:
        raise FormatError(str(path), f"no table: {error}") from error


def _blocks(transcripts: Iterable[Transcript]) -> Iterator[tuple[list[tuple[Any, ...]], dict[str, str]]]:
    timeline: list[tuple[Any, ...]] = []
    speakers: list[tuple[Any, ...]] = []
    tables = ((timeline, TIMELINE), (speakers, SPEAKERS))
    for transcript in transcripts:
        transcript = round_transcript(transcript)
        timeline.extend(_timeline(transcript))
        speakers.extend(_speakers(transcript))
        for block, kinds in tables:
            if len(block) >= _BLOCK:
                yield block, kinds
                block.clear()
    yield from (table for table in tables if table[0])


def _timeline(transcript: Transcript) -> Iterator[tuple[Any, ...]]:
    names = {speaker.id: speaker.called for speaker in transcript.speakers}
    for row in text_segments(transcript):
        name = None if row.speaker is None else names[row.speaker]
        length = round_time(row.duration)
        yield transcript.recording, row.start, row.end, length, row.speaker, name, row.text


def _words(transcript: Transcript) -> Iterator[tuple[Any, ...]]:
    names: dict[str | None, str | None] = {speaker.id: speaker.called for speaker in transcript.speakers}
    for word in transcript.words:
        name = names.get(word.speaker)
        yield transcript.recording, word.start, word.end, word.text, word.probability, word.speaker, name


def _speakers(transcript: Transcript) -> Iterator[tuple[Any, ...]]:
    spoken = {s.id: [turn for turn in transcript.turns if turn.speaker == s.id] for s in transcript.speakers}
    seconds = {id: round_time(total(turns)) for id, turns in spoken.items()}
    everyone = sum(seconds.values())
    words = Counter(word.speaker for word in transcript.words)
    for speaker in transcript.speakers:
        own = seconds[speaker.id]
        share = round(own / everyone, 4) if everyone else 0.0
        counts = (len(spoken[speaker.id]), words[speaker.id])
        yield transcript.recording, speaker.id, speaker.called, own, share, *counts
    if words[None]:
        yield transcript.recording, None, None, 0.0, 0.0, 0, words[None]


def _frame(rows: list[tuple[Any, ...]], kinds: dict[str, str]) -> pandas.DataFrame:
    import pandas

    cells = zip(*rows, strict=True) if rows else ([] for _ in kinds)
    columns = {
        name: pandas.Series([_cell(value) for value in column], dtype=kind)
        for (name, kind), column in zip(kinds.items(), cells, strict=True)
    }
    return pandas.DataFrame(columns)


def _cell(value: Any) -> Any:
    return encodable(value) if isinstance(value, str) else value


def _array(column: Sequence[Any], kind: str) -> pyarrow.Array:
    """A column for Parquet. `pyarrow.array` would import pandas, to check for its types: a third of a second."""
    import pyarrow

    if kind == "float64":
        values = pyarrow.py_buffer(np.array(column, np.float64))
        return pyarrow.Array.from_buffers(_arrow(kind), len(column), [None, values])
    builder = pyarrow.lib.StringBuilder()
    builder.append_values([_cell(value) for value in column])
    return builder.finish()


def _csv_cells(row: tuple[Any, ...], kinds: dict[str, str]) -> Iterator[str]:
    """The cells of a row as the CSV files have them."""
    for (name, kind), value in zip(kinds.items(), row, strict=True):
        if kind == "string":
            yield guard_optional(value) if name in _OPTIONAL else guard(value)
        else:
            yield str(value) if kind == "int64" else _decimal(value, name)


def _csv(cells: Iterable[Iterable[str]]) -> bytes:
    text = StringIO(newline="")
    csv.writer(text).writerows(cells)  # the "excel" dialect: commas, quotes where needed, CRLF
    return text.getvalue().encode("utf-8")


def _decimal(value: float | None, name: str) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if name == "share" else f"{value:.3f}"


def _kinds(frame: pandas.DataFrame) -> dict[str, str]:
    """The columns of the table that has these names; {} where there is none."""
    return next((kinds for kinds in (TIMELINE, SPEAKERS) if list(frame.columns) == list(kinds)), {})


def _arrow(kind: str) -> pyarrow.DataType:
    import pyarrow

    return pyarrow.string() if kind == "string" else pyarrow.type_for_alias(kind)

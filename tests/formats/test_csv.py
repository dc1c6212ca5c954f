"""CSV: quoted, safe in a spreadsheet, and exact when it is read back."""

from __future__ import annotations

import csv as standard
import io

import pytest
from hypothesis import given, settings

from diarize.errors import FormatError
from diarize.formats import csv
from diarize.formats.naming import encodable
from diarize.formats.segments import text_segments
from diarize.types import Speaker, Transcript, Turn, Word
from tests.formats.samples import HOSTILE, MEETING, texts, transcripts


@given(texts)
def test_fault_36_a_guarded_cell_is_no_formula_and_comes_back(text: str) -> None:
    cell = csv.guard(text)
    assert cell.lstrip()[:1] not in tuple("=+-@＝＋－＠") and cell[:1] not in tuple("\t\r\n")
    assert csv.unguard(cell) == encodable(text)
    assert csv.unguard_optional(csv.guard_optional(text)) == encodable(text)


def test_ordinary_text_is_left_alone() -> None:
    for text in ("hello, world", "a=b", "50%", "x-y", "שלום", "", "3.5"):
        assert csv.guard(text) == text


def test_nobody_is_not_a_speaker_without_a_name() -> None:
    assert csv.unguard_optional(csv.guard_optional(None)) is None
    assert csv.unguard_optional(csv.guard_optional("")) == ""


@given(transcripts())
@settings(deadline=None)
def test_rows_come_back(transcript: Transcript) -> None:
    back = csv.loads(csv.dumps(transcript), "t.csv")
    known = [(r.start, r.end, r.speaker, r.text, r.confidence) for r in text_segments(transcript)]
    expected = [(a, b, None if who is None else encodable(who), text, c) for a, b, who, text, c in known]
    assert [(r.start, r.end, r.speaker, r.text, r.confidence) for own in back.values() for r in own] == expected
    assert list(back) in ([], [encodable(transcript.recording)])


def test_fault_36_any_reader_finds_the_same_cells() -> None:
    people = tuple(Speaker(name, name) for name in HOSTILE)
    transcript = Transcript("r", 99.0, None, people, tuple(Turn(i, i + 1, n) for i, n in enumerate(HOSTILE)))
    lines = list(standard.DictReader(io.StringIO(csv.dumps(transcript), newline=""), strict=True))
    assert [csv.unguard(line["name"]) for line in lines] == [encodable(name) for name in HOSTILE]
    assert not any(cell[:1] in tuple("=+-@\t\r") for line in lines for cell in line.values() if cell)


def test_the_first_columns_are_the_promised_ones_and_words_of_nobody_are_rows() -> None:
    lines = list(standard.reader(io.StringIO(csv.dumps(MEETING), newline="")))
    assert lines[0][:7] == ["recording", "start", "end", "duration", "speaker", "name", "text"]  # as in timeline.csv
    assert ["staff-meeting", "18.900", "19.300", "0.400", "", "", "hm", "", ""] in lines


def test_a_cell_longer_than_the_parser_allows_by_default_is_read() -> None:
    long = Transcript("r", 9.0, None, (Speaker("A"),), (Turn(0, 9, "A"),), (Word(0, 9, "x" * 200_000, 1.0, "A"),))
    before = standard.field_size_limit()
    (row,) = csv.loads(csv.dumps(long), "t.csv")["r"]
    assert (len(row.text), standard.field_size_limit()) == (200_000, before)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lacks the columns recording, start"),
        ("recording,start,end\r\n", "lacks the columns speaker, text"),
        ("recording,start,end,speaker,text\r\na,0,1,A\r\n", "row 2: 4 cells under 5 columns"),
        ("recording,start,end,speaker,text\r\na,zero,1,A,x\r\n", "row 2: 'zero' is not a time"),
        ("recording,start,end,speaker,text\r\na,1,0,A,x\r\n", "row 2: .*start < end"),
        ('recording,start,end,speaker,text\r\na,1,0,A,"x\r\n', "not CSV"),
    ],
)
def test_what_is_no_table_is_told(text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        csv.loads(text, "t.csv")

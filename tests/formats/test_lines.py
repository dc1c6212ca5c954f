"""Lines end at CR, LF and CR LF, and fields at spaces and tabs, in every reader of text files."""

from __future__ import annotations

import ast
import contextlib
import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarize.errors import ConfigError, DiarizeError
from diarize.formats import csv as csv_format
from diarize.formats import ctm, rttm, stm, uem
from diarize.formats.segments import TextSegment
from diarize.text import split_fields, split_lines
from diarize.types import Segment, Turn, Word
from pipelines.inputs import annotations as annotation_files
from pipelines.inputs import counts
from pipelines.people import trials

ROOT = Path(__file__).resolve().parents[2]
OTHER_SPACE = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\xa0\u3000\u2003"  # what str.splitlines and str.split also know


def splits(path: Path) -> Iterator[str]:
    """Where a source calls `str.splitlines`, or `str.split` without a separator, apart from `" ".join(text.split())`,
    which only makes white space uniform."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    joined = {
        id(argument)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "join"
        for argument in node.args
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or id(node) in joined:
            continue
        if node.func.attr == "splitlines" or (node.func.attr in ("split", "rsplit") and not node.args):
            yield f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"


def test_readers_use_the_one_function_for_lines_and_for_fields() -> None:
    sources = [
        *(ROOT / "diarize" / "formats").glob("*.py"),
        *(ROOT / "pipelines" / "inputs").glob("*.py"),
        ROOT / "pipelines" / "people" / "trials.py",
    ]
    assert [place for path in sorted(sources) for place in splits(path)] == []


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\r\r\n"])
def test_lines_end_where_the_formats_end_them(end: str) -> None:
    assert split_lines(f"a{end}{end}b{end}") == split_lines(f"a{end}{end}b") == ["a", "", "b"]
    assert split_lines(f"a{end}b", keep_ends=True) == [f"a{end}", "b"]
    assert split_lines(f"x{OTHER_SPACE}y{end}") == [f"x{OTHER_SPACE}y"]
    assert split_lines("") == [] and split_lines(end) == [""]


def test_fields_end_at_spaces_and_tabs() -> None:
    assert split_fields("\t a  b\tc ") == ["a", "b", "c"]
    assert split_fields(f"x{OTHER_SPACE}y z") == [f"x{OTHER_SPACE}y", "z"]
    assert split_fields("") == split_fields(" \t ") == []


@given(st.text(st.sampled_from("ab\r\n \t\ufeff\u2028\x85")))
def test_no_character_of_a_line_is_lost(text: str) -> None:
    assert "".join(split_lines(text, keep_ends=True)) == text
    assert "".join(split_lines(text)) == text.replace("\r", "").replace("\n", "")
    assert not any("\r" in line or "\n" in line for line in split_lines(text))


@given(st.integers(1, 4000))
def test_line_ends_take_linear_time(count: int) -> None:
    assert len(split_lines("\r" * count)) == count


@pytest.mark.parametrize("space", OTHER_SPACE, ids=ascii)
def test_other_white_space_is_text_in_the_formats_of_nist(space: str) -> None:
    assert stm.loads(f"rec 1 A 0 5 hello{space}there\nrec 1 B 5 6 ok{space}\n", "x") == {
        "rec": (TextSegment(0.0, 5.0, "A", f"hello{space}there"), TextSegment(5.0, 6.0, "B", f"ok{space}"))
    }
    assert ctm.loads(f"rec 1 0 1 New{space}York\n", "x") == {"rec": (Word(0.0, 1.0, f"New{space}York"),)}
    assert rttm.loads(f"SPEAKER a{space}b 1 0 1 <NA> <NA> Anna{space}Maria <NA> <NA>\n", "x") == {
        f"a{space}b": (Turn(0.0, 1.0, f"Anna{space}Maria"),)
    }
    assert uem.loads(f"a{space}b 1 0 1\n", "x") == {f"a{space}b": (Segment(0.0, 1.0),)}


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\r\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_joined_files_and_all_line_ends_are_read(end: str, mark: str) -> None:
    rows = (f"{mark}SPEAKER rec 1 {t} 1 <NA> <NA> A <NA> <NA>{end}" for t in (0, 5))
    assert rttm.loads("".join(rows), "x") == {"rec": (Turn(0.0, 1.0, "A"), Turn(5.0, 6.0, "A"))}
    assert len(stm.loads(f"{mark}rec 1 A 0 1 x{end}{mark}rec\t1\tA\t1\t2\ty{end}", "x")["rec"]) == 2
    assert len(ctm.loads(f"{mark}rec 1 0 1 x{end}{mark};; note{end}{mark}rec 1 1 1 y{end}", "x")["rec"]) == 2
    assert list(uem.loads(f"{mark}rec 1 0 1{end}{mark}rec 1 3 4{end}", "x")) == ["rec"]


@pytest.mark.parametrize("number", ["1_0", "\u0661", "\uff11", "\u00a01"])
def test_numbers_are_those_of_the_formats(number: str) -> None:
    with pytest.raises(DiarizeError, match=r"x:1: .* is not a time in seconds"):
        uem.loads(f"a 1 0 {number}\n", "x")


@pytest.mark.parametrize("space", OTHER_SPACE, ids=ascii)
@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\r\r\n"])
def test_lists_and_tables_are_read_by_their_own_lines(space: str, end: str, tmp_path: Path) -> None:
    name = f"a{space}b"
    path = tmp_path / "counts.csv"
    path.write_bytes(f"recording,num_speakers{end}{name},2{end}".encode())
    assert counts.read(path) == {name: {"num_speakers": 2}}
    rows = csv_format.loads(f"recording,start,end,speaker,text{end}{name},0,1,S,x{space}y{end}", "x")
    assert rows == {name: (TextSegment(0.0, 1.0, "S", f"x{space}y"),)}
    links = f"{','.join(annotation_files.COLUMNS)}{end}{name},must,0,1,2,3{end}"
    assert list(annotation_files._read_links(links, "x")) == [name]
    path = tmp_path / "trials"
    path.write_bytes(f"1 {name} c{end}0\t{name}\tc d{end}".encode())
    assert [(trial.a, trial.b) for trial in trials.read(path)] == [(name, "c"), (name, "c d")]


def test_a_quoted_cell_keeps_its_line_ends() -> None:
    cell = "two\r\nlines"
    text = f'recording,start,end,speaker,text\r\nr,0,1,S,"{cell}"\r\n'
    assert csv_format.loads(text, "x")["r"][0].text == cell
    assert next(csv.reader(split_lines(f'"{cell}"', keep_ends=True))) == [cell]


NIST = st.lists(
    st.one_of(
        st.sampled_from(
            ["SPEAKER", "rec", "1", "0.5", "-1", "nan", "1_0", "<NA>", ";;", "\ufeff", "\r", "\n", *OTHER_SPACE]
        ),
        st.text(max_size=4),
    ),
    max_size=40,
)


@given(NIST, st.sampled_from([" ", "\t", "\n"]))
def test_any_text_is_read_or_refused_with_its_line(parts: list[str], blank: str) -> None:
    text = blank.join(parts)
    for reader in (rttm.loads, stm.loads, ctm.loads, uem.loads, csv_format.loads, annotation_files._read_links):
        try:
            reader(text, "x.file")
        except DiarizeError as error:
            assert str(error).startswith("x.file")


@given(st.text(st.sampled_from('recording,num_speakers1"\r\n\u2028 '), max_size=40))
def test_any_table_of_counts_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigError, csv.Error):
        counts._csv(text, Path("x.csv"))

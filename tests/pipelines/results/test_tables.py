"""The tables of a run."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarize.errors import FormatError, OutputError
from diarize.formats.naming import encodable
from diarize.types import Speaker, Transcript, Turn
from pipelines.results import tables
from tests.formats.samples import EMPTY, HOSTILE, MEETING, WORDLESS, transcripts


class Recording(Transcript):
    """A transcript that can be watched: one with slots cannot be referred to weakly."""


def test_one_row_a_turn_and_one_a_speaker(tmp_path: Path) -> None:
    timeline = tables.timeline([MEETING, EMPTY, WORDLESS])
    assert list(timeline.columns) == ["recording", "start", "end", "duration", "speaker", "name", "text"]
    assert list(timeline["recording"]) == ["staff-meeting"] * 6 + ["no-words"] * 2
    assert timeline["text"][3] == "東京へ行く" and pandas.isna(timeline["speaker"][4])
    people = tables.speakers([MEETING, EMPTY, WORDLESS])
    assert people.to_dict("list")["seconds"] == [8.9, 5.35, 2.2, 0.0, 1.5, 2.0]
    assert people.to_dict("list")["words"] == [18, 6, 3, 1, 0, 0]
    assert people["share"][:3].sum() == pytest.approx(1, abs=2e-4)
    assert people["turns"].tolist() == [2, 2, 1, 0, 1, 1]


def test_a_speaker_who_overlaps_with_themselves_talks_once() -> None:
    twice = Transcript("r", 9.0, None, (Speaker("A"),), (Turn(0, 2, "A"), Turn(1, 3, "A")))
    assert tables.speakers([twice])["seconds"].tolist() == [3.0]


def test_the_same_transcripts_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_BLOCK", 3)  # several blocks
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        tables.write(tmp_path / folder, (MEETING, WORDLESS, EMPTY))
    names = ["speakers.csv", "timeline.csv", "timeline.parquet"]
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == names
    assert all((tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes() for n in names)


@given(st.lists(transcripts(), max_size=3))
@settings(deadline=None, max_examples=25)
def test_fault_36_tables_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, run: list[Transcript]
) -> None:
    out = tmp_path_factory.mktemp("tables")
    tables.write(out, iter(run))
    timeline, people = tables.timeline(run), tables.speakers(run)
    pandas.testing.assert_frame_equal(tables.read(out / "timeline.csv"), timeline)
    pandas.testing.assert_frame_equal(tables.read(out / "speakers.csv"), people)
    parquet = pandas.read_parquet(out / "timeline.parquet").astype(tables.TIMELINE)
    pandas.testing.assert_frame_equal(parquet, timeline)


def test_fault_36_names_stay_names(tmp_path: Path) -> None:
    people = tuple(Speaker(f"S{i}", name) for i, name in enumerate(HOSTILE))
    turns = tuple(Turn(i, i + 1, person.id) for i, person in enumerate(people))
    tables.write(tmp_path, [Transcript("01", 99.0, None, people, turns)])
    back = tables.read(tmp_path / "timeline.csv")
    assert back["name"].tolist() == [encodable(name) for name in HOSTILE]
    assert back["recording"].unique().tolist() == ["01"]
    naive = pandas.read_csv(tmp_path / "speakers.csv", dtype=str, keep_default_na=False)
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in naive["name"])


def test_an_empty_run_has_tables_with_their_columns(tmp_path: Path) -> None:
    tables.write(tmp_path, [])
    assert tables.read(tmp_path / "timeline.csv").dtypes.equals(tables.timeline([MEETING]).dtypes)
    assert len(tables.read(tmp_path / "speakers.csv")) == 0
    assert len(pandas.read_parquet(tmp_path / "timeline.parquet")) == 0


def test_no_transcript_is_held_once_its_rows_are_taken(tmp_path: Path) -> None:
    seen: list[weakref.ref[Recording]] = []

    def run() -> Iterator[Transcript]:
        for i in range(20):
            gc.collect()
            assert sum(reference() is not None for reference in seen) <= 1  # the one just taken
            transcript = Recording(f"r{i}", 9.0, None, (Speaker("A"),), (Turn(0, 1, "A"),))
            seen.append(weakref.ref(transcript))
            yield transcript
            del transcript

    tables.write(tmp_path, run())
    assert len(seen) == len(tables.read(tmp_path / "timeline.csv")) == 20


def test_a_failing_run_leaves_the_tables_of_the_last_one(tmp_path: Path) -> None:
    tables.write(tmp_path, [MEETING])
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def broken() -> Iterator[Transcript]:
        yield WORDLESS
        raise FormatError("transcript.json", "damaged")

    with pytest.raises(FormatError, match="damaged"):
        tables.write(tmp_path, broken())
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    with pytest.raises(OutputError, match=r"timeline\.csv"):
        tables.write(tmp_path / "none", [])


@pytest.mark.parametrize("text", ["", "a,b\r\n1,2\r\n", "recording,start\r\n"])
def test_what_is_no_table_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(FormatError, match="no table"):
        tables.read(tmp_path / "t.csv")
    with pytest.raises(FormatError, match="no table"):
        tables.read(tmp_path / "none.csv")

"""Many people at once, by a table or by folders: one bad row costs that row."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

import run_pipeline
from diarize.errors import ConfigError
from diarize.library.store import Library
from diarize.models.store import Store
from pipelines.people import enroll_list
from pipelines.people.enroll import EnrolmentRequest
from pipelines.people.enroll_list import ListEnrolment
from tests.pipelines.people.test_enroll import ANNA, BEN, CONFIG, calibration, empty, library, sing

__all__ = ["calibration", "empty", "library"]  # fixtures

ALL = EnrolmentRequest("")


def enrol(library: Library, path: Path, store: Store, calibration: Path) -> ListEnrolment:
    listed = enroll_list.read_folder(path) if path.is_dir() else enroll_list.read_list(path)
    return enroll_list.enroll_list(library, listed, ALL, CONFIG, store, calibration=calibration)


def test_a_table_enrols_everybody_and_a_bad_row_costs_itself(
    tmp_path: Path, library: Library, empty: Store, calibration: Path
) -> None:
    sing(tmp_path / "sounds" / "anna 1.wav", (ANNA, 6.0))
    sing(tmp_path / "sounds" / "anna2.wav", (ANNA, 7.0), (ANNA, 6.0), seed=1)
    sing(tmp_path / "ben.wav", (BEN, 8.0), seed=2)
    (tmp_path / "people.csv").write_text(
        "name,file,start,end,channel,consent,expires\n"
        '"Maria, Anna",sounds/anna 1.wav,,,,on paper,2999-12-31\n'
        '"Maria, Anna",sounds/anna2.wav,0,7.5,0,,2999-06-30\n'
        "Ben,ben.wav\n"
        "Ben,nowhere.wav,,,,,\n"
        "Ben,ben.wav,7,99999999\n"
        ",ben.wav,,,,,\n"
        "Carl,ben.wav,soon,,,,\n"
        "Dora,ben.wav,,,left,,\n"
        "Dora,ben.wav,,,,,tomorrow\n"
        "Emil,ben.wav,,,,,,,,\n"
        "\n"
    )
    result = enrol(library, tmp_path / "people.csv", empty, calibration)
    assert result.status == 3
    assert [each.name for each in result.people] == ["Maria, Anna", "Ben"]
    anna, ben = (each.result for each in result.people)
    assert anna is not None and anna.person is not None and ben is not None and ben.person is not None
    assert [row.outcome for row in anna.rows] == ["counted", "counted"] and anna.rows[1].end == 7.5
    assert (anna.person.consent, anna.person.expires) == ("on paper", date(2999, 6, 30))
    assert [row.outcome for row in ben.rows][:2] == ["counted", "refused"]
    assert [where for where, _ in result.problems] == ["line 7", "line 8", "line 9", "line 10", "line 11"]
    reasons = " ".join(reason for _, reason in result.problems)
    for part in ("has no name", "'soon'", "'left'", "'tomorrow'", "10 cells"):
        assert part in reasons
    assert {person.name for person in library.people()} == {"Maria, Anna", "Ben"}
    fields = json.loads(json.dumps(result.as_dict()))
    assert fields["schema"] == "diarize-enrolments/1" and fields["people"][0]["result"]["complete"] in (True, False)

    # Enrolled again, nothing changes.
    utterances = sum(person.utterances for person in library.people())
    again = enrol(library, tmp_path / "people.csv", empty, calibration)
    assert {row.outcome for each in again.people if each.result for row in each.result.rows} == {"known", "refused"}
    assert sum(person.utterances for person in library.people()) == utterances


def test_a_folder_for_each_person(tmp_path: Path, library: Library, empty: Store, calibration: Path) -> None:
    sing(tmp_path / "PEOPLE" / "Anna Maria" / "2031" / "a.wav", (ANNA, 6.0))
    sing(tmp_path / "PEOPLE" / "Anna Maria" / "b.wav", (ANNA, 6.0), seed=1)
    sing(tmp_path / "PEOPLE" / "Ben.wav", (BEN, 6.0), seed=2)
    (tmp_path / "PEOPLE" / "Anna Maria" / "notes.txt").write_text("hers")
    (tmp_path / "PEOPLE" / ".hidden").mkdir()
    (tmp_path / "PEOPLE" / "Carl").mkdir()
    result = enrol(library, tmp_path / "PEOPLE", empty, calibration)
    assert [(each.name, len(each.result.rows) if each.result else 0) for each in result.people] == [
        ("Anna Maria", 2),
        ("Ben", 1),
    ]
    assert result.problems == (("Carl", "holds no recordings"),) and result.status == 3


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not the columns"),
        ("name\nAnna\n", "not the columns"),
        ("name,file,chanel\n", "'chanel'"),
        ("name,file,name\n", "not the columns"),
        ('name,file\n"Anna,a.wav\n', "is no CSV"),
    ],
)
def test_a_table_of_other_columns_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(ConfigError, match=problem):
        enroll_list.read_list(tmp_path / "list.csv")


def test_tables_of_spreadsheets_are_read(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes("\ufeffName;File;Start\r\nÄnne\u2028X;a.wav;1,5\r\n".encode())
    (row,) = enroll_list.read_list(tmp_path / "list.csv").utterances
    assert (row.name, row.path, row.start, row.where) == ("Änne\u2028X", tmp_path / "a.wav", 1.5, "line 2")
    with pytest.raises(ConfigError):
        enroll_list.read_list(tmp_path / "none.csv")
    with pytest.raises(ConfigError, match="is no folder"):
        enroll_list.read_folder(tmp_path / "list.csv")
    with pytest.raises(ConfigError, match="no recordings"):
        enroll_list.read_folder(tmp_path)


def test_the_command_reports_each_person_and_each_bad_row(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sing(tmp_path / "ben.wav", (BEN, 8.0))
    (tmp_path / "people.csv").write_text("name,file\nBen,ben.wav\nAnna,gone.wav\n,x.wav\n")
    backends = ("--vad", "energy", "--embedder", "tests.pipelines.people.test_enroll:embedder", "--offline")
    place = ("--library", str(tmp_path / "people.db"))
    assert run_pipeline.main(["enroll", "--list", str(tmp_path / "people.csv"), *place, *backends]) == 3
    text = capfd.readouterr()
    assert "Ben" in text.out and "1 of 2 people enrolled" in text.out
    assert "refused: Anna: " in text.out + text.err and "line 4: has no name" in text.err
    assert run_pipeline.main(["enroll", "Ben", "--list", str(tmp_path / "people.csv"), *place, *backends]) == 2

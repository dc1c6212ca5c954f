"""What a run learns of a library before it begins, and what it says where nobody can be found in it."""

from __future__ import annotations

import pickle
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from diarize.config import Config, parse
from diarize.errors import CalibrationError, FormatError, LibraryError
from diarize.library import store
from diarize.library.enrolled import RE_EMBED, MappedVoices, enrolled_people
from diarize.library.search import approximate, index
from tests.library.scoring.test_identification import PLAIN
from tests.library.voices import MODEL, Clock, enrolment, opened, voice

OVER = date(2020, 1, 1)


@pytest.fixture
def calibrated(tmp_path: Path) -> Config:
    replace(PLAIN, model=MODEL).save(tmp_path / "made.json")
    return parse({"identify": {"calibration": str(tmp_path / "made.json")}}, "test")


def test_the_voices_of_the_embedder_are_looked_for(tmp_path: Path, calibrated: Config) -> None:
    with opened(tmp_path / "people.db") as library:
        library.enrol("Anna", [enrolment(1)])
        library.enrol("Bo", [enrolment(2)])
        found = enrolled_people(library, MODEL, calibrated)
    assert (found.notes, found.lacking) == ((), "")
    (anna,) = pickle.loads(pickle.dumps(found)).load()(voice(1)[None], [10.0], 8000.0)
    assert anna.person is not None
    assert anna.person.name == "Anna"


def test_fault_63_an_empty_library_is_said(tmp_path: Path, calibrated: Config) -> None:
    with opened(tmp_path / "people.db") as library:
        found = enrolled_people(library, MODEL, calibrated)
    assert found.notes == ("library: nobody is enrolled, so every speaker is unknown; enrol somebody: diarize enroll",)
    assert found.load()(voice(1)[None], [10.0])[0].reason == "nobody is enrolled"


def test_fault_63_a_library_of_another_model_is_said(tmp_path: Path, calibrated: Config) -> None:
    with opened(tmp_path / "people.db") as library:
        library.enrol("Anna", [enrolment(1, model="made-15")])
        found = enrolled_people(library, MODEL, calibrated)
        library.enrol("Bo", [enrolment(2)])
        later = enrolled_people(library, MODEL, calibrated)
    assert found.notes == (
        "library: the library has no voices for this embedder (made-16), only for made-15, so every speaker is "
        f"unknown; {RE_EMBED}",
    )
    assert "no voices for this embedder" in found.load()(voice(1)[None], [10.0])[0].reason
    assert later.notes == (f"library: without a voice for made-16, so they cannot be named: 1 of 2 people; {RE_EMBED}",)


def test_people_whose_consent_is_over_are_not_looked_for(tmp_path: Path, calibrated: Config) -> None:
    with opened(tmp_path / "people.db") as library:
        library.enrol("Anna", [enrolment(1)], expires=OVER)
        only = enrolled_people(library, MODEL, calibrated)
        library.enrol("Bo", [enrolment(2)])
        found = enrolled_people(library, MODEL, calibrated)
    assert only.lacking == "the consent of everybody who is enrolled has ended"
    assert found.notes == ("library: not used, as their consent has ended: 1 of 2 people",)
    (anna,) = found.load()(voice(1)[None], [10.0], 8000.0)
    assert [candidate.name for candidate in anna.candidates] == ["Bo"]
    assert not any("Anna" in note or "Bo" in note for note in (*only.notes, *found.notes))


def test_without_a_calibration_nobody_is_named(tmp_path: Path) -> None:
    with opened(tmp_path / "people.db") as library:
        library.enrol("Anna", [enrolment(1)])
        found = enrolled_people(library, MODEL, Config())
    (note,) = found.notes
    assert "no calibration for made-16, so nobody is named; make one: diarize calibrate" in note
    (anna,) = found.load()(voice(1)[None], [10.0])
    assert (anna.person, anna.candidates[0].name) == (None, "Anna")


def test_a_calibration_that_does_not_fit_is_refused(tmp_path: Path, calibrated: Config) -> None:
    with opened(tmp_path / "people.db") as library:
        with pytest.raises(CalibrationError, match="the calibration is for scores of made-16, not of other"):
            enrolled_people(library, "other", calibrated)
        with pytest.raises(FormatError, match="cannot be read: No such file"):
            enrolled_people(library, MODEL, parse({"identify": {"calibration": str(tmp_path / "none.json")}}, "test"))


def test_strangers_are_linked_without_a_library(calibrated: Config) -> None:
    found = enrolled_people(None, MODEL, calibrated)
    assert (found.notes, found.lacking) == ((), "no library was used")
    assert found.load()(voice(1)[None], [10.0])[0].person is None


def test_a_large_library_is_mapped_by_each_worker(
    tmp_path: Path, calibrated: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "MANY", 3)
    with opened(tmp_path / "people.db") as library:
        for seed in range(5):
            library.enrol(f"P{seed}", [enrolment(seed)])
        library.matrix(MODEL)
    with store.open(tmp_path / "people.db", read_only=True, clock=Clock()) as library:
        found = enrolled_people(library, MODEL, calibrated)
    assert isinstance(found.voices, MappedVoices)
    (one,) = pickle.loads(pickle.dumps(found)).load()(voice(3)[None], [10.0], 8000.0)
    assert one.person is not None
    assert one.person.name == "P3"
    for path in (tmp_path / "people.db.index").iterdir():
        path.unlink()
    with pytest.raises(LibraryError, match="Run the same command again"):
        found.load()


def test_a_very_large_library_is_searched_by_its_index(
    tmp_path: Path, calibrated: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss", reason="the extra `faiss` is not installed")
    monkeypatch.setattr(index, "MANY", 3)
    monkeypatch.setattr(approximate, "LARGE", 50)
    monkeypatch.setattr(approximate, "TRAINING", 5)
    with opened(tmp_path / "people.db") as library:
        with library.batch():
            for seed in range(60):
                library.enrol(f"P{seed}", [enrolment(seed)])
        library.update_indexes()
    with store.open(tmp_path / "people.db", read_only=True, clock=Clock()) as library:
        people = enrolled_people(library, MODEL, calibrated)
        exact = calibrated.model_copy(update={"identify": calibrated.identify.model_copy(update={"exact": True})})
        every = enrolled_people(library, MODEL, exact)
    (note,) = people.notes
    assert re.fullmatch(
        r"library: approximate search in 60 voices: the nearest voice is found in \d+\.\d % of trials; "
        r"--exact compares every voice",
        note,
    )
    assert every.notes == ()
    identifier, exact_identifier = pickle.loads(pickle.dumps(people)).load(), every.load()
    assert ",index=" in identifier.name
    assert ",index=" not in exact_identifier.name
    asked = voice(3)[None], [10.0], 8000.0
    assert identifier(*asked)[0].person == exact_identifier(*asked)[0].person is not None
    for path in (tmp_path / "people.db.index").glob("*.faiss"):
        path.write_bytes(b"planted")
    with pytest.raises(LibraryError, match="Run the same command again"):
        people.load()

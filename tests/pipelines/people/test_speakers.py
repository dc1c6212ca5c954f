"""The recipes around a library: plain results, and the notes that a person should read."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from diarize.errors import ConfigError, LibraryMissing, PassphraseError, UnknownPerson
from diarize.library import portable
from diarize.library.store import Library
from pipelines.people import speakers
from tests.library.voices import MODEL, enrolment, opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with opened(tmp_path / "s.db") as library:
        library.enrol("Anna", [enrolment(1), enrolment(2)], "signed", date(2030, 1, 1))
        library.enrol("Ben", [enrolment(3)])
        library.enrol("Anna", [enrolment(4)])
        library.enrol("Cleo", [enrolment(5)], "for one day", date(2020, 1, 1))
        library.enrol("Dan", [])
    return tmp_path / "s.db"


def library_of(path: Path) -> Library:
    return speakers.open_library(path, {})


def test_an_overview(path: Path) -> None:
    with library_of(path) as library:
        found = speakers.summarise(library)
    assert (found.place, found.encrypted, len(found.people)) == (str(path), False, 5)
    assert found.models == (speakers.ModelSummary(MODEL, 4, 20.0),)
    assert found.notes == (
        "Anna (id-0001) has the same name as id-0006: use ids to tell them apart",
        "Anna (id-0006) has the same name as id-0001: use ids to tell them apart",
        "Cleo (id-0008): the consent ended on 2020-01-01, so the voice is not used: renew it, or remove it",
        "Dan (id-0010) has no utterance, and cannot be recognised",
    )
    assert json.loads(json.dumps([speakers.person_as_dict(p) for p in found.people]))[0] == {
        "id": "id-0001", "name": "Anna", "created": found.people[0].created.isoformat(), "consent": "signed",
        "expires": "2030-01-01", "expired": False, "utterances": 2, "seconds": {MODEL: 8.0}, "namesakes": ["id-0006"],
    }  # fmt: skip


def test_who_is_meant(path: Path) -> None:
    with library_of(path) as library:
        assert library.find("Ben") == library.find("id-0004")
        with pytest.raises(UnknownPerson, match="Name one by id: id-0001, id-0006"):
            library.find("Anna")
        utterances = library.utterances("id-0001")
        assert [u.origin for u in utterances] == ["tape 1", "tape 2"]
        plain = json.loads(json.dumps(speakers.utterance_as_dict(utterances[0])))
        assert (plain["models"], plain["audio"], plain["seconds"]) == ([MODEL], False, 4.0)


def test_changes(path: Path, tmp_path: Path) -> None:
    with library_of(path) as library:
        assert speakers.rename(library, "Ben", "Benjamin").name == "Benjamin"
        namesake = speakers.rename(library, "Dan", "Benjamin")
        assert "has the same name as id-0004" in speakers.notes_on(namesake)[0]
        assert speakers.merge(library, "id-0001", "id-0006").utterances == 3
        assert speakers.notes_on(library.find("Anna")) == ()
        portable.write(library, tmp_path / "e.zip")
        library.remove(library.find("Cleo").id)
        with pytest.raises(UnknownPerson):
            library.find("Cleo")
        people = portable.read(library, tmp_path / "e.zip")
        assert [p.name for p in people] == ["Anna", "Benjamin", "Cleo", "Benjamin"]
        report = library.audit()
        assert report.ok
        assert [e.action for e in report.entries[5:9]] == ["rename", "rename", "merge", "remove"]


@pytest.mark.parametrize("name", ["", " \t\n"])
def test_nobody_is_left_without_a_name(path: Path, name: str) -> None:
    with library_of(path) as library:
        with pytest.raises(ConfigError, match="a person needs a name"):
            speakers.rename(library, "Ben", name)
        assert library.find("Ben").name == "Ben"


def test_nobody_is_merged_with_themselves(path: Path) -> None:
    with library_of(path) as library:
        with pytest.raises(ConfigError, match="Name two people"):
            speakers.merge(library, "Ben", "id-0004")
        assert library.find("Ben").utterances == 1


def test_opening(path: Path, tmp_path: Path) -> None:
    with speakers.open_library(path, {}, read_only=True) as library:
        assert len(speakers.summarise(library).people) == 5
    with pytest.raises(LibraryMissing):
        speakers.open_library(tmp_path / "none.db", {})
    with pytest.raises(PassphraseError, match="not encrypted"):
        speakers.open_library(path, {"DIARIZE_PASSPHRASE": "secret"})


def test_the_users_own_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIARIZE_LIBRARY", str(tmp_path / "own.db"))
    with speakers.open_library(None, {}, create=True) as library:
        assert library.place == str(tmp_path / "own.db")

"""The recipes around a library: plain results, and the notes that a person should read."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from diarize.errors import ConfigError, LibraryLockedAway, LibraryMissing, UnknownPerson
from diarize.library.store import Library
from pipelines.people import speakers
from tests.library.voices import MODEL, opened, said


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with opened(tmp_path / "s.db") as library:
        library.enrol("Anna", [said(1), said(2)], "signed", date(2030, 1, 1))
        library.enrol("Ben", [said(3)])
        library.enrol("Anna", [said(4)])
        library.enrol("Cleo", [said(5)], "for one day", date(2020, 1, 1))
        library.enrol("Dan", [])
    return tmp_path / "s.db"


def library_of(path: Path) -> Library:
    return speakers.open_library(path, {})


def test_an_overview(path: Path) -> None:
    with library_of(path) as library:
        found = speakers.overview(library)
    assert (found.place, found.encrypted, len(found.people)) == (str(path), False, 5)
    assert found.models == (speakers.Model(MODEL, 4, 20.0),)
    assert found.notes == (
        "Anna (id-0001) has the same name as id-0006: use ids to tell them apart",
        "Anna (id-0006) has the same name as id-0001: use ids to tell them apart",
        "Cleo (id-0008): the consent ended on 2020-01-01, so the voice is not used: renew it, or remove it",
        "Dan (id-0010) has no utterance, and cannot be recognised",
    )
    assert json.loads(json.dumps([speakers.plain(p) for p in found.people]))[0] == {
        "id": "id-0001", "name": "Anna", "created": found.people[0].created.isoformat(), "consent": "signed",
        "expires": "2030-01-01", "expired": False, "utterances": 2, "seconds": {MODEL: 8.0}, "namesakes": ["id-0006"],
    }  # fmt: skip


def test_who_is_meant(path: Path) -> None:
    with library_of(path) as library:
        assert speakers.show(library, "Ben").person == speakers.show(library, "id-0004").person
        with pytest.raises(UnknownPerson, match="Name one by id: id-0001, id-0006"):
            speakers.show(library, "Anna")
        shown = speakers.show(library, "id-0001")
        assert [u.origin for u in shown.utterances] == ["tape 1", "tape 2"]
        told = json.loads(json.dumps(speakers.plain_utterance(shown.utterances[0])))
        assert (told["models"], told["audio"], told["seconds"]) == ([MODEL], False, 4.0)


def test_changes(path: Path, tmp_path: Path) -> None:
    with library_of(path) as library:
        assert speakers.rename(library, "Ben", "Benjamin").person.name == "Benjamin"
        assert "has the same name as id-0004" in speakers.rename(library, "Dan", "Benjamin").notes[0]
        assert speakers.merge(library, "id-0001", "id-0006").person.utterances == 3
        assert speakers.show(library, "Anna").notes == ()
        carried = speakers.export(library, tmp_path / "e.zip")
        assert "is not encrypted" in carried.notes[0]
        removed = speakers.remove(library, "Cleo")
        assert removed.person.name == "Cleo"
        assert "still hold" in removed.notes[0]
        with pytest.raises(UnknownPerson):
            speakers.show(library, "Cleo")
        assert [p.name for p in speakers.bring(library, tmp_path / "e.zip").people] == [
            "Anna", "Benjamin", "Cleo", "Benjamin",
        ]  # fmt: skip
        report = speakers.audit(library)
        assert report.ok
        assert [e.action for e in report.entries[5:9]] == ["rename", "rename", "merge", "remove"]


@pytest.mark.parametrize("name", ["", " \t\n"])
def test_nobody_is_left_without_a_name(path: Path, name: str) -> None:
    with library_of(path) as library:
        with pytest.raises(ConfigError, match="a person needs a name"):
            speakers.rename(library, "Ben", name)
        assert speakers.show(library, "Ben").person.name == "Ben"


def test_nobody_is_merged_with_themselves(path: Path) -> None:
    with library_of(path) as library:
        with pytest.raises(ConfigError, match="Name two people"):
            speakers.merge(library, "Ben", "id-0004")
        assert speakers.show(library, "Ben").person.utterances == 1


def test_opening(path: Path, tmp_path: Path) -> None:
    with speakers.open_library(path, {}, read_only=True) as library:
        assert len(speakers.overview(library).people) == 5
    with pytest.raises(LibraryMissing):
        speakers.open_library(tmp_path / "none.db", {})
    with pytest.raises(LibraryLockedAway, match="not encrypted"):
        speakers.open_library(path, {"DIARIZE_PASSPHRASE": "secret"})


def test_the_users_own_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIARIZE_LIBRARY", str(tmp_path / "own.db"))
    with speakers.open_library(None, {}, create=True) as library:
        assert library.place == str(tmp_path / "own.db")

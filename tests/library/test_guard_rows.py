"""What the guards keep in a library: fingerprints, challenges, preferences; encrypted where the library is."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from diarize.errors import UnknownPerson
from diarize.guard import challenge
from diarize.library import store
from diarize.library.database import guard_rows
from diarize.library.database.records import Enrolment
from diarize.library.store import Library
from pipelines.guard.challenges import LibraryChallenges

NOW = datetime(2031, 5, 2, 10, tzinfo=UTC)


def enrol(library: Library, name: str) -> str:
    vector = np.zeros(8, np.float32)
    vector[len(name) % 8] = 1
    new = Enrolment(name * 8, 3.0, {}, vector, "made", 0.0, 3.0, origin=f"{name}.wav", print=name.encode() * 4)
    return library.enrol(name, [new]).id


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_they_are_read_back_and_go_with_the_person(tmp_path: Path, passphrase: str | None) -> None:
    if passphrase is not None:
        pytest.importorskip("cryptography")
    path = tmp_path / "people.db"
    with store.open(path, passphrase, create=True) as library:
        anna, ben = enrol(library, "Anna"), enrol(library, "Ben")
        library.keep_print(anna, "attempt.wav", b"more")
        library.set_preferences(anna, {"language": "de", "tea": True})
        assert [each.print for each in library.guard.prints(anna)] == [b"Anna" * 4, b"more"]
        assert [each.person for each in library.guard.prints()] == [anna, ben, anna]
    with store.open(path, passphrase, read_only=True) as library:
        assert library.guard.preferences(anna) == {"language": "de", "tea": True}
        assert library.guard.preferences(ben) == {}
        assert library.audit().ok
        assert [entry.action for entry in library.audit().entries][-2:] == ["fingerprint", "preferences"]
    if passphrase is not None:
        content = b"".join(file.read_bytes() for file in tmp_path.glob("people.db*"))
        assert b"attempt.wav" not in content and b"language" not in content
    with store.open(path, passphrase) as library:
        library.remove(anna)
        assert [each.person for each in library.guard.prints()] == [ben]
        assert library.guard.preferences(anna) == {}
        with pytest.raises(UnknownPerson):
            library.set_preferences(anna, {"a": 1})
        with pytest.raises(UnknownPerson):
            library.keep_print(anna, "a", b"")


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_of_accepted_sound_the_newest_fingerprints_are_kept(tmp_path: Path, passphrase: str | None) -> None:
    if passphrase is not None:
        pytest.importorskip("cryptography")
    with store.open(tmp_path / "people.db", passphrase, create=True) as library:
        anna, ben = enrol(library, "Anna"), enrol(library, "Ben")
        library.keep_print(ben, "his.wav", b"his")
        for number in range(6):
            library.keep_print(anna, f"{number}.wav", b"bits", most=3)
        origins = [each.origin for each in library.guard.prints(anna)]
        assert origins == ["Anna.wav", "3.wav", "4.wav", "5.wav"]  # the enrolled one stays
        assert [each.origin for each in library.guard.prints(ben)] == ["Ben.wav", "his.wav"]
        for number in (6, 7):
            library.keep_print(anna, f"{number}.wav", b"bits")
        assert len(list(library.guard.prints(anna))) == 6
        library.merge(ben, anna)  # what was enrolled stays enrolled
        library.keep_print(ben, "last.wav", b"last", most=1)
        assert {each.origin for each in library.guard.prints(ben)} == {"Ben.wav", "Anna.wav", "last.wav"}
        assert library.audit().ok


def test_fingerprints_of_an_older_library_stay(tmp_path: Path) -> None:
    """Which of them are of enrolled sound was not recorded."""
    path = tmp_path / "people.db"
    with store.open(path, create=True) as library:
        anna = enrol(library, "Anna")
        library.keep_print(anna, "old.wav", b"old")
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE enrolled_prints")
    connection.close()
    with store.open(path) as library:
        for number in range(3):
            library.keep_print(anna, f"{number}.wav", b"bits", most=1)
        assert [each.origin for each in library.guard.prints(anna)] == ["Anna.wav", "old.wav", "2.wav"]


def test_preferences_are_bounded_and_can_be_deleted(tmp_path: Path) -> None:
    with store.open(tmp_path / "people.db", create=True) as library:
        anna = enrol(library, "Anna")
        library.set_preferences(anna, {"a": 1})
        with pytest.raises(ValueError, match="at most 65536 bytes"):
            library.set_preferences(anna, {"a": "x" * guard_rows.MOST_PREFERENCES})
        with pytest.raises(ValueError, match="Out of range"):
            library.set_preferences(anna, {"a": float("nan")})
        assert library.guard.preferences(anna) == {"a": 1}
        library.set_preferences(anna, {})
        assert library.guard.preferences(anna) == {}


def test_a_library_without_these_tables_has_none_of_it(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    with store.open(path, create=True) as library:
        vector = np.ones(1, np.float32)
        anna = library.enrol("Anna", [Enrolment("s", 3.0, {}, vector, "made", 0.0, 3.0)]).id
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'prints'").fetchall() == []
    connection.close()
    with store.open(path, read_only=True) as library:
        assert list(library.guard.prints()) == [] and library.guard.preferences(anna) == {}
    with store.open(path) as library, library.batch():
        assert library.guard.take_challenge("x") is None


def test_a_challenge_is_taken_by_one_of_two_processes(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    with store.open(path, create=True) as one, store.open(path) as other:
        drawn, soon = challenge.draw(NOW), challenge.draw(NOW, seconds=5)
        for each in (drawn, soon):
            LibraryChallenges(one).put(each)
        assert LibraryChallenges(other).take(drawn.id, NOW) == drawn
        assert LibraryChallenges(one).take(drawn.id, NOW) is None
        LibraryChallenges(one).put(challenge.draw(NOW + timedelta(seconds=10)))  # clears what has expired
        assert LibraryChallenges(one).take(soon.id, NOW) is None
        assert LibraryChallenges(one).take("a\0b", NOW) is None

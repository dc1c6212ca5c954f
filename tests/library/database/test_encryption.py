"""What an encrypted library shows to somebody who reads its files, and what it does when they change them."""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path

import pytest

from diarize.errors import LibraryDamaged, LibraryError, MissingExtra, PassphraseError
from diarize.library import portable, store
from diarize.library.database import encryption
from tests.library.voices import MODEL, enrolment, opened, voice

pytest.importorskip("cryptography", reason="the extra `encrypt` is not installed")
PASS = "correct horse, très long"
SOUND = b"RIFF-this-is-the-kept-sound" * 40


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encryption, "COST", 2**4)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("diarize.library.search.index.MANY", 1)  # large enough for index files, were it not encrypted
    with opened(tmp_path / "s.db", PASS) as made:
        made.enrol("Anna Karenina", [enrolment(1, audio=SOUND)], consent="signed in Tula")
        made.enrol("Konstantin Levin", [enrolment(2, origin="the mowing tape"), enrolment(3)])
        made.matrix(MODEL)
        assert made.encrypted
    return tmp_path / "s.db"


def secrets() -> list[bytes]:
    texts = ["Anna Karenina", "Konstantin Levin", "signed in Tula", "the mowing tape", f"{1:064x}"]
    return [text.encode() for text in texts] + [voice(seed).tobytes()[:16] for seed in (1, 2, 3)] + [SOUND[:27]]


def test_nothing_can_be_read_in_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diarize.library.search.index.MANY", 1)
    with opened(tmp_path / "s.db", PASS) as made:
        made.enrol("Anna Karenina", [enrolment(1, audio=SOUND)], consent="signed in Tula")
        made.enrol("Konstantin Levin", [enrolment(2, origin="the mowing tape"), enrolment(3)])
        made.matrix(MODEL)
        files = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert set(files) == {"s.db", "s.db-wal", "s.db-shm"}  # no index files
        everything = b"".join(files.values())
        assert [secret for secret in secrets() if secret in everything] == []
        assert MODEL.encode() in everything  # the model's name stays readable: the search does see the data


def test_the_same_search_finds_them_where_nothing_is_encrypted(tmp_path: Path) -> None:
    with opened(tmp_path / "s.db") as made:
        made.enrol("Anna Karenina", [enrolment(1, audio=SOUND)], consent="signed in Tula")
        made.enrol("Konstantin Levin", [enrolment(2, origin="the mowing tape"), enrolment(3)])
    everything = (tmp_path / "s.db").read_bytes()
    assert [secret for secret in secrets() if secret not in everything] == []


def test_with_the_passphrase_all_is_there(library: Path) -> None:
    with store.open(library, PASS) as held:
        anna, levin = held.people()
        assert (anna.name, anna.consent, levin.name) == ("Anna Karenina", "signed in Tula", "Konstantin Levin")
        assert held.sound(held.utterances(anna.id)[0].id) == SOUND
        assert held.find("Konstantin Levin") == levin
        assert (held.voices(MODEL)[0].vector == voice(1)).all()
        held.rename(anna.id, "Anna")
        held.merge(anna.id, levin.id)
        assert held.audit().ok


def test_the_content_is_the_same_with_and_without(library: Path, tmp_path: Path) -> None:
    with store.open(library, PASS) as held, store.open(tmp_path / "plain.db", create=True) as plain:
        portable.write(held, tmp_path / "e.zip")
        portable.read(plain, tmp_path / "e.zip")
        assert plain.digest(MODEL) == held.digest(MODEL)


def test_fault_63_wrong_key(library: Path) -> None:
    for wrong in ("correct horse", PASS + " "):
        with pytest.raises(
            PassphraseError, match=r"the passphrase is wrong\. Give the right one in DIARIZE_PASSPHRASE"
        ):
            store.open(library, wrong)
    with pytest.raises(PassphraseError, match="it is encrypted"):
        store.open(library)
    with pytest.raises(PassphraseError, match="the passphrase is empty"):
        store.open(library, "")


def test_one_passphrase_in_two_spellings_of_unicode(library: Path) -> None:
    with store.open(library, PASS.replace("è", "e\u0300")) as held:
        assert len(held.people()) == 2


def test_a_passphrase_for_a_library_that_is_not_encrypted(tmp_path: Path) -> None:
    with opened(tmp_path / "s.db") as made:
        assert not made.encrypted
    with pytest.raises(PassphraseError, match="this library is not encrypted"):
        store.open(tmp_path / "s.db", PASS)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE voices SET vector = (SELECT v.vector FROM voices v WHERE v.person <> voices.person)",
        "UPDATE people SET name = (SELECT p.name FROM people p WHERE p.id <> people.id)",
        "UPDATE people SET name = record",
        "UPDATE people SET record = name",
        "UPDATE people SET expires = '2999-01-01'",
        "UPDATE utterances SET person = (SELECT min(id) FROM people)",
        "UPDATE vectors SET vector = (SELECT x.vector FROM vectors x ORDER BY x.utterance LIMIT 1)",
        "UPDATE voices SET seconds = 100 * seconds",
        "UPDATE utterances SET audio = substr(audio, 1, 100) WHERE audio IS NOT NULL",
        "UPDATE models SET fingerprint = zeroblob(2076)",
        "UPDATE people SET name = x'00'",
    ],
)
def test_a_value_that_was_moved_or_changed_does_not_open(change: str, library: Path) -> None:
    with sqlite3.connect(library) as connection:
        connection.execute(change)
    connection.close()
    with store.open(library, PASS) as held:
        assert not held.audit().ok
        with pytest.raises(LibraryError):
            for person in held.people():
                for utterance in held.utterances(person.id):
                    held.sound(utterance.id)
            held.voices(MODEL)
            held.digest(MODEL)


@pytest.mark.parametrize(
    "change",
    [{"n": 2**40}, {"n": 3}, {"n": "2"}, {"salt": "xyz"}, {"key": None}],
    ids=str,
)
def test_a_key_record_that_asks_for_the_impossible(change: dict[str, object], library: Path) -> None:
    def rewrite(connection: sqlite3.Connection) -> None:
        (record,) = connection.execute("SELECT value FROM meta WHERE key = 'seal'").fetchone()
        changed = json.dumps({**json.loads(record), **change}).encode()
        connection.execute("UPDATE meta SET value = ? WHERE key = 'seal'", (changed,))

    with sqlite3.connect(library) as connection:
        rewrite(connection)
    connection.close()
    with pytest.raises(LibraryDamaged, match="the record of its key cannot be read"):
        store.open(library, PASS)


def test_every_sealed_value_has_its_own_nonce() -> None:
    made, _ = encryption.create(PASS, "s.db")
    sealed = [made.close(b"the same", "people/name/1") for _ in range(1000)]
    assert len({value[:12] for value in sealed}) == 1000
    assert {made.open(value, "people/name/1") for value in sealed} == {b"the same"}
    with pytest.raises(LibraryDamaged, match="people/name/2 was changed, or belongs to another place"):
        made.open(sealed[0], "people/name/2")


def test_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(MissingExtra, match=r"pip install 'diarize-pipeline\[encrypt\]'"):
        store.open(tmp_path / "s.db", PASS, create=True)


def test_where_a_passphrase_comes_from(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("from the file\nnot this\n", encoding="utf-8")
    (tmp_path / "empty").write_text("\n", encoding="utf-8")
    assert encryption.passphrase_of({}) is None
    assert encryption.passphrase_of({"DIARIZE_PASSPHRASE": ""}) is None
    assert encryption.passphrase_of({"DIARIZE_PASSPHRASE": "x"}) == "x"
    assert encryption.passphrase_of({"DIARIZE_PASSPHRASE": "x"}, tmp_path / "p") == "from the file"
    with pytest.raises(PassphraseError, match="first line is empty"):
        encryption.passphrase_of({}, tmp_path / "empty")
    with pytest.raises(PassphraseError, match="cannot be read"):
        encryption.passphrase_of({}, tmp_path / "nothing")

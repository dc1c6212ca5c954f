"""The log tells what happened, cannot be edited unnoticed, and keeps no names; what is removed is gone."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from diarize.library import store
from diarize.library.database import encryption
from tests.library.voices import MODEL, enrolment, opened, voice


@pytest.fixture
def library(tmp_path: Path) -> Path:
    with opened(tmp_path / "s.db") as made:
        for seed in range(4):
            made.enrol(f"person {seed}", [enrolment(seed)])
    return tmp_path / "s.db"


def change(library: Path, sql: str) -> None:
    """What somebody does who has the file and knows SQLite."""
    with sqlite3.connect(library) as connection:
        for trigger in ("audit_stays", "audit_is_kept"):
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute(sql)
    connection.close()


def test_every_change_is_told(tmp_path: Path) -> None:
    with opened(tmp_path / "s.db") as library:
        anna = library.enrol("Anna", [enrolment(1), enrolment(2)])
        ben = library.enrol("Ben", [enrolment(3)])
        library.enrol(None, [enrolment(4)], person=anna.id)
        library.rename(anna.id, "Anne")
        library.consent(anna.id, "yes", None)
        library.merge(anna.id, ben.id)
        library.remove(anna.id)
        report = library.audit()
    assert [(e.seq, e.action, e.person) for e in report.entries] == [
        (1, "enrol", anna.id), (2, "enrol", ben.id), (3, "extend", anna.id), (4, "rename", anna.id),
        (5, "consent", anna.id), (6, "merge", anna.id), (7, "remove", anna.id),
    ]  # fmt: skip
    assert report.entries[0].detail == {"utterances": 2, "models": [MODEL]}
    assert report.entries[5].detail == {"gone": ben.id, "utterances": 1}
    assert report.ok


def test_the_log_only_grows(library: Path) -> None:
    connection = sqlite3.connect(library)
    for sql in ("DELETE FROM audit", "UPDATE audit SET action = 'x'"):
        with pytest.raises(sqlite3.IntegrityError, match="only grows"):
            connection.execute(sql)
    connection.close()


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("UPDATE audit SET action = 'remove' WHERE seq = 2", "audit entry 2 (remove, .*) breaks the chain"),
        ("UPDATE audit SET time = '1999' WHERE seq = 3", "audit entry 3 (enrol, 1999) breaks the chain"),
        ("UPDATE audit SET person = 'x' WHERE seq = 1", "audit entry 1 .* breaks the chain"),
        ("UPDATE audit SET detail = '{}' WHERE seq = 4", "audit entry 4 .* breaks the chain"),
        ("UPDATE audit SET detail = 'no json' WHERE seq = 4", "audit entry 4 .* breaks the chain"),
        ("UPDATE audit SET hash = zeroblob(32) WHERE seq = 2", "audit entry 2 .* breaks the chain"),
        ("DELETE FROM audit WHERE seq = 2", "audit entry 2 is missing: entry 3 .* follows"),
        ("DELETE FROM audit WHERE seq = 4", "3 entries instead of 4: entries at its end were deleted"),
        ("DELETE FROM audit", "0 entries instead of 4"),
    ],
)
def test_the_entry_that_breaks_the_chain_is_named(sql: str, problem: str, library: Path) -> None:
    change(library, sql)
    with store.open(library) as held:
        report = held.audit()
    assert len(report.problems) == 1
    assert re.search(problem.replace("(", r"\(").replace(")", r"\)"), report.problems[0])


def test_a_chain_computed_anew_does_not_fit_an_encrypted_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cryptography", reason="the extra `encrypt` is not installed")
    monkeypatch.setattr(encryption, "COST", 2**4)
    with opened(tmp_path / "s.db", "secret") as made:
        made.enrol("Anna", [enrolment(1)])
    plain = encryption.Plain()
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.execute("DROP TRIGGER audit_stays")
        forged = plain.chain(bytes(32), b"anything")
        connection.execute("UPDATE audit SET hash = ?, action = 'consent'", (forged,))
        connection.execute("UPDATE meta SET value = ? WHERE key = 'audit'", ((1).to_bytes(8, "big") + forged,))
    connection.close()
    with store.open(tmp_path / "s.db", "secret") as held:
        assert "audit entry 1" in held.audit().problems[0]


def test_what_is_removed_is_gone_from_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diarize.library.search.index.MANY", 1)
    sound = b"the sound of Anna" * 1000
    secrets = [b"Anna Karenina", voice(1).tobytes(), sound[:100], b"signed in Tula", f"{1:064x}".encode()]
    with opened(tmp_path / "s.db") as library:
        library.enrol("Konstantin Levin", [enrolment(2)])
        anna = library.enrol("Anna Karenina", [enrolment(1, audio=sound)], consent="signed in Tula")
        library.matrix(MODEL)

        def found() -> list[bytes]:
            data = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
            return [secret for secret in secrets if secret in data]

        assert found() == secrets
        library.remove(anna.id)
        assert found() == []
        assert [p.name for p in library.people()] == ["Konstantin Levin"]
        last = library.audit().entries[-1]
        assert (last.action, last.person, last.detail) == ("remove", anna.id, {"utterances": 1})
        assert list(library.matrix(MODEL).names) == ["Konstantin Levin"]
        assert library.audit().ok


def test_the_last_voice_of_a_model_takes_the_model_along(tmp_path: Path) -> None:
    with opened(tmp_path / "s.db") as library:
        anna = library.enrol("Anna", [enrolment(1)])
        library.remove(anna.id)
        assert library.models() == ()
        library.enrol("Ben", [enrolment(2, vector=voice(2, 8))])  # so that name may mean another model now
        assert library.audit().ok

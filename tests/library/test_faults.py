"""A library that is not there, not ours, not whole, not ours to write or not to be opened: each has its own message."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from diarize.errors import (
    LibraryDamaged,
    LibraryFull,
    LibraryLocked,
    LibraryMissing,
    LibraryNewer,
    LibraryReadOnly,
    LibraryUnreadable,
)
from diarize.library import store
from diarize.library.database import engine, schema
from tests.library.voices import MODEL, enrolment, opened


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A library with three people, closed."""
    with opened(tmp_path / "s.db") as made:
        for seed in range(3):
            made.enrol(f"person {seed}", [enrolment(seed)])
    return tmp_path / "s.db"


def test_fault_63_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(LibraryMissing, match=r"there is no library here\. Enrol somebody first"):
        store.open(tmp_path / "s.db")
    with pytest.raises(LibraryMissing):
        store.open(tmp_path / "s.db", create=True, read_only=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"not a database at all", b"\0" * 5000, b"RIFF"])
def test_fault_63_another_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "s.db").write_bytes(content)
    for create in (False, True):
        with pytest.raises(LibraryUnreadable, match="it is no library of speakers"):
            store.open(tmp_path / "s.db", create=create)
    assert (tmp_path / "s.db").read_bytes() == content


def test_fault_63_another_programs_database(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "s.db") as other:
        other.execute("CREATE TABLE people (name TEXT)")
    other.close()
    before = (tmp_path / "s.db").read_bytes()
    for create in (False, True):
        with pytest.raises(LibraryUnreadable, match="another program's database"):
            store.open(tmp_path / "s.db", create=create)
    assert (tmp_path / "s.db").read_bytes() == before


def test_fault_63_a_folder_and_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(LibraryUnreadable, match="it is not a file"):
        store.open(tmp_path)
    (tmp_path / "s.db").touch()
    with pytest.raises(LibraryUnreadable, match="it is empty"):
        store.open(tmp_path / "s.db")
    with store.open(tmp_path / "s.db", create=True) as library:  # what a kill in the first moment leaves behind
        assert library.people() == ()


def test_fault_63_damaged(library: Path) -> None:
    data = bytearray(library.read_bytes())
    for at in range(4096, len(data), 512):  # every page but the first
        data[at : at + 64] = b"\xa5" * 64
    library.write_bytes(data)
    with pytest.raises(LibraryDamaged, match="damaged"), store.open(library) as opened:
        opened.people()
        opened.voices(MODEL)


def test_fault_63_cut_short(library: Path) -> None:
    os.truncate(library, 10_000)
    with pytest.raises(LibraryDamaged, match="damaged"), store.open(library) as opened:
        opened.people()


def test_an_audit_finds_damage(library: Path) -> None:
    with sqlite3.connect(library) as connection:
        connection.execute("UPDATE voices SET vector = (SELECT vector FROM voices ORDER BY person DESC LIMIT 1)")
    connection.close()
    with store.open(library) as changed:
        problems = changed.audit().problems
    assert any("is not that of their utterances" in problem for problem in problems)
    assert "the voices of made-16 are not those that were written" in problems


def test_a_newer_version(library: Path) -> None:
    with sqlite3.connect(library) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    connection.close()
    with pytest.raises(LibraryNewer, match=f"its version is {schema.VERSION + 1}.*pip install --upgrade"):
        store.open(library)


@pytest.mark.parametrize("version", [0, -3])
@pytest.mark.parametrize("read_only", [True, False])
def test_a_version_that_never_was(library: Path, version: int, read_only: bool) -> None:
    with sqlite3.connect(library) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    with pytest.raises(LibraryDamaged, match=f"its version is {version}"):
        store.open(library, read_only=read_only)


def test_an_older_version_is_brought_up_to_date(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    monkeypatch.setitem(schema.MIGRATIONS, schema.VERSION - 1, ("ALTER TABLE people ADD COLUMN title TEXT",))
    with pytest.raises(LibraryReadOnly, match="must be updated first"):
        store.open(library, read_only=True)
    with store.open(library) as updated:
        assert len(updated.people()) == 3
        backup = library.with_name(f"s.db.v{schema.VERSION - 1}-backup")
        assert backup.stat().st_mode & 0o777 == 0o600
        with sqlite3.connect(backup) as old:
            assert old.execute("SELECT count(*) FROM people").fetchone() == (3,)
            assert old.execute("PRAGMA user_version").fetchone() == (schema.VERSION - 1,)
        old.close()
        updated.remove(updated.people()[0].id)
        assert not backup.exists()  # it held the one who was removed
    with sqlite3.connect(library) as connection:
        connection.execute("SELECT title FROM people")
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
    connection.close()


def test_an_update_that_fails_changes_nothing(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = ("ALTER TABLE people ADD COLUMN title TEXT", "ALTER TABLE absent ADD COLUMN x")
    with monkeypatch.context() as newer:
        newer.setattr(schema, "VERSION", schema.VERSION + 1)
        newer.setitem(schema.MIGRATIONS, schema.VERSION - 1, steps)
        with pytest.raises(LibraryDamaged, match="no such table"):
            store.open(library)
    with store.open(library) as same:
        assert len(same.people()) == 3


def test_locked(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PATIENCE", 0.1)
    other = sqlite3.connect(library, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with store.open(library) as held:
        assert len(held.people()) == 3  # reading goes on
        with pytest.raises(LibraryLocked, match="another process is using it"):
            held.enrol("Anna", [enrolment(9)])
        other.execute("COMMIT")
        held.enrol("Anna", [enrolment(9)])
    other.close()


def test_a_removal_is_finished_later_where_somebody_reads(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PATIENCE", 0.1)
    reader = sqlite3.connect(library, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM people").fetchall()
    with store.open(library) as held:
        with pytest.raises(LibraryLocked, match=r"the person is deleted, .* not overwritten yet: another process"):
            held.remove(held.find("person 1").id)
        assert len(held.people()) == 2
    assert b"person 1" in library.read_bytes()
    reader.execute("COMMIT")
    reader.close()
    with store.open(library):
        pass
    assert not any(b"person 1" in path.read_bytes() for path in library.parent.iterdir())


def test_read_only(library: Path) -> None:
    with store.open(library, read_only=True) as held:
        assert len(held.voices(MODEL)) == len(held.matrix(MODEL)) == 3
        assert held.audit().ok
        for change in (
            lambda: held.enrol("Anna", [enrolment(9)]),
            lambda: held.remove(held.people()[0].id),
            lambda: held.rename(held.people()[0].id, "x"),
        ):
            with pytest.raises(LibraryReadOnly, match="opened for reading only"):
                change()


NOBODY = """
import os, sys
from pathlib import Path
from diarize.errors import LibraryError
from diarize.library import store
from tests.library.voices import enrolment
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
path = Path(sys.argv[1])
with store.open(path, read_only=True) as library:
    print(len(library.people()))
try:
    with store.open(path) as library:
        library.enrol("Anna", [enrolment(9)])
except LibraryError as error:
    print(type(error).__name__, error.problem)
"""


def test_a_file_that_may_not_be_written(library: Path) -> None:
    for folder in library.parents:
        if folder.stat().st_uid == os.getuid() and not folder.stat().st_mode & 0o001 and len(folder.parts) > 1:
            folder.chmod(folder.stat().st_mode | 0o005)
    library.chmod(0o444)
    library.parent.chmod(0o555)
    try:
        result = subprocess.run(
            [sys.executable, "-c", NOBODY, str(library)], capture_output=True, text=True, cwd=Path(__file__).parents[2]
        )
    finally:
        library.parent.chmod(0o755)
    assert result.stderr == ""
    assert result.stdout.splitlines() == ["3", "LibraryReadOnly it cannot be written"]


def test_fault_48_a_full_disk_changes_nothing(library: Path) -> None:
    with store.open(library) as held:
        before = held.digest(MODEL)
        pages = held._engine.execute("PRAGMA page_count")[0][0]
        for room in range(3):
            held._engine.execute(f"PRAGMA max_page_count = {pages + room}")
            with pytest.raises(LibraryFull, match=r"the disk is full; nothing was changed\. Free some space"):
                held.enrol("Anna", [enrolment(100 + i, audio=bytes(50_000)) for i in range(3)])
            assert (held.digest(MODEL), len(held.people())) == (before, 3)
        held._engine.execute("PRAGMA max_page_count = 100000")
        held.enrol("Anna", [enrolment(9)])
        assert held.audit().ok


def test_fault_48_no_room_to_overwrite_what_was_removed(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: engine.Sqlite, rewrite: bool = True) -> None:
        raise LibraryFull(self.place, "the disk is full", "")

    with store.open(library) as held:
        with monkeypatch.context() as patch:
            patch.setattr(engine.Sqlite, "purge", full)
            with pytest.raises(LibraryFull, match=r"deleted, .* not overwritten yet.*This is done when the library is"):
                held.remove(held.find("person 1").id)
        assert len(held.people()) == 2
        assert held.audit().entries[-1].action == "remove"
    with store.open(library) as held:
        assert held._rows.meta("purge") is None


LIMITED = """
import resource, sys
from pathlib import Path
from diarize.errors import LibraryError
from diarize.library import store
from tests.library.voices import enrolment
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
with store.open(path) as library:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    try:
        for seed in range(10, 200):
            library.enrol(f"more {seed}", [enrolment(seed)])
            print(seed, flush=True)
    except LibraryError as error:
        print(type(error).__name__)
"""


@pytest.mark.parametrize("limit", [60_000, 100_000, 151_000])
def test_fault_48_no_room_at_the_nth_write(limit: int, library: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", LIMITED, str(library), str(limit)],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    *confirmed, error = result.stdout.split()
    assert error == "LibraryFull"
    with store.open(library) as held:
        assert {f"more {seed}" for seed in confirmed} <= {p.name for p in held.people()}
        assert held.audit().ok


def test_many_at_the_door(tmp_path: Path) -> None:
    """Several that make the same library at the same moment end up with one."""
    errors: list[BaseException] = []

    def arrive(seed: int) -> None:
        try:
            with store.open(tmp_path / "s.db", create=True) as library:
                library.enrol(f"person {seed}", [enrolment(seed)])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=arrive, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with store.open(tmp_path / "s.db") as library:
        assert len(library.people()) == 8

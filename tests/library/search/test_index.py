"""Index files are derived: checked against the library, extended or made anew, and never believed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from diarize.library import store
from diarize.library.database.records import Matrix
from diarize.library.search import mapped_matrix
from diarize.library.store import Library
from tests.library.voices import MODEL, Clock, enrolment, opened, voice


@pytest.fixture(autouse=True)
def files_from_the_first_voice_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diarize.library.search.index.MANY", 1)
    monkeypatch.setattr(mapped_matrix, "PIECE", 4)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    with opened(tmp_path / "s.db") as made:
        for seed in range(10):
            made.enrol(f"person {seed}", [enrolment(seed)])
        made.matrix(MODEL)
    return tmp_path / "s.db"


def names(library: Path) -> list[str]:
    return sorted(path.name for path in library.with_name("s.db.index").iterdir())


def vectors(library: Path) -> Path:
    (found,) = library.with_name("s.db.index").glob("*.vectors")
    return found


def same(matrix: Matrix, library: Library) -> None:
    """A matrix says what the library's rows say."""
    rows = {v.id: v for v in library.voices(MODEL)}
    assert set(matrix.ids) == set(rows)
    for id, name, vector, seconds in zip(matrix.ids, matrix.names, matrix.vectors, matrix.seconds, strict=True):
        assert (rows[id].name, rows[id].seconds) == (name, seconds)
        np.testing.assert_array_equal(rows[id].vector, vector)
    assert matrix.digest == library.digest(MODEL)


def test_files_are_mapped_and_used_again(library: Path) -> None:
    before = names(library)
    with store.open(library) as held:
        matrix = held.matrix(MODEL)
        same(matrix, held)
        assert isinstance(matrix.vectors, np.memmap)
        assert matrix.vectors.flags.writeable is False
        assert held.matrix(MODEL) is matrix
    assert names(library) == before
    assert len(before) == 2


def test_somebody_new_is_added_at_the_end(library: Path) -> None:
    file = vectors(library)
    with opened(library, ids="new") as held:
        old = held.matrix(MODEL)
        copy = old.vectors.copy()
        for seed in (20, 21, 22):
            held.enrol("new", [enrolment(seed)])
            same(held.matrix(MODEL), held)
        assert vectors(library) == file
        assert len(names(library)) == 2
        np.testing.assert_array_equal(old.vectors, copy)  # whoever maps the old rows sees what they saw
        assert held.audit().ok
    with store.open(library) as held:
        same(held.matrix(MODEL), held)


@pytest.mark.parametrize(
    "change",
    [
        lambda held: held.rename("id-0001", "another"),
        lambda held: held.enrol(None, [enrolment(99)], person="id-0003"),
        lambda held: held.remove("id-0005"),
        lambda held: held.merge("id-0001", "id-0003"),
        lambda held: held.consent("id-0001", None, date(2020, 1, 1)),
        lambda held: (held.rename("id-0001", "x"), held.enrol("new", [enrolment(50)])),
    ],
)
def test_any_other_change_makes_new_files(change: Callable[[Library], object], library: Path) -> None:
    file = vectors(library)
    with opened(library, ids="new") as held:
        held.matrix(MODEL)
        change(held)
        same(held.matrix(MODEL), held)
        assert vectors(library) != file
        assert len(names(library)) == 2
        assert held.audit().ok


def test_files_follow_a_consent_that_ends(library: Path) -> None:
    clock = Clock()
    with opened(library, clock=clock) as held:
        held.consent("id-0001", None, date(2026, 3, 1))
        assert len(held.matrix(MODEL)) == 10
        clock.move(days=1)
        same(held.matrix(MODEL), held)
        assert len(held.matrix(MODEL)) == 9
        held.consent("id-0001", None, None)
        same(held.matrix(MODEL), held)


def swap(file: Path) -> None:
    """Two people's voices exchanged: what an attacker would do."""
    data = file.read_bytes()
    file.write_bytes(data[64:128] + data[:64] + data[128:])


@pytest.mark.parametrize(
    "damage",
    [
        swap,
        lambda file: file.unlink(),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: file.write_bytes(b"\x80\x04cos\nsystem\n"),
        lambda file: (file.rename(file.with_suffix(".x")), file.symlink_to(file.with_suffix(".x"))),
        lambda file: next(file.parent.glob("*.people")).write_bytes(bytes(500)),
        lambda file: next(file.parent.glob("*.people")).unlink(),
    ],
)
def test_fault_57_58_damaged_or_planted_files_are_made_anew(damage: Callable[[Path], object], library: Path) -> None:
    file = vectors(library)
    damage(file)
    with store.open(library) as held:
        assert "are not what was written" in " ".join(held.audit().problems)
        same(held.matrix(MODEL), held)
        assert vectors(library) != file
        assert held.audit().ok
        assert len(names(library)) == 2


def test_a_planted_file_is_not_looked_at(library: Path) -> None:
    (library.with_name("s.db.index") / "0000.vectors").write_bytes(voice(1).tobytes() * 10)
    with store.open(library) as held:
        same(held.matrix(MODEL), held)
        held.remove("id-0001")
    assert names(library) == []


def test_untouched_content_with_another_date_is_still_used(library: Path) -> None:
    file = vectors(library)
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(data)  # as after copying a library to another machine
    with store.open(library) as held:
        same(held.matrix(MODEL), held)
    assert vectors(library) == file


def test_rows_of_a_writer_that_was_killed_are_cut_off(library: Path) -> None:
    file = vectors(library)
    with file.open("ab") as end:
        end.write(bytes(200))
    with opened(library, ids="new") as held:
        held.enrol("new", [enrolment(30)])
        same(held.matrix(MODEL), held)
        assert vectors(library) == file
        assert file.stat().st_size == 11 * 64


def test_a_full_disk_leaves_the_search_as_it_is(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mapped_matrix, "_sync", full)
    with opened(library, ids="new") as held:
        held.enrol("new", [enrolment(30)])
        same(held.matrix(MODEL), held)
        held.rename("id-0001", "x")
        matrix = held.matrix(MODEL)
        same(matrix, held)
        assert not isinstance(matrix.vectors, np.memmap)


def test_a_name_in_the_library_that_leads_elsewhere_is_not_followed(library: Path, tmp_path: Path) -> None:
    file = vectors(library)
    outside = tmp_path / "outside.vectors"
    outside.write_bytes(file.read_bytes())
    with opened(library, ids="new") as held:
        rows = held._engine.execute("SELECT manifest FROM indexes")
        held._engine.execute("UPDATE indexes SET manifest = ?", (rows[0][0].replace(file.name, "../outside.vectors"),))
        held.enrol("new", [enrolment(30)])
        same(held.matrix(MODEL), held)
    assert outside.stat().st_size == 10 * 64


def test_a_small_library_keeps_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diarize.library.search.index.MANY", 4)
    with opened(tmp_path / "s.db") as held:
        for seed in range(3):
            held.enrol(f"person {seed}", [enrolment(seed)])
            same(held.matrix(MODEL), held)
        assert not (tmp_path / "s.db.index").exists()
        held.enrol("the fourth", [enrolment(4)])
        same(held.matrix(MODEL), held)
        assert len(names(tmp_path / "s.db")) == 2


def test_two_open_libraries_see_each_others_changes(library: Path) -> None:
    with opened(library, ids="a") as one, opened(library, ids="b") as other:
        for seed in range(40, 46):
            (one if seed % 2 else other).enrol(f"person {seed}", [enrolment(seed)])
            same(one.matrix(MODEL), one)
            same(other.matrix(MODEL), other)
        one.remove("id-0001")
        same(other.matrix(MODEL), other)
        assert len(names(library)) == 2

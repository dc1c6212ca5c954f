"""What is exported comes back whole; what is no export changes nothing."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diarize.errors import FormatError, OutputError
from diarize.library import portable, store
from tests.library.voices import MODEL, enrolment, opened, voice


@pytest.fixture
def library(tmp_path: Path) -> Path:
    with opened(tmp_path / "s.db") as made:
        made.enrol("Anna", [enrolment(1, audio=b"\0sound"), enrolment(2)], "yes", date(2030, 1, 1))
        ben = made.enrol("Ben", [enrolment(3)])
        made.enrol(None, [enrolment(3, model="other", vector=voice(3, 8))], person=ben.id)
        made.enrol("nobody yet", [])
    return tmp_path / "s.db"


def test_a_round_trip(library: Path, tmp_path: Path) -> None:
    with store.open(library) as here, opened(tmp_path / "t.db", ids="other") as there:
        portable.write(here, tmp_path / "e.zip")
        taken = portable.read(there, tmp_path / "e.zip")
        assert taken == there.people() == here.people()
        assert [there.digest(m) for m in there.models()] == [here.digest(m) for m in here.models()]
        anna = here.people()[0].id
        for mine, theirs in zip(here.utterances(anna), there.utterances(anna), strict=True):
            assert (mine.source, mine.start, mine.end, mine.seconds, mine.quality, mine.origin) == (
                theirs.source, theirs.start, theirs.end, theirs.seconds, theirs.quality, theirs.origin,
            )  # fmt: skip
            assert here.sound(mine.id) == there.sound(theirs.id)
        assert there.audit().ok
        portable.write(there, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "e.zip").read_bytes()


def test_coming_twice_adds_nothing(library: Path, tmp_path: Path) -> None:
    with store.open(library) as here:
        portable.write(here, tmp_path / "e.zip")
        before = here.digest(MODEL), here.people()
        here.rename(here.people()[1].id, "Benjamin")
        portable.read(here, tmp_path / "e.zip")
        assert [p.name for p in here.people()] == ["Anna", "Benjamin", "nobody yet"]  # who is there keeps the name
        here.rename(here.people()[1].id, "Ben")
        assert (here.digest(MODEL), here.people()) == before


def test_the_file_is_what_the_documentation_says(library: Path, tmp_path: Path) -> None:
    with store.open(library) as here:
        portable.write(here, tmp_path / "e.zip")
    with zipfile.ZipFile(tmp_path / "e.zip") as archive:
        assert sorted(archive.namelist()) == ["audio-000001", "library.json", "vectors-0.npy", "vectors-1.npy"]
        notes = json.loads(archive.read("library.json"))
        assert archive.read("audio-000001") == b"\0sound"
        vectors = np.load(io.BytesIO(archive.read("vectors-0.npy")))
    assert notes["models"][0] == {"name": MODEL, "vectors": "vectors-0.npy"}
    second = notes["people"][0]["utterances"][1]
    np.testing.assert_array_equal(vectors[second["vectors"]["0"]], voice(2))
    assert (second["source"], second["start"], second["seconds"], second["audio"]) == (f"{2:064x}", 1.0, 4.0, None)


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def rewrite(path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        notes = json.loads(members["library.json"])
        change(notes)
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, json.dumps(notes) if name == "library.json" else data)

    return rewrite


def pickled(path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, buffer.getvalue() if name == "vectors-0.npy" else data)


def compressed(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("library.json", "[" * 10_000_000)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda path: path.write_bytes(b"no zip"), "not a zip"),
        (lambda path: path.write_bytes(path.read_bytes()[:400]), "not a zip"),
        (lambda path: path.unlink(), "No such file"),
        (pickled, "allow_pickle=False"),
        (compressed, "it is compressed"),
        (edited(lambda notes: notes.update(format="x")), "its format is another one"),
        (edited(lambda notes: notes.update(version=2)), "a newer version"),
        (edited(lambda notes: notes.pop("people")), "it has no 'people'"),
        (edited(lambda notes: notes["people"][1].update(name=7)), "a string was expected"),
        (edited(lambda notes: notes["people"][1].update(id="")), "cannot be an id"),
        (edited(lambda notes: notes["people"][1].update(created="yesterday")), "Invalid isoformat"),
        (edited(lambda notes: notes["people"][1].update(expires="never")), "Invalid isoformat"),
        (edited(lambda notes: notes["people"][1]["utterances"][0].update(seconds=-1)), "some seconds"),
        (edited(lambda notes: notes["people"][1]["utterances"][0].update(vectors={"0": 99})), "out of bounds"),
        (edited(lambda notes: notes["people"][1]["utterances"][0].update(vectors={"7": 0})), "out of range"),
        (edited(lambda notes: notes["people"][0]["utterances"][0].update(audio="../x")), "no item named"),
        (edited(lambda notes: notes["people"].append(4)), "not subscriptable"),
    ],
)
def test_what_is_no_export_changes_nothing(
    spoil: Callable[[Path], object], why: str, library: Path, tmp_path: Path
) -> None:
    with store.open(library) as here:
        portable.write(here, tmp_path / "e.zip")
    spoil(tmp_path / "e.zip")
    with opened(tmp_path / "t.db") as there:
        with pytest.raises(FormatError, match=f"{why}.*Nothing was changed"):
            portable.read(there, tmp_path / "e.zip")
        assert there.people() == ()
        assert there.audit().entries == ()


def test_where_nothing_can_be_written(library: Path, tmp_path: Path) -> None:
    with store.open(library) as here, pytest.raises(OutputError):
        portable.write(here, tmp_path / "absent" / "e.zip")


@pytest.mark.parametrize("place", ["s.db", "s.db-wal", "other.db", ".", "folder"])
def test_an_export_never_takes_the_place_of_a_library_or_a_folder(
    library: Path, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with opened(tmp_path / "other.db") as other:
        other.enrol("Cleo", [enrolment(9)])
    with store.open(library) as here, pytest.raises(OutputError):
        portable.write(here, Path(place))
    with store.open(library) as here, store.open(tmp_path / "other.db") as other:
        assert (len(here.people()), len(other.people())) == (3, 1)


def test_an_export_whose_notes_are_nested_without_end_is_refused(library: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "deep.zip", "w") as archive:
        archive.writestr("library.json", "[" * 100_000)
    with store.open(library) as here, pytest.raises(FormatError, match="not an export of a library"):
        portable.read(here, tmp_path / "deep.zip")


def test_an_export_that_is_not_there_is_said_to_be_unreadable(library: Path, tmp_path: Path) -> None:
    with store.open(library) as here, pytest.raises(FormatError, match=r"cannot be read: No such file or directory\."):
        portable.read(here, tmp_path / "none.zip")

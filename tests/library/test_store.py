"""People are enrolled, changed and removed, and the library returns what was stored of them."""

from __future__ import annotations

import multiprocessing
import stat
import unicodedata
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

from diarize.errors import ConfigError, UnknownPerson
from diarize.library import portable, store
from diarize.library.database import address
from diarize.library.database.records import Enrolment
from tests.library.voices import MODEL, Clock, enrolment, opened, voice

HOSTILE = [
    "Anna Maria", "tab\there", "new\nline", 'quo"te', "<script>alert(1)</script>", "=cmd()", "a --> b", "😀",
    "\u202eevil", "x" * 10_000, "", "NA", "null", "01", "'; DROP TABLE people; --", "nul\0byte", "\udcff", "%s ? {0}",
]  # fmt: skip


def test_a_person_is_told_as_enrolled(tmp_path: Path) -> None:
    with opened(tmp_path / "s.db") as library:
        anna = library.enrol("Anna", [enrolment(1), enrolment(2, seconds=2.0)], "on paper, 1 March", date(2030, 1, 1))
        assert (anna.name, anna.consent, anna.expires, anna.expired) == (
            "Anna",
            "on paper, 1 March",
            date(2030, 1, 1),
            False,
        )
        assert (anna.utterances, anna.seconds) == (2, {MODEL: 6.0})
        first, second = library.utterances(anna.id)
        assert (first.source, first.start, first.end, first.seconds) == (f"{1:064x}", 1.0, 6.0, 4.0)
        assert (first.quality, first.origin, first.audio) == ({"snr": 20.5}, "tape 1", False)
        np.testing.assert_array_equal(second.vectors[MODEL], voice(2))
    with store.open(tmp_path / "s.db") as again:
        assert again.person(anna.id) == anna


def test_a_voice_is_the_mean_weighted_by_seconds(tmp_path: Path) -> None:
    with opened(tmp_path / "s.db") as library:
        anna = library.enrol("Anna", [enrolment(1, seconds=3.0)])
        library.enrol(None, [enrolment(2, seconds=1.0)], person=anna.id)
        (found,) = library.voices(MODEL)
    expected = 3 * voice(1).astype(np.float64) + voice(2)
    np.testing.assert_allclose(found.vector, expected / np.linalg.norm(expected), atol=1e-6)
    assert (found.id, found.name, found.seconds, found.model) == (anna.id, "Anna", 4.0, MODEL)


def test_the_order_of_utterances_changes_nothing(tmp_path: Path) -> None:
    digests = []
    for name, order in (("a", (1, 2, 3)), ("b", (3, 1, 2))):
        with opened(tmp_path / name) as library:
            library.enrol("Anna", [enrolment(seed, seconds=0.1 * seed) for seed in order])
            digests.append(library.digest(MODEL))
    assert digests[0] == digests[1]


def test_an_utterance_counts_once(tmp_path: Path) -> None:
    with opened(tmp_path / "s.db") as library:
        anna = library.enrol("Anna", [enrolment(1), enrolment(1)])
        before = library.digest(MODEL)
        again = library.enrol(None, [enrolment(1)], person=anna.id)
        assert (again.utterances, again.seconds, library.digest(MODEL)) == (1, {MODEL: 4.0}, before)


def test_vectors_of_two_models_never_meet(tmp_path: Path) -> None:
    with opened(tmp_path / "s.db") as library:
        anna = library.enrol("Anna", [enrolment(1)])
        library.enrol("Ben", [enrolment(2, model="other", vector=voice(2, 8))])
        assert library.models() == (MODEL, "other")
        assert [v.name for v in library.voices(MODEL)] == ["Anna"]
        assert [v.name for v in library.voices("other")] == ["Ben"]
        assert library.voices("unheard of") == ()
        library.enrol(
            None, [enrolment(1, model="other", vector=voice(3, 8))], person=anna.id
        )  # the same utterance, re-embedded
        assert library.person(anna.id).utterances == 1
        assert set(library.utterances(anna.id)[0].vectors) == {MODEL, "other"}
        with pytest.raises(ValueError, match="have 16 numbers in this library, this one has 8"):
            library.enrol("Cleo", [enrolment(4, vector=voice(4, 8))])
        assert [p.name for p in library.people()] == ["Anna", "Ben"]  # nothing of Cleo stayed


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:20])
def test_fault_36_a_hostile_name_is_kept_exactly(name: str, tmp_path: Path) -> None:
    with opened(tmp_path / "s.db") as library:
        id = library.enrol(name, [enrolment(1)]).id
        library.enrol("somebody else", [enrolment(2)])
    with store.open(tmp_path / "s.db") as library:
        assert library.person(id).name == name
        assert library.find(name).id == id
        assert name in list(library.matrix(MODEL).names)
        portable.write(library, tmp_path / "e.zip")
    with store.open(tmp_path / "t.db", create=True) as other:
        portable.read(other, tmp_path / "e.zip")
        assert other.person(id).name == name


def test_fault_37_two_people_of_one_name(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD"))
    assert composed != decomposed
    with opened(tmp_path / "s.db") as library:
        first = library.enrol(composed, [enrolment(1)])
        assert first.namesakes == ()
        second = library.enrol(decomposed, [enrolment(2)])
        assert second.id != first.id
        assert (second.namesakes, library.person(first.id).namesakes) == ((first.id,), (second.id,))
        assert [p.name for p in library.people()] == [composed, decomposed]  # each as written
        with pytest.raises(UnknownPerson, match=f"2 people are called .* by id: {first.id}, {second.id}"):
            library.find(composed)


def test_renaming(tmp_path: Path) -> None:
    with opened(tmp_path / "s.db") as library:
        anna = library.enrol("Anna", [enrolment(1)])
        before = library.digest(MODEL)
        assert library.rename(anna.id, "Anne").name == "Anne"
        assert library.find("Anne").id == anna.id
        assert library.voices(MODEL)[0].name == "Anne"
        assert library.digest(MODEL) != before  # a transcript made now carries another name
        library.rename(anna.id, "Anna")
        assert library.digest(MODEL) == before
        with pytest.raises(UnknownPerson, match="nobody is called Anne"):
            library.find("Anne")


def test_merging_moves_everything(tmp_path: Path) -> None:
    with opened(tmp_path / "s.db") as library:
        keep = library.enrol("Anna", [enrolment(1), enrolment(2)], consent="yes")
        gone = library.enrol("Anne", [enrolment(2), enrolment(3, audio=b"sound")], consent="no")
        merged = library.merge(keep.id, gone.id)
        assert (merged.name, merged.consent, merged.utterances, merged.seconds) == ("Anna", "yes", 3, {MODEL: 12.0})
        assert [p.id for p in library.people()] == [keep.id]
        assert [library.sound(u.id) for u in library.utterances(keep.id)] == [None, None, b"sound"]
        merged_digest = library.digest(MODEL)
        with pytest.raises(ValueError, match="with themselves"):
            library.merge(keep.id, keep.id)
        assert library.audit().ok
    with opened(tmp_path / "t.db") as library:
        library.enrol("Anna", [enrolment(1), enrolment(2), enrolment(3)])
        assert library.digest(MODEL) == merged_digest


def test_whose_consent_is_over_is_not_matched(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path / "s.db", clock=clock) as library:
        ben = library.enrol("Ben", [enrolment(2)])
        without = library.digest(MODEL)
        anna = library.enrol("Anna", [enrolment(1)], "for March", expires=date(2026, 3, 31))
        both = library.digest(MODEL)
        clock.move(days=30)  # 31 March: the last day
        assert not library.person(anna.id).expired
        assert {v.id for v in library.voices(MODEL)} == {anna.id, ben.id}
        clock.move(days=1)
        assert library.person(anna.id).expired
        assert [v.id for v in library.voices(MODEL)] == list(library.matrix(MODEL).ids) == [ben.id]
        assert library.digest(MODEL) == without
        assert [p.id for p in library.people()] == [ben.id, anna.id]
        library.consent(anna.id, "for April", date(2026, 4, 30))
        assert library.digest(MODEL) == both
        assert library.audit().ok


def test_unknown_people(tmp_path: Path) -> None:
    with opened(tmp_path / "s.db") as library:
        for attempt in (
            lambda: library.person("nobody"),
            lambda: library.find("nobody"),
            lambda: library.remove("nobody"),
            lambda: library.rename("nobody", "x"),
            lambda: library.merge("nobody", "nobody else"),
            lambda: library.utterances("nobody"),
            lambda: library.enrol("Anna", [enrolment(1)], person="nobody"),
        ):
            with pytest.raises(UnknownPerson, match="speakers list"):
                attempt()
        assert library.people() == ()
        assert library.audit().entries == ()
        with pytest.raises(ValueError, match="needs a name"):
            library.enrol(None, [enrolment(1)])


def test_an_empty_library_has_nobody(tmp_path: Path) -> None:
    with opened(tmp_path / "s.db") as library:
        assert (library.people(), library.models(), library.voices(MODEL), len(library.matrix(MODEL))) == (
            (),
            (),
            (),
            0,
        )
        assert library.audit().ok


def test_a_batch_is_whole_or_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "s.db") as library:
        library.enrol("Anna", [enrolment(1)])
        before = library.digest(MODEL), library.audit().entries

        def spoil() -> None:
            with library.batch():
                library.enrol("Ben", [enrolment(2)])
                library.remove(library.find("Anna").id)
                raise RuntimeError("the power is gone")

        with pytest.raises(RuntimeError):
            spoil()
        assert (library.digest(MODEL), library.audit().entries) == before
        with library.batch():
            library.enrol("Ben", [enrolment(2)])
            with pytest.raises(ValueError, match="cancel each other out"):
                library.enrol("Cleo", [enrolment(3), enrolment(4, vector=-voice(3))])
        assert [p.name for p in library.people()] == ["Anna", "Ben"]
        assert library.audit().ok


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vector": 2 * voice(1)}, "unit length"),
        ({"vector": voice(1).astype(np.float64)}, "float32"),
        ({"vector": np.full(16, np.nan, dtype=np.float32)}, "unit length"),
        ({"seconds": 0.0}, "some seconds"),
        ({"end": 1.0}, "start < end"),
        ({"quality": {"snr": float("inf")}}, "finite"),
        ({"model": ""}, "identity of the model"),
    ],
)
def test_what_cannot_be_an_utterance(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        enrolment(1, **change)


def test_files_are_for_their_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diarize.library.search.index.MANY", 1)
    with opened(tmp_path / "deep" / "s.db") as library:
        library.enrol("Anna", [enrolment(1)])
        library.matrix(MODEL)
        portable.write(library, tmp_path / "deep" / "e.zip")
        found = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "deep").rglob("*") if path.is_file()}
        assert len(found) == 6  # library, -wal, -shm, two index files, export
        assert set(found.values()) == {0o600}
        assert stat.S_IMODE((tmp_path / "deep" / "s.db.index").stat().st_mode) == 0o700


def test_the_path_comes_from_the_environment_or_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DIARIZE_LIBRARY", str(tmp_path / "mine.db"))
    assert address.default() == tmp_path / "mine.db"
    monkeypatch.setenv("DIARIZE_LIBRARY", "mine.db")
    assert address.default() == Path.cwd() / "mine.db"
    monkeypatch.delenv("DIARIZE_LIBRARY")
    assert Path(str(address.default())).parts[-2:] == ("diarize-pipeline", "speakers.db")


def test_fault_60_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIARIZE_LIBRARY", raising=False)
    monkeypatch.setattr("platformdirs.user_data_dir", lambda name: f"~nobody-of-that-name/{name}")
    with pytest.raises(ConfigError, match="Set it to the full path"):
        address.default()


def test_ids_are_random_unless_told_otherwise(tmp_path: Path) -> None:
    with store.open(tmp_path / "s.db", create=True) as library:
        first, second = library.enrol("Anna", [enrolment(1)]), library.enrol("Anna", [enrolment(1)])
        assert first.id != second.id
        assert len(first.id) == 32
        assert abs((first.created - datetime.now(UTC)).total_seconds()) < 60


def enrol_many(path: str, start: int) -> None:
    with store.open(Path(path), create=True) as library:
        for seed in range(start, start + 25):
            library.enrol(f"person {seed}", [enrolment(seed)])


def test_two_processes_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=enrol_many, args=(str(tmp_path / "s.db"), start)) for start in (0, 100)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    with store.open(tmp_path / "s.db") as library:
        assert {p.name for p in library.people()} == {f"person {i}" for i in [*range(25), *range(100, 125)]}
        report = library.audit()
        assert (report.problems, len(report.entries)) == ((), 50)


def test_enrolments_give_back_what_was_enrolled(tmp_path: Path) -> None:
    with opened(tmp_path / "s.db") as library:
        anna = library.enrol("Anna", [enrolment(1, audio=b"\0\1")])
        (given,) = library.enrolments(library.utterances(anna.id)[0])
        assert isinstance(given, Enrolment)
        assert (given.audio, given.source, given.quality) == (b"\0\1", f"{1:064x}", {"snr": 20.5})


def test_the_voice_of_one_person_is_that_among_all(tmp_path: Path) -> None:
    with opened(tmp_path / "s.db") as library:
        anna, _ = library.enrol("Anna", [enrolment(1), enrolment(2)]), library.enrol("Ben", [enrolment(3)])
        gone = library.enrol("Cleo", [enrolment(4)], expires=date(2020, 1, 1))
        found, expected = library.voice(anna.id, MODEL), library.voices(MODEL)[0]
        assert found is not None
        assert (found.id, found.name, found.seconds) == (expected.id, expected.name, expected.seconds)
        np.testing.assert_array_equal(found.vector, expected.vector)
        assert library.voice(gone.id, MODEL) is library.voice(anna.id, "other") is None
        with pytest.raises(UnknownPerson):
            library.voice("nobody", MODEL)

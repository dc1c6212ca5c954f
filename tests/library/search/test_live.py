"""A search that stays in memory decides as a comparison with everybody does, and follows every change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from diarize.config import IdentifyConfig
from diarize.library import store
from diarize.library.database import encryption
from diarize.library.database.engine import Sqlite
from diarize.library.database.rows import Rows
from diarize.library.enrolled import nearest_people
from diarize.library.scoring.identification import OpenSet
from diarize.library.search.live import PROPOSALS, LiveSearch
from diarize.library.store import Library
from diarize.types import Vectors
from tests.library.scoring.test_identification import PLAIN
from tests.library.voices import MODEL, Clock, enrolment, opened, voice

pytest.importorskip("faiss", reason="the extra `faiss` is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")  # of faiss's own bindings

PEOPLE = 700


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LARGE", 650)
    monkeypatch.setattr(encryption, "COST", 2**4)


def fill(library: Library, people: int = PEOPLE) -> None:
    with library.batch():
        for seed in range(people):
            library.enrol(f"person {seed}", [enrolment(seed)])


@pytest.fixture(params=["plain", "encrypted"])
def crowd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Library]:
    if request.param == "encrypted":
        pytest.importorskip("cryptography", reason="the extra `encrypt` is not installed")
    with opened(tmp_path / "s.db", "secret" if request.param == "encrypted" else None) as library:
        fill(library)
        yield library


def searched(library: Library) -> LiveSearch:
    search = library.live_search(MODEL)
    assert search is not None
    return search


def first(library: Library, search: LiveSearch, seed: int) -> str:
    """The name of the nearest candidate of a voice; "": there is none."""
    identities = nearest_people(library, search, PLAIN, IdentifyConfig(), voice(seed)[None])(voice(seed)[None], [10.0])
    return identities[0].candidates[0].name if identities[0].candidates else ""


def test_few_voices_need_none(tmp_path: Path) -> None:
    with opened(tmp_path / "s.db") as library:
        fill(library, 20)
        assert library.live_search(MODEL) is None and library.live_search("no such model") is None
        assert not library.is_large(MODEL)


def test_it_decides_as_a_comparison_with_everybody(crowd: Library) -> None:
    search = searched(crowd)
    everybody = OpenSet(crowd.matrix(MODEL), PLAIN)
    draw = np.random.default_rng(5)
    same = 0
    for seed in range(0, PEOPLE, 20):
        query = voice(seed) + 0.6 * draw.standard_normal(16) / 4
        vectors: Vectors = (query / np.linalg.norm(query))[None].astype(np.float32)
        (exact,) = everybody(vectors, [8.0])
        (near,) = nearest_people(crowd, search, PLAIN, IdentifyConfig(), vectors)(vectors, [8.0])
        assert near.person == exact.person
        same += near.candidates[0] == exact.candidates[0]  # id, name, score and ratio
    assert same >= 34


def test_without_a_calibration_nobody_is_named(crowd: Library) -> None:
    people = nearest_people(crowd, searched(crowd), None, IdentifyConfig(), voice(3)[None])
    (identity,) = people(voice(3)[None], [10.0])
    assert identity.person is None and identity.candidates[0].name == "person 3"
    assert "no calibration" in people.lacking


def test_every_change_is_followed(crowd: Library) -> None:
    search = searched(crowd)
    late = crowd.enrol("late", [enrolment(9000)])
    assert first(crowd, search, 9000) == "late" and len(search) == PEOPLE + 1
    crowd.rename(late.id, "later")
    assert first(crowd, search, 9000) == "later"
    crowd.enrol(None, [enrolment(9001, seconds=400.0)], person=late.id)  # the voice moves there
    assert first(crowd, search, 9001) == "later"
    crowd.consent(late.id, None, date(2020, 1, 1))  # over
    assert first(crowd, search, 9001) != "later"
    crowd.consent(late.id, None, None)
    assert first(crowd, search, 9001) == "later"
    crowd.merge(late.id, crowd.named("person 5")[0].id)
    assert first(crowd, search, 9001) == "later" and first(crowd, search, 5) != "person 5"
    crowd.remove(late.id)
    assert first(crowd, search, 9001) != "later"
    assert not search.is_outdated


def test_other_processes_are_followed(tmp_path: Path) -> None:
    with opened(tmp_path / "s.db") as library:
        fill(library)
        search = searched(library)
        with opened(tmp_path / "s.db", ids="other") as other:
            new = other.enrol("new", [enrolment(8000)])
            assert first(library, search, 8000) == "new"
            other.remove(new.id)
            assert first(library, search, 8000) != "new"


def test_who_was_removed_is_forgotten(crowd: Library) -> None:
    search = searched(crowd)
    gone = crowd.named("person 7")[0].id
    own = crowd.voice(gone, MODEL)
    assert own is not None and any(np.array_equal(each, own.vector) for each in search._sample.vectors)
    crowd.remove(gone)
    crowd.purge_search(search)
    assert not any(np.array_equal(each, own.vector) for each in search._sample.vectors)
    assert len(search) == PEOPLE - 1 and first(crowd, search, 8) == "person 8"
    assert len(search._voices.propose(voice(7)[None], PEOPLE)) == PEOPLE - 1


def test_who_is_enrolled_during_a_purge_stays(crowd: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    search, numbers = searched(crowd), Rows.numbers

    def interrupted(self: Rows, model: str, *day: date) -> NDArray[np.int64]:
        listed = numbers(self, model, *day)
        crowd.enrol("late", [enrolment(9000)])
        assert first(crowd, search, 9000) == "late"
        return listed

    with monkeypatch.context() as context:
        context.setattr(Rows, "numbers", interrupted)
        crowd.purge_search(search)
    assert first(crowd, search, 9000) == "late" and len(search) == PEOPLE + 1
    crowd.purge_search(search)
    assert first(crowd, search, 9000) == "late" and len(search) == PEOPLE + 1


def agrees(library: Library, search: LiveSearch, seed: int) -> bool:
    """Whether a noisy voice gets the same decision, ratio and deviations as from a comparison with everybody."""
    query = voice(seed) + 0.3 * np.random.default_rng(seed).standard_normal(16) / 4
    vectors: Vectors = (query / np.linalg.norm(query))[None].astype(np.float32)
    (exact,) = OpenSet(library.matrix(MODEL), PLAIN)(vectors, [8.0])
    (near,) = nearest_people(library, search, PLAIN, IdentifyConfig(), vectors)(vectors, [8.0])
    return near.person == exact.person and near.reason.split(", ")[:3] == exact.reason.split(", ")[:3]


def rename_all(library: Library) -> None:
    with library.batch():
        for person in library.people():
            library.rename(person.id, person.name + "x")


def test_after_every_voice_was_changed_people_are_identified(crowd: Library) -> None:
    search = searched(crowd)
    rename_all(crowd)
    crowd.purge_search(search)
    assert all(agrees(crowd, search, seed) for seed in range(0, 200, 20))
    assert len(search.candidates(crowd._rows, voice(1)[None], date(2026, 3, 1))[1].seconds) == PEOPLE


def test_a_background_of_few_voices_has_no_deviations(crowd: Library) -> None:
    search = searched(crowd)
    with crowd.batch():
        for person in crowd.people()[10:]:
            crowd.consent(person.id, None, date(2020, 1, 1))
    crowd.purge_search(search)
    assert len(search) == 10
    (identity,) = nearest_people(crowd, search, PLAIN, IdentifyConfig(), voice(1)[None])(voice(1)[None], [10.0])
    assert "deviations" not in identity.reason and agrees(crowd, search, 1)


def test_changed_voices_are_no_further_people(crowd: Library) -> None:
    search = searched(crowd)
    rename_all(crowd)
    first(crowd, search, 1)
    assert len(search) == PEOPLE
    assert all(agrees(crowd, search, seed) for seed in range(0, 200, 20))


def test_whose_consent_has_ended_is_not_used(crowd: Library) -> None:
    early, people = searched(crowd), crowd.people()
    ended = {person.id for person in people[100:]}
    with crowd.batch():
        for id in sorted(ended):
            crowd.consent(id, None, date(2020, 1, 1))
    crowd.purge_search(early)
    near, background = early.candidates(crowd._rows, voice(1)[None], date(2026, 3, 1))
    assert background.people == len(background.seconds) == 100 and not background.ids & ended
    assert len(near) >= PROPOSALS  # nobody whose consent has ended takes a place
    assert agrees(crowd, early, 1)
    with pytest.raises(ValueError, match="100 voices are too few"):
        crowd.live_search(MODEL)
    with crowd.batch():  # extended, in two ways
        crowd.consent(people[300].id, None, date(2030, 1, 1))
        crowd.enrol(None, [], person=people[301].id, expires=date(2030, 1, 1))
    assert first(crowd, early, 300) == "person 300" and first(crowd, early, 301) == "person 301"
    assert len(early) == 102


def test_calibrations_of_one_kind_have_backgrounds_of_their_own(crowd: Library) -> None:
    search = searched(crowd)
    nearest_people(crowd, search, PLAIN, IdentifyConfig(), voice(1)[None])(voice(1)[None], [10.0])
    other = replace(PLAIN, data="others")
    nearest_people(crowd, search, other, IdentifyConfig(), voice(1)[None])(voice(1)[None], [10.0])
    assert set(search._sample.transformed) == {PLAIN, other}


def test_a_search_that_is_out_of_date_says_so(tmp_path: Path) -> None:
    with opened(tmp_path / "s.db") as library:
        fill(library)
        search = searched(library)
        for _ in range(2):
            with library.batch():
                for person in library.people():
                    library.rename(person.id, person.name + "x")
            first(library, search, 1)
        assert search.is_outdated and len(search) >= PEOPLE
    with opened(tmp_path / "other.db") as other:  # another library in its place
        fill(other, 5)
        fresh = searched_of(tmp_path)
        fresh.candidates(other._rows, voice(1)[None], date(2026, 3, 1))
        assert fresh.is_outdated


def searched_of(folder: Path) -> LiveSearch:
    with store.open(folder / "s.db") as library:
        return searched(library)


def test_the_store_searches_with_it(crowd: Library) -> None:
    exact = crowd.search(voice(3), MODEL, 3)
    crowd.live = searched(crowd)
    assert crowd.search(voice(3), MODEL, 3)[0] == exact[0]
    late = crowd.enrol("late", [enrolment(9000)])
    assert crowd.search(voice(9000), MODEL)[0].voice == late.id


def test_on_a_server(address: str) -> None:
    with store.open(address, create=True, clock=Clock()) as library:
        fill(library)
        search = searched(library)
        assert first(library, search, 11) == "person 11"
        late = library.enrol("late", [enrolment(9000)])
        assert first(library, search, 9000) == "late"
        library.remove(late.id)
        library.purge_search(search)
        assert first(library, search, 9000) != "late" and len(search) == PEOPLE


def test_a_removal_overwrites_without_writing_a_large_library_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.db"
    with opened(path) as library:
        fill(library)
        gone = library.enrol("Anna Karenina", [enrolment(9000)])
    rewritten: list[bool] = []
    purge = Sqlite.purge

    def noted(self: Sqlite, rewrite: bool = True) -> None:
        rewritten.append(rewrite)
        purge(self, rewrite)

    monkeypatch.setattr(Sqlite, "purge", noted)
    traces = b"Karenina", voice(9000).tobytes()
    with store.open(path, rewrite=False) as library:
        library._engine.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert all(trace in path.read_bytes() for trace in traces)
        library.remove(gone.id)
        files = [file.read_bytes() for file in tmp_path.iterdir() if file.is_file()]
        assert not [trace for trace in traces for content in files if trace in content]
        monkeypatch.setattr(store, "LARGE", 10_000)
        library.remove(library.named("person 1")[0].id)
    with store.open(path) as library:
        library.remove(library.named("person 2")[0].id)
    assert rewritten == [False, True, True]


def test_whose_time_is_over(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path / "s.db", clock=clock) as library:
        short = library.enrol("short", [enrolment(1)])
        whole = library.enrol("whole", [enrolment(2, seconds=60.0)])
        none = library.enrol("none", [])
        over = library.enrol("over", [enrolment(3, seconds=60.0)], expires=date(2026, 3, 2))
        clock.move(10)
        new = library.enrol("new", [])
        since, last = clock().replace(day=9), date(2026, 3, 5)
        assert set(library.lapsed(MODEL, 12.0, since, last)) == {short.id, none.id, over.id}
        assert library.lapsed(MODEL, 12.0, None, last) == (over.id,)
        assert set(library.lapsed(MODEL, 12.0, since, None)) == {short.id, none.id}
        assert not {whole.id, new.id} & set(library.lapsed(MODEL, 12.0, since, last))

"""Identification among very many voices, by a search that stays in memory (the limit is lowered for the tests)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from diarize.library import store
from diarize.library.database.records import Enrolment
from diarize.library.search import compact
from diarize.library.search.live import LiveSearch
from pipelines.service.access.tenants import Tenants
from pipelines.service.work import voices
from pipelines.service.work.decisions import Decider
from pipelines.service.work.retention import retain
from tests.pipelines.service.servers import WAITING, Running, enrolled, running, settings_in, tone

pytestmark = pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")  # of faiss's own bindings
PEOPLE = 700


def fill(folder: Path, tenant: str) -> None:
    """A library of voices that no tone has."""
    draw = np.random.default_rng(1)
    (folder / "tenants").mkdir(parents=True, exist_ok=True)
    with store.open(folder / "tenants" / f"{tenant}.db", create=True) as library, library.batch():
        for number in range(PEOPLE):
            vector = draw.standard_normal(32).astype(np.float32)
            vector[:8] = -np.abs(vector[:8])  # a power spectrum has no negative numbers
            vector /= np.linalg.norm(vector)
            one = Enrolment(f"{number:064x}", 20.0, {}, vector, "pitch", 0.0, 20.0)
            library.enrol(f"person {number}", [one])


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    pytest.importorskip("faiss", reason="the extra `faiss` is not installed")
    monkeypatch.setattr(store, "LARGE", 650)
    fill(tmp_path, "default")
    with running(settings_in(tmp_path, threads=2)) as own:
        yield own


def ready(client: httpx.Client) -> None:
    deadline = time.monotonic() + WAITING
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def identified(client: httpx.Client, hertz: float, seed: int) -> dict[str, Any]:
    answer = client.post("/v1/identify", content=tone(hertz, 4.0, seed))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_identification_among_many_follows_every_change(large: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise AssertionError("all voices were compared")

    monkeypatch.setattr(Decider, "_open_set", fail)
    with large.client() as client:
        ready(client)
        assert any(f"{PEOPLE} voices of a tenant" in line for line in large.lines)
        assert not any("person" in line for line in large.lines)
        nobody = identified(client, 440, 1)
        assert (nobody["decision"], len(nobody["matches"])) == ("reject", 5)
        id = enrolled(client, 440)
        for seed in (2, 3, 4, 5):  # whichever thread answers
            answer = identified(client, 440, seed)
            assert (answer["decision"], answer["speaker_id"]) == ("accept", id)
            assert answer["matches"][0]["name"] == "Anna"
        client.patch(f"/v1/speakers/{id}", json={"name": "Berta"})
        assert identified(client, 440, 6)["matches"][0]["name"] == "Berta"
        assert identified(client, 2000, 7)["speaker_id"] is None
        assert client.delete(f"/v1/speakers/{id}").status_code == 204
        assert identified(client, 440, 8)["speaker_id"] is None


def test_tenants_have_searches_of_their_own(large: Running) -> None:
    with large.client(large.key("admin", tenant="default")) as one, large.client(large.key(tenant="other")) as other:
        ready(one)
        mine, theirs = enrolled(one, 440), enrolled(other, 440)
        assert identified(one, 440, 11)["speaker_id"] == mine
        answer = identified(other, 440, 12)
        assert (answer["speaker_id"], len(answer["matches"])) == (theirs, 1)


def test_a_tenant_that_has_grown_is_asked_to_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss", reason="the extra `faiss` is not installed")
    with running(settings_in(tmp_path)) as own, own.client() as client:
        ready(client)
        fill(tmp_path, "default")
        monkeypatch.setattr(store, "LARGE", 650)
        answer = client.post("/v1/identify", content=tone(440, 4.0))
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        ready(client)
        assert len(identified(client, 440, 1)["matches"]) == 5


def test_where_no_search_can_be_made_all_voices_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LARGE", 650)
    fill(tmp_path, "default")
    with monkeypatch.context() as without:
        without.setattr(compact, "available", lambda: False)
        with running(settings_in(tmp_path)) as own, own.client() as client:
            ready(client)
            assert len(identified(client, 440, 1)["matches"]) == 5
            assert any("the extra `faiss` is not installed" in line for line in own.lines)

    def broken(*arguments: Any) -> None:
        raise ValueError("too few")

    monkeypatch.setattr(compact, "available", lambda: True)
    monkeypatch.setattr(store, "LiveSearch", broken)
    with running(settings_in(tmp_path)) as own, own.client() as client:
        ready(client)
        assert len(identified(client, 440, 1)["matches"]) == 5
        assert any("search: ValueError: too few" in line for line in own.lines)


def test_a_comparison_with_all_can_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss", reason="the extra `faiss` is not installed")
    monkeypatch.setattr(store, "LARGE", 650)
    fill(tmp_path, "default")
    settings = settings_in(tmp_path)
    exact = settings.config.identify.model_copy(update={"exact": True})
    settings = replace(settings, config=settings.config.model_copy(update={"identify": exact}))
    with running(settings) as own, own.client() as client:
        ready(client)
        monkeypatch.setattr(voices.VoiceSearches, "of", None)  # it would raise TypeError
        assert len(identified(client, 440, 1)["matches"]) == 5


class Counted:
    """`store.LiveSearch`, which counts what it makes; with a `problem` it fails."""

    def __init__(self, problem: str = "") -> None:
        self.problem, self.searches, self.real = problem, 0, LiveSearch

    def __call__(self, *arguments: Any) -> LiveSearch:
        self.searches += 1
        if self.problem:
            raise ValueError(self.problem)
        return self.real(*arguments)


def searches_of(folder: Path, lines: list[str]) -> tuple[voices.VoiceSearches, Tenants]:
    pytest.importorskip("faiss", reason="the extra `faiss` is not installed")
    fill(folder, "default")
    tenants = settings_in(folder).tenants
    return voices.VoiceSearches(tenants, lines.append), tenants


def wait_until_made(searches: voices.VoiceSearches) -> None:
    deadline = time.monotonic() + WAITING
    while searches._to_make:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_outdated_search_of_a_library_that_is_small_now_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LARGE", 650)
    searches, tenants = searches_of(tmp_path, [])
    searches.prepare(["default"], "pitch")
    wait_until_made(searches)
    monkeypatch.setattr(store, "LARGE", 10_000)
    with tenants.open("default") as library:
        search = searches.of("default", "pitch", library)
        assert search is not None
        search.is_outdated = True
        searches.of("default", "pitch", library)
        wait_until_made(searches)
        assert searches.of("default", "pitch", library) is None and searches.ready("default", "pitch") is None


def test_an_outdated_search_that_cannot_be_made_again_is_tried_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LARGE", 650)
    lines: list[str] = []
    searches, tenants = searches_of(tmp_path, lines)
    searches.prepare(["default"], "pitch")
    wait_until_made(searches)
    counted = Counted("broken")
    monkeypatch.setattr(store, "LiveSearch", counted)
    with tenants.open("default") as library:
        search = searches.of("default", "pitch", library)
        assert search is not None
        search.is_outdated = True
        for _ in range(3):
            searches.of("default", "pitch", library)
            wait_until_made(searches)
        assert searches.of("default", "pitch", library) is None  # all voices are compared
    assert counted.searches == 1 and sum("broken" in line for line in lines) == 1


def test_searches_are_made_by_one_thread_and_the_one_used_last_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LARGE", 650)
    monkeypatch.setattr(voices, "MOST_OPEN", 2)
    searches, _ = searches_of(tmp_path, [])
    for tenant in ("one", "two"):
        fill(tmp_path, tenant)
    before = threading.active_count()
    searches.prepare(["default", "one"], "pitch")
    assert threading.active_count() <= before + 1
    wait_until_made(searches)
    assert searches.ready("default", "pitch") is not None  # used
    searches.prepare(["two"], "pitch")
    wait_until_made(searches)
    assert searches.ready("one", "pitch") is None and searches.ready("default", "pitch") is not None


def test_a_damaged_library_does_not_keep_others_from_the_clean_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(settings_in(tmp_path)) as own, own.client() as client:
        ready(client)
        unfinished = [client.post("/v1/speakers", json={"name": name}).json()["id"] for name in ("Late", "Later")]
        (tmp_path / "tenants" / "broken.db").write_bytes(b"no database" * 1000)
        remove = store.Library.remove

        def changed_meanwhile(library: store.Library, person: str) -> None:
            remove(library, person)
            rest = next(id for id in unfinished if id != person)
            enrolment = Enrolment("f" * 64, 600.0, {}, np.full(32, 32**-0.5, np.float32), "pitch", 0.0, 600.0)
            library.enrol(None, [enrolment], person=rest)

        monkeypatch.setattr(store.Library, "remove", changed_meanwhile)
        later = datetime.now(UTC) + timedelta(days=8)
        counts = retain(own.service.room, own.service.jobs, own.service.ledger, own.service.log, later)
        assert counts["speakers"] == 1  # the other one was completed after the list was read
        answers = sorted(client.get(f"/v1/speakers/{id}").status_code for id in unfinished)
        assert answers == [200, 404]
        assert any("retention: broken" in line for line in own.lines)


def test_the_hourly_clean_up_forgets_who_is_gone(large: Running) -> None:
    with large.client() as client:
        ready(client)
        id = enrolled(client, 440)
        unfinished = client.post("/v1/speakers", json={"name": "Late"}).json()["id"]
        identified(client, 440, 1)
        search = large.service.libraries.searches.ready("default", "pitch")
        assert len(search) == PEOPLE + 1
        client.delete(f"/v1/speakers/{id}")
        large.service.clean_up()
        assert len(search) == PEOPLE
        assert client.get(f"/v1/speakers/{unfinished}").status_code == 200  # a week is left
        later = datetime.now(UTC) + timedelta(days=8)
        assert (
            retain(large.service.room, large.service.jobs, large.service.ledger, large.service.log, later)["speakers"]
            == 1
        )
        assert client.get(f"/v1/speakers/{unfinished}").status_code == 404

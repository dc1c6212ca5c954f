"""Two processes on one PostgreSQL server; one is killed under load."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from diarize.client import Client
from diarize.library import store
from diarize.library.database.address import ServerAddress
from tests.pipelines.service.servers import TONES, process, tone


@pytest.mark.slow
def test_no_confirmed_enrolment_is_lost_when_a_worker_is_killed(tmp_path: Path, address: str) -> None:
    """SIGKILL of one of two workers: every request gets an answer from the other, and what was confirmed is there."""
    import psycopg

    folders = tmp_path / "one", tmp_path / "two"
    for folder in folders:
        folder.mkdir()
    confirmed: dict[str, int] = {}
    problems: list[BaseException] = []
    lock = threading.Lock()
    killed = threading.Event()
    try:
        with process(folders[0], "--library", address) as first, process(folders[1], "--library", address) as second:

            def enrol(number: int) -> None:
                places = (first.url, second.url) if number % 2 else (second.url, first.url)
                try:
                    with Client(places) as client:
                        for at in range(4):
                            speaker = client.create(f"Person {number}-{at}")
                            seed = 100 * number + at
                            client.add_utterance(speaker.id, tone(300 + 40 * number, 3, seed), accept=TONES["accept"])
                            with lock:
                                confirmed[speaker.id] = confirmed.get(speaker.id, 0) + 1
                            if len(confirmed) >= 5 and not killed.is_set():
                                killed.set()
                                os.kill(first.process.pid, signal.SIGKILL)
                except BaseException as error:
                    problems.append(error)

            threads = [threading.Thread(target=enrol, args=(number,)) for number in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(120)
            assert (killed.is_set() and first.process.poll() is None) or first.process.wait(10) == -signal.SIGKILL
            assert problems == []
            assert len(confirmed) == 16
        with store.open(address) as library:
            people = {person.id: person.utterances for person in library.people()}
            assert library.audit().ok
        assert {id: people.get(id) for id in confirmed} == confirmed
    finally:
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("DROP SCHEMA IF EXISTS diarize_service CASCADE")


def test_tenants_on_a_server_have_schemas_of_their_own(address: str) -> None:
    import psycopg

    places = [ServerAddress(address, f"diarize_t_{name}") for name in ("one", "two")]
    try:
        with store.open(places[0], create=True) as one, store.open(places[1], create=True) as two:
            anna = one.enrol("Anna", [])
            assert [person.name for person in one.people()] == ["Anna"]
            assert two.people() == ()
            assert two.named("Anna") == ()
            two.enrol("Berta", [])
            one.remove(anna.id)
            assert [person.name for person in two.people()] == ["Berta"]
            assert one.place != two.place
        with store.open(f"{places[1]}", read_only=True) as again:
            assert [person.name for person in again.people()] == ["Berta"]
    finally:
        with psycopg.connect(address, autocommit=True) as connection:
            for place in places:
                connection.execute(f"DROP SCHEMA IF EXISTS {place.schema} CASCADE")

"""Several processes of the service: challenges are shared, answered once, and no process is missed for long."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from diarize.errors import ConfigError, LibraryError
from diarize.models.store import Store
from diarize.types import Audio, Segment, Word
from pipelines.service import processes
from pipelines.service.access.binding import Binding
from tests.pipelines.service.servers import WAITING, Process, process, settings_in
from tests.pipelines.service.test_challenges import ANNA, codes, draw, enrol, said, verify

VARIABLE = "TESTED_PHRASES"  # a file with what the recognizer understands


@dataclass(frozen=True)
class Reading:
    """A recognizer that understands what lies in a file."""

    name: str = "reading"

    def __call__(self, audio: Audio, speech: Sequence[Segment]) -> tuple[tuple[Word, ...], str | None]:
        words = Path(os.environ[VARIABLE]).read_text().split()
        return tuple(Word(i, i + 0.5, word) for i, word in enumerate(words)), "en"


def recognizer(**options: Any) -> Reading:
    return Reading()


OPTIONS = (f"--asr={__name__}:recognizer", "--rate=10000", "--burst=10000")


@pytest.fixture
def phrases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "phrases"
    path.write_text("")
    monkeypatch.setenv(VARIABLE, str(path))
    return path


@pytest.fixture
def emptied_server(address: str) -> Iterator[str]:
    import psycopg

    yield address
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS diarize_service CASCADE")


def client_of(served: Process) -> httpx.Client:
    return httpx.Client(base_url=served.url, timeout=WAITING, trust_env=False)


def pids(folder: Path) -> set[int]:
    """The processes that have answered, as the log says."""
    lines = (line for line in (folder / "log").read_text().splitlines() if line.startswith("{"))
    return {json.loads(line)["process"] for line in lines}


@pytest.mark.slow
def test_a_challenge_of_one_process_is_answered_in_another_and_once(
    tmp_path: Path, emptied_server: str, phrases: Path
) -> None:
    folders = tmp_path / "one", tmp_path / "two"
    with ExitStack() as stack:
        servers = []
        for folder in folders:
            folder.mkdir()
            servers.append(stack.enter_context(process(folder, "--library", emptied_server, *OPTIONS)))
        one, two = (stack.enter_context(client_of(served)) for served in servers)
        anna = enrol(one, ANNA, 10)

        drawn = draw(one, anna)
        phrases.write_text(drawn["phrase"])
        assert codes(verify(two, anna, said(ANNA, 30), drawn["id"])) == ["verified"]
        for client in (one, two):
            assert codes(verify(client, anna, said(ANNA, 31), drawn["id"])) == ["expired"]

        for attempt in range(8):  # both processes at the same moment
            drawn = draw((one, two)[attempt % 2], anna)
            phrases.write_text(drawn["phrase"])
            barrier = threading.Barrier(2)
            outcomes: list[list[str]] = []

            def answer(
                client: httpx.Client, seed: int, id: str = drawn["id"], at: Any = barrier, to: Any = outcomes
            ) -> None:
                sound = said(ANNA, seed)
                at.wait(WAITING)
                to.append(codes(verify(client, anna, sound, id)))

            threads = [
                threading.Thread(target=answer, args=(client, 100 + 2 * attempt + i))
                for i, client in enumerate((one, two))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(WAITING)
            assert sorted(outcomes) == [["expired"], ["verified"]], outcomes

        key = {"Idempotency-Key": "once"}
        first, again = (
            client.post("/v1/speakers", json={"name": "Berta", "consent": "in a test"}, headers=key)
            for client in (one, two)
        )
        assert again.json()["id"] == first.json()["id"] and again.headers["Idempotency-Replayed"] == "true"


def servers_of(parent: psutil.Process) -> list[psutil.Process]:
    """The processes that serve; the others of a group decode, or watch over what is shared."""
    return [child for child in parent.children() if "--multiprocessing-fork" in child.cmdline()]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAITING
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def suspended(server: psutil.Process) -> Iterator[None]:
    """While a process is stopped, whichever else listens takes every new connection."""
    server.suspend()
    try:
        wait_until(lambda: server.status() == psutil.STATUS_STOPPED)
        yield
    finally:
        server.resume()


def ask(served: Process) -> None:
    """A request over a new connection, which waits until a process takes it."""
    with client_of(served) as client:
        assert client.get("/healthz").status_code == 200


def race_on_one_port(served: Process, folder: Path, phrases: Path, attempts: int = 6) -> None:
    """Challenges of a group of processes, each answered four times at once over new connections."""
    with client_of(served) as client:
        anna = enrol(client, ANNA, 10)
        for attempt in range(attempts):
            drawn = draw(client, anna)
            phrases.write_text(drawn["phrase"])

            def answer(seed: int, id: str = drawn["id"]) -> list[str]:
                with client_of(served) as own:
                    return codes(verify(own, anna, said(ANNA, seed), id))

            with ThreadPoolExecutor(4) as threads:
                outcomes = sorted(threads.map(answer, range(1000 + 4 * attempt, 1004 + 4 * attempt)))
            assert outcomes == [["expired"]] * 3 + [["verified"]]


@pytest.mark.slow
@pytest.mark.parametrize("place", ["file", "server"])
def test_processes_behind_one_port(tmp_path: Path, phrases: Path, place: str, request: pytest.FixtureRequest) -> None:
    library = ("--library", request.getfixturevalue("emptied_server")) if place == "server" else ()
    with process(tmp_path, "--processes", "2", *library, *OPTIONS) as served:
        parent = psutil.Process(served.process.pid)
        race_on_one_port(served, tmp_path, phrases)
        one, two = servers_of(parent)
        for server, other in ((one, two), (two, one)):
            with suspended(other):
                ask(served)
            wait_until(lambda pid=server.pid: pid in pids(tmp_path))  # type: ignore[misc]
        assert pids(tmp_path) == {one.pid, two.pid}

        one.kill()
        ask(served)
        with suspended(two):
            ask(served)  # another one has taken its place, and answers
        wait_until(lambda: len(pids(tmp_path)) == 3)
        assert pids(tmp_path) - {one.pid} == {server.pid for server in servers_of(parent)}
        assert f"process {one.pid} ended with the status -9" in (tmp_path / "log").read_text()
        children = parent.children(recursive=True)
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(WAITING) == 0
        assert psutil.wait_procs(children, timeout=20)[1] == []
        assert list(tmp_path.glob("uploads-*/*")) == []


@pytest.mark.slow
def test_why_a_process_cannot_start_again_is_logged(tmp_path: Path) -> None:
    with process(tmp_path, "--processes", "2", *OPTIONS) as served:
        damaged = tmp_path / "damaged"
        damaged.write_bytes(b"no database" * 1000)
        damaged.replace(tmp_path / "service.db")  # processes that run have the old file open
        servers_of(psutil.Process(served.process.pid))[0].kill()
        wait_until(lambda: "ended with the status 1 (" in (tmp_path / "log").read_text())
        line = next(line for line in (tmp_path / "log").read_text().splitlines() if "the status 1" in line)
        assert f"{tmp_path / 'service.db'}: " in line and "; another one starts in" in line


@pytest.mark.slow
def test_a_group_ends_with_its_parent(tmp_path: Path, phrases: Path) -> None:
    with process(tmp_path, "--processes", "2", *OPTIONS) as served:
        children = psutil.Process(served.process.pid).children(recursive=True)
        assert len(children) >= 2
        served.process.kill()
        served.process.wait(WAITING)
        assert psutil.wait_procs(children, timeout=WAITING)[1] == []


def no_log(line: str) -> None:
    return


@pytest.mark.parametrize("count", [0, -1, 65])
def test_a_number_that_cannot_be_is_refused(tmp_path: Path, count: int) -> None:
    with pytest.raises(ConfigError, match=r"--processes.*must be 1 to 64"):
        processes.run(settings_in(tmp_path), Store(offline=True), no_log, lambda port: None, count)


def test_addresses_are_checked_before_processes_start(tmp_path: Path) -> None:
    def run(host: str, port: int) -> None:
        settings = settings_in(tmp_path, binding=Binding(host, port))
        processes.run(settings, Store(offline=True), no_log, lambda port: None, 2)

    with pytest.raises(ConfigError, match="key"):
        run("0.0.0.0", 0)
    with processes._listening("127.0.0.1", 0) as listener, pytest.raises(ConfigError, match=r"--port.*listened on"):
        run("127.0.0.1", listener.getsockname()[1])


@pytest.mark.slow
def test_what_ends_a_process_at_its_start_is_said(tmp_path: Path) -> None:
    (tmp_path / "service.db").write_bytes(b"no database" * 1000)
    with pytest.raises(LibraryError):
        processes.run(settings_in(tmp_path), Store(offline=True), no_log, lambda port: None, 2)

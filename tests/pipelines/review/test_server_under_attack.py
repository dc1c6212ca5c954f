"""The review server under load, kills and hostile content: nothing confirmed is lost, and everything is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from diarize.corrections import history
from diarize.corrections.operations import DoesNotFit
from diarize.corrections.state import State
from diarize.types import Speaker, Transcript, Turn, Word
from pipelines.results import outputs
from pipelines.results.corrections import Corrections
from pipelines.review.document import Viewing
from pipelines.review.server import listening
from pipelines.review.server.listening import CONNECTIONS, ReviewServer, new_token, open_socket
from pipelines.review.server.recordings import ReviewedRun, ReviewRequest
from tests.corrections.test_operations import random_operation, transcript
from tests.pipelines.review.serving import read_log, serving, write_results

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)> --> \u202e \ud800 \"'"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_results(tmp_path / "out" / "meeting", None)


@contextlib.contextmanager
def in_this_process(folder: Path) -> Iterator[ReviewServer]:
    """A server in a thread of this process."""
    run = ReviewedRun(ReviewRequest(folder, Viewing("anna")), folder)
    server = ReviewServer(run, [open_socket(0)], new_token())
    thread = threading.Thread(target=server.serve_until_stopped)
    thread.start()
    try:
        yield server
    finally:
        server.should_exit = True
        thread.join(20)
        run.close()
        assert not thread.is_alive()


def random_batch(draw: random.Random, folder: Path, entries: int) -> list[dict[str, Any]]:
    state = Corrections(folder).history.state
    if entries and draw.random() < 0.2:
        return [{"op": draw.choice(["undo", "redo"]), "number": draw.randrange(1, entries + 1)}]
    return [random_operation(draw, state) for _ in range(draw.randrange(1, 4))]


@pytest.mark.slow
def test_fault_67_a_server_that_is_killed_loses_nothing_that_it_confirmed(folder: Path) -> None:
    draw = random.Random(7)
    confirmed: list[dict[str, Any]] = []
    sent = kills = 0
    while sent < 200:
        with serving(folder) as served:
            entries = served.state()["entries"]
            # What was written and not confirmed may be there, too: in the middle of the kill.
            assert [entry["operation"] for entry in entries[: len(confirmed)]] == confirmed
            confirmed = [entry["operation"] for entry in entries]
            doomed = sent < 150
            if doomed:
                delay = draw.random() * 2
                threading.Timer(delay, lambda process=served.process: process.send_signal(signal.SIGKILL)).start()
            with contextlib.suppress(httpx.TransportError):
                while sent < 200 or doomed:
                    sent += 1
                    answer = served.send(len(confirmed), *random_batch(draw, folder, len(confirmed)))
                    assert answer.status_code in (200, 422), answer.text
                    confirmed += [entry["operation"] for entry in answer.json()["entries"]]
            kills += doomed
            if doomed:
                assert served.process.wait(20) == -signal.SIGKILL
    entries, problem = history.read((folder / "corrections.jsonl").read_text(), "log")
    assert problem == "" and kills >= 1 and len(confirmed) > 20
    assert [entry.operation for entry in entries] == confirmed
    corrected = Corrections(folder).corrected()
    assert outputs.read_corrected(folder) == corrected
    assert (folder / "transcript.txt").read_text() == outputs.render(corrected, ["txt"])["transcript.txt"].decode()


def test_fault_67_two_people_do_not_overwrite_each_other(folder: Path) -> None:
    with serving(folder) as served:
        results: list[list[dict[str, Any]]] = []

        def correct(seed: int) -> None:
            seen: list[dict[str, Any]] = []
            draw, mine = random.Random(seed), 0
            headers = {"authorization": f"Bearer {served.token}"}
            with httpx.Client(base_url=served.base, headers=headers, timeout=60) as client:
                while mine < 20:
                    one = {"op": "note", "text": f"{seed} {draw.random()}", "start": None, "end": None}
                    content = {"after": len(seen), "operations": [one]}
                    answer = client.post("/r/meeting/operations", json=content)
                    assert answer.status_code in (200, 409), answer.text
                    seen += answer.json()["entries"]
                    mine += answer.status_code == 200
                seen += (
                    client.post("/r/meeting/operations", json={"after": len(seen), "operations": [one, 1]})
                    .json()
                    .get("entries", [])
                )
            results.append(seen)

        threads = [threading.Thread(target=correct, args=(seed,)) for seed in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    log = read_log(folder)
    assert [entry["number"] for entry in log] == list(range(1, 41))
    for seen in results:
        assert [entry["operation"] for entry in seen] == [entry["operation"] for entry in log[: len(seen)]]


@pytest.mark.slow
def state_status(base: str, headers: dict[str, str]) -> int:
    """The status of a request; 0 where the connection was ended."""
    try:
        return httpx.get(f"{base}/r/meeting/state.json", headers=headers, timeout=60).status_code
    except httpx.TransportError:
        return 0


def test_fault_66_thousands_of_connections_are_refused_and_the_page_still_works(folder: Path) -> None:
    async def flood(port: int) -> int:
        """Open 10,000 connections that ask for nothing; how many were ended by the server, the rest stays open."""
        ended = 0
        open_ones: list[asyncio.StreamWriter] = []
        for _ in range(200):
            tasks = [asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, BaseException):
                    ended += 1
                    continue
                reader, writer = result
                try:
                    content = await asyncio.wait_for(reader.read(12), 0.05 if len(open_ones) < CONNECTIONS else 60)
                    ended += 1
                    assert content in (b"", b"HTTP/1.1 503"), content
                    writer.close()
                except TimeoutError:
                    open_ones.append(writer)
                except OSError:
                    ended += 1
        most = psutil.Process(served.process.pid).num_fds()
        assert most < 2 * CONNECTIONS + 50, most
        for writer in open_ones:
            writer.close()
        assert len(open_ones) <= CONNECTIONS
        return ended

    with serving(folder) as served:
        served.client.close()
        before = psutil.Process(served.process.pid).memory_info().rss
        port = int(served.base.rpartition(":")[2])
        with ThreadPoolExecutor(1) as thread:  # a browser of another test may own this thread's event loop
            ended = thread.submit(lambda: asyncio.run(flood(port))).result()
        assert ended >= 10_000 - CONNECTIONS
        headers = {"authorization": f"Bearer {served.token}"}
        last = time.monotonic() + 60  # until the server has seen that the connections are closed
        while (status := state_status(served.base, headers)) != 200:
            assert time.monotonic() < last, status
            time.sleep(0.2)
        assert psutil.Process(served.process.pid).memory_info().rss - before < 50e6
        assert psutil.Process(served.process.pid).num_threads() < 60


def test_fault_66_who_asks_for_nothing_is_disconnected(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "REQUEST", 0.5)
    with in_this_process(folder.parent) as server:
        head = (
            f"POST /r/meeting/operations HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
            f"Content-Type: application/json\r\nAuthorization: Bearer {server.token}\r\nContent-Length: 100\r\n\r\n"
        ).encode()
        for start in (b"", b"GET / HT", head, head + b"{"):
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                connection.settimeout(10)
                connection.sendall(start)
                began = time.monotonic()
                with contextlib.suppress(ConnectionResetError):
                    while connection.recv(1000):
                        pass
                assert 0.3 < time.monotonic() - began < 8


@pytest.mark.parametrize(
    "content",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10,
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 10_000 + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"\0" * 1000,
    ],
    ids=["tls", "headers", "target", "hosts", "smuggling", "proxy", "zeros"],
)
def test_fault_66_what_is_no_request_is_refused(folder: Path, content: bytes) -> None:
    with in_this_process(folder.parent) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.settimeout(20)
            connection.sendall(content)
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                answer = connection.recv(100)
        assert answer == b"" or answer.split()[1] in (b"400", b"414", b"421", b"431"), answer
        headers = {"authorization": f"Bearer {server.token}"}
        assert httpx.get(f"http://127.0.0.1:{server.port}/r/meeting/state.json", headers=headers).status_code == 200


def test_fault_41_a_hostile_transcript_stays_text(tmp_path: Path) -> None:
    plain = transcript()
    names = tuple(replace(speaker, name=HOSTILE + speaker.id + "n" * 10_000) for speaker in plain.speakers)
    words = tuple(replace(word, text=HOSTILE) for word in plain.words)
    many = tuple(Speaker(f"S{i}", HOSTILE) for i in range(1000))
    write_results(tmp_path / "out" / "meeting", None, Transcript("x", 20.0, '"><b>', names + many, plain.turns, words))
    with serving(tmp_path / "out") as served:
        page = served.get("/r/meeting/").text
        assert page.count("<script") == 1 and "<img" not in page and "onerror" in page and "\u202e" not in page
        state = served.state()
        assert state["machine"]["words"][0][3] == HOSTILE and len(state["machine"]["speakers"]) == 1002
        content = json.dumps({"after": 0, "operations": [{"op": "name_speaker", "speaker": "A", "name": HOSTILE}]})
        headers = {"content-type": "application/json", **served.origin}
        assert served.client.post("/r/meeting/operations", content=content, headers=headers).status_code == 200
        export = served.get("/r/meeting/export/html")
        assert export.headers["content-disposition"].startswith("attachment") and "<img" not in export.text


def test_fault_65_odd_names_of_folders_are_only_looked_up(tmp_path: Path) -> None:
    names = ("a b", "100%", "<b>&\"'", "ä", "x..", "a?b#c", "-rf")
    for name in names:
        write_results(tmp_path / "out" / name, None)
    (tmp_path / "secret").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "out" / "ä")
    with serving(tmp_path / "out") as served:
        listing = served.get("/").text
        assert "<b>" not in listing.replace("<b><bdi>", "") and "link" not in listing.replace("<link", "")
        addresses = [part.split('"')[0] for part in listing.split('href="/r/')[1:]]
        assert len(addresses) == len(names)
        for address in addresses:
            answer = served.get(f"/r/{address}")
            assert answer.status_code == 200, address
        assert served.get("/r/link/").status_code == 404 and served.get("/r/a%2Fb/").status_code == 404


def long_transcript(hours: float, words: int) -> Transcript:
    step = hours * 3600 / words
    speakers = tuple(Speaker(f"SPEAKER_{i:02d}") for i in range(1, 6))
    all_words = tuple(
        Word(i * step, i * step + step / 2, f"word{i % 1000}", (i * 7919 % 100) / 100, speakers[i // 20 % 5].id)
        for i in range(words)
    )
    turns = tuple(
        Turn(i * 20 * step, (i * 20 + 20) * step - 0.01, speakers[i % 5].id, 0.5 + i % 6 / 10)
        for i in range(words // 20)
    )
    return Transcript("x", hours * 3600, "en", speakers, turns, all_words)


@pytest.mark.slow
def test_ten_hours_of_transcript_open_in_bounded_memory(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "meeting"
    write_results(folder, None, long_transcript(10, 100_000))
    with serving(folder) as served:
        answer = served.get("/r/meeting/state.json")
        assert answer.status_code == 200 and len(answer.content) < 10e6
        assert served.get("/r/meeting/state.json").content == answer.content
        assert served.get("/r/meeting/").text.count("<p>") > 5000
        assert served.send(0, {"op": "edit_word", "word": "w0", "text": "x"}).status_code == 200
        assert psutil.Process(served.process.pid).memory_info().rss < 1e9


def test_state_of_any_log_is_what_the_page_replays(folder: Path) -> None:
    """Translated operations on the machine's state give the corrected state, also after another result."""
    corrections = Corrections(folder)
    draw = random.Random(3)
    for _ in range(60):
        with contextlib.suppress(DoesNotFit):
            corrections.append(random_operation(draw, corrections.history.state), "anna")
    corrections.append({"op": "undo", "number": 2}, "anna")
    plain = transcript()
    write_results(folder, None, replace(plain, words=plain.words[1:], turns=plain.turns[:2]))
    with serving(folder) as served:
        state = served.state()
    entries = [history.Entry(e["number"], e["time"], e["author"], "", e["operation"]) for e in state["entries"]]
    replayed = history.replay(State.of(outputs.read(folder)), entries)
    assert replayed.state == Corrections(folder).history.state
    assert [bool(one.problem) for one in replayed.entries if not one.undone] == [
        bool(e["problem"]) for e in state["entries"] if not e["undone"]
    ]

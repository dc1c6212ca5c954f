"""The review server, as a browser and as an attacker see it."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pipelines.results import integrity
from tests.pipelines.review.serving import NAMES, Served, read_log, serving, write_recording, write_results

NAME = {"op": "name_speaker", "speaker": "A", "name": "Anna"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("review")
    return write_results(place / "out" / "meeting", write_recording(place / "meeting.wav"))


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    with serving(folder) as server:
        yield server


def test_the_page_has_the_transcript_and_a_strict_policy(served: Served) -> None:
    assert served.get("/").headers["location"] == "/r/meeting/"
    page = served.get("/r/meeting/")
    assert page.status_code == 200 and 'data-source="state.json"' in page.text
    assert "<noscript>" in page.text and "three" in page.text
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';") and "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff" and page.headers["referrer-policy"] == "no-referrer"
    assert served.get("/r/meeting/state.json").headers["cache-control"] == "no-store"


def test_the_state_is_the_machines_transcript_with_its_corrections(served: Served, folder: Path) -> None:
    state = served.state()
    machine = json.loads((folder / "transcript.json").read_text())
    assert [(row[1] / 1000, row[2] / 1000, row[3]) for row in state["machine"]["turns"]] == [
        (turn["start"], turn["end"], turn["speaker"]) for turn in machine["turns"]
    ]
    assert [row[3] for row in state["machine"]["words"]] == [word["text"] for word in machine["words"]]
    assert state["recording"]["duration"] == 20_000 and state["author"] == "anna"
    assert state["audio"] == {"url": "audio", "type": "audio/wav"} and state["peaks"]["rate"] == 100
    assert set(NAMES) <= set(state["formats"]) and not state["readonly"]


def test_an_operation_is_on_the_disk_when_it_is_answered(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "out" / "meeting", write_recording(tmp_path / "meeting.wav"))
    with serving(folder) as served:
        answer = served.send(0, NAME, {"op": "edit_word", "word": "w2000", "text": "too"})
        assert answer.status_code == 200 and [e["number"] for e in answer.json()["entries"]] == [1, 2]
        assert [entry["operation"] for entry in read_log(folder)] == [e["operation"] for e in answer.json()["entries"]]
        stale = served.send(0, NAME)
        assert stale.status_code == 409 and [e["number"] for e in stale.json()["entries"]] == [1, 2]
        bad = served.send(2, {"op": "undo", "number": 1}, {"op": "edit_word", "word": "w9", "text": "x"}, NAME)
        assert bad.status_code == 422 and bad.json()["index"] == 1 and "w9" in bad.json()["problem"]
        assert [e["number"] for e in bad.json()["entries"]] == [3] and len(read_log(folder)) == 3
        assert [entry["undone"] for entry in served.state()["entries"]] == [True, False, False]
        assert "too" in served.get("/r/meeting/export/txt").text
        assert served.get("/r/meeting/export/docx").content[:2] == b"PK"
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(20) == 0
    assert "too" in (folder / "transcript.txt").read_text()
    assert [each for each in integrity.check(folder.parent).differences if each.where != "run.json"] == []


def test_fault_65_audio_in_ranges(served: Served, folder: Path) -> None:
    content = (folder.parents[1] / "meeting.wav").read_bytes()
    assert served.get("/r/meeting/audio").content == content
    part = served.get("/r/meeting/audio", headers={"range": "bytes=100-199"})
    assert part.status_code == 206 and part.content == content[100:200]
    assert (
        part.headers["content-range"] == f"bytes 100-199/{len(content)}" and part.headers["content-type"] == "audio/wav"
    )
    assert served.get("/r/meeting/audio", headers={"range": "bytes=-10"}).content == content[-10:]
    assert served.get("/r/meeting/audio", headers={"range": f"bytes={len(content)}-"}).status_code == 416
    for odd in ("bytes=5-2", "bytes=0-1,3-4", "bytes=-", "lines=1-2", "bytes=" + ",".join(["0-"] * 1000)):
        assert served.get("/r/meeting/audio", headers={"range": odd}).status_code == 200
    head = served.client.head("/r/meeting/audio")
    assert head.headers["content-length"] == str(len(content)) and not head.content


def test_the_waveform(served: Served) -> None:
    pairs = served.get("/r/meeting/peaks").content
    assert len(pairs) == 20 * 100 * 2
    highest = [byte if byte < 128 else byte - 256 for byte in pairs[1::2]]
    assert highest[0] <= 1 and highest[50] in range(30, 35) and highest[99] in range(61, 65)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {}, 401),
        ("/r/meeting/state.json", {}, 401),
        ("/assets/review.js", {}, 401),
        ("/?token=wrong", {}, 401),
        ("/r/meeting/state.json", {"authorization": "Bearer wrong"}, 401),
        ("/r/meeting/state.json", {"authorization": "TOKEN", "host": "evil.example"}, 421),
        ("/r/meeting/state.json", {"authorization": "TOKEN", "host": "127.0.0.1"}, 421),
        ("/r/meeting/peaks", {"authorization": "TOKEN", "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}, 403),
        ("/r/meeting/peaks", {"authorization": "TOKEN", "sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, 403),
        ("/r/..%2f..%2fetc/state.json", {"authorization": "TOKEN"}, 404),
        ("/r/../state.json", {"authorization": "TOKEN"}, 404),
        ("/assets/..%2f..%2fpyproject.toml", {"authorization": "TOKEN"}, 404),
        ("/assets/../page_html.py", {"authorization": "TOKEN"}, 404),
        ("/r/meeting/export/..%2ftranscript", {"authorization": "TOKEN"}, 404),
        ("/r/nobody/state.json", {"authorization": "TOKEN"}, 404),
        ("/" + "x" * 5000, {"authorization": "TOKEN"}, 414),
        ("/r/meeting/state.json", {"authorization": "TOKEN"}, 200),
    ],
    ids=str,
)  # fmt: skip
def test_fault_65_who_may_read(served: Served, path: str, headers: dict[str, str], status: int) -> None:
    own = {key: value.replace("TOKEN", f"Bearer {served.token}") for key, value in headers.items()}
    with httpx.Client(base_url=served.base) as stranger:
        request = stranger.build_request("GET", "/", headers=own)
        request.extensions["target"] = path.encode()
        answer = stranger.send(request)
    assert answer.status_code == status
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"origin": "BASE"}, 400),
        ({"authorization": "TOKEN"}, 400),
        ({"authorization": "TOKEN", "origin": "http://evil.example"}, 403),
        ({"origin": "BASE", "content-type": "text/plain"}, 400),
    ],
    ids=str,
)
def test_fault_65_who_may_write(served: Served, headers: dict[str, str], status: int) -> None:
    own = {
        key: value.replace("TOKEN", f"Bearer {served.token}").replace("BASE", served.base)
        for key, value in headers.items()
    }
    answer = served.client.post(
        "/r/meeting/operations", content="{}", headers={"content-type": "application/json", **own}
    )
    assert answer.status_code == status


@pytest.mark.parametrize(
    "body",
    [b"[]", b"{", b"[" * 100_000, b'{"after": -1, "operations": [{}]}', b'{"after": true, "operations": [{}]}',
     b'{"after": 0, "operations": []}', b'{"after": 0, "operations": [1]}', b'\xff', b'{"after": 0, "operations": ['
     + b"{}," * 1001 + b"{}]}"],
    ids=range(9),
)  # fmt: skip
def test_fault_65_bodies_that_are_refused(served: Served, body: bytes) -> None:
    headers = {"content-type": "application/json", **served.origin}
    answer = served.client.post("/r/meeting/operations", content=body, headers=headers)
    assert answer.status_code == 400 and answer.json()["problem"]


def test_fault_65_a_body_that_is_too_large(served: Served) -> None:
    headers = {"content-type": "application/json", **served.origin}

    def pieces() -> Iterator[bytes]:
        for _ in range(1000):
            yield b" " * 65_536

    for body in (b" " * 2_000_000, pieces()):
        try:  # a client that is still writing may see the connection end before it sees the answer
            status = served.client.post("/r/meeting/operations", content=body, headers=headers).status_code
        except httpx.TransportError:
            status = 413
        assert status == 413
    assert served.get("/r/meeting/state.json").status_code == 200


def test_fault_67_corrections_of_others_arrive_as_events(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "out" / "meeting", None)
    import run_pipeline

    with serving(tmp_path / "out") as served, served.client.stream("GET", "/r/meeting/events?after=0") as events:
        lines = events.iter_lines()
        assert next(lines).startswith(":")
        assert run_pipeline.main(["edit", str(folder), "--name", "A=Anna", "--author", "max"]) == 0
        began = time.monotonic()
        data = next(line for line in lines if line.startswith("data:"))
        assert time.monotonic() - began < 10
        entry = json.loads(data.removeprefix("data:"))
        assert entry["author"] == "max" and entry["operation"] == NAME and entry["number"] == 1

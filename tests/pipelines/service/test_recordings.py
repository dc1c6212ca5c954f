"""Recordings: jobs with events, results in every format, cancelling, webhooks, and what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from diarize.client import Client
from pipelines.service.work.webhooks import is_signed
from tests.pipelines.service.servers import Running, process, running, settings_in, tone

SECRET = "0123456789abcdef"


class _Receiver:
    """An HTTP server that keeps what it receives; it fails the first time."""

    def __init__(self) -> None:
        self.received: list[tuple[str, bytes]] = []
        outer = self

        class Answering(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.received.append((self.headers["Diarize-Signature"], body))
                self.send_response(500 if len(outer.received) == 1 else 204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Answering)
        self.url = f"http://127.0.0.1:{self.server.server_port}/done"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[_Receiver]:
    own = _Receiver()
    yield own
    own.server.shutdown()
    own.server.server_close()


def wait(client: httpx.Client, id: str, seconds: float = 90) -> dict[str, object]:
    """The job when it is finished."""
    deadline = time.monotonic() + seconds
    while True:
        job = dict(client.get(f"/v1/recordings/{id}").json())
        if job["state"] in ("done", "failed", "cancelled"):
            return job
        assert time.monotonic() < deadline, job
        time.sleep(0.2)


@pytest.mark.slow
def test_a_recording_is_processed_watched_and_exported(tmp_path: Path, receiver: _Receiver) -> None:
    chosen = settings_in(tmp_path, webhook_networks=("127.0.0.0/8",))
    with running(chosen) as own, own.client() as client:
        headers = {"Idempotency-Key": "call-17", "Webhook-Secret": SECRET}
        query = {"num_speakers": 1, "webhook": receiver.url}
        answers = [
            client.post("/v1/recordings", params=query, content=tone(440, 4, 1), headers=headers)  # type: ignore[arg-type]
            for _ in range(2)
        ]
        assert [answer.status_code for answer in answers] == [202, 202]
        id = answers[0].json()["id"]
        assert answers[1].json()["id"] == id
        early = client.get(f"/v1/recordings/{id}/transcript")
        assert (early.status_code, early.json()["code"]) == (409, "not_finished")
        with client.stream("GET", f"/v1/recordings/{id}/events") as stream:
            lines = list(stream.iter_lines())
        names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
        assert names[-1] == "state" and "stage" in names
        numbers = [int(line.removeprefix("id: ")) for line in lines if line.startswith("id: ")]
        assert numbers == sorted(numbers)
        with Client(own.url) as typed:
            assert typed.wait(id)["state"] == "done"
            assert typed.transcript(id, "rttm").startswith("SPEAKER")
        with client.stream("GET", f"/v1/recordings/{id}/events", headers={"Last-Event-ID": "3"}) as stream:
            later = [line for line in stream.iter_lines() if line.startswith("id: ")]
        assert later[0] == "id: 4"
        job = client.get(f"/v1/recordings/{id}").json()
        assert (job["state"], job["options"]) == ("done", {"num_speakers": 1})
        transcript = client.get(f"/v1/recordings/{id}/transcript").json()
        assert [speaker["id"] for speaker in transcript["speakers"]] == ["SPEAKER_01"]
        for format, beginning in (("srt", "1\n"), ("vtt", "WEBVTT"), ("rttm", "SPEAKER ")):
            assert client.get(f"/v1/recordings/{id}/transcript", params={"format": format}).text.startswith(beginning)
        unknown = client.get(f"/v1/recordings/{id}/transcript", params={"format": "tape"})
        assert (unknown.status_code, "srt" in unknown.json()["known"]) == (422, True)

        deadline = time.monotonic() + 20
        while client.get(f"/v1/recordings/{id}").json()["webhook"] == "waiting" and time.monotonic() < deadline:
            time.sleep(0.1)
        assert client.get(f"/v1/recordings/{id}").json()["webhook"] == "delivered"
        assert len(receiver.received) == 2  # the first one failed
        signature, body = receiver.received[-1]
        assert json.loads(body)["state"] == "done"
        assert is_signed(SECRET, body, signature, time.time())
        assert not is_signed("another secret!!", body, signature, time.time())
        assert not is_signed(SECRET, body + b" ", signature, time.time())
        assert not is_signed(SECRET, body, signature, time.time() + 1000)
        assert not any(path.is_file() for path in (tmp_path / "jobs").rglob("recording"))  # the sound is deleted
        assert client.delete(f"/v1/recordings/{id}").status_code == 204
        assert client.get(f"/v1/recordings/{id}").status_code == 404
        assert list((tmp_path / "jobs").rglob("transcript*")) == []


@pytest.mark.slow
def test_what_cannot_be_processed_fails_with_its_reason(client: httpx.Client) -> None:
    empty = client.post("/v1/recordings", content=b"")
    assert (empty.status_code, empty.json()["code"]) == (422, "audio_empty")
    id = client.post("/v1/recordings", content=b"no audio").json()["id"]
    job = wait(client, id)
    assert job["state"] == "failed"
    assert "not a recording" in str(job["reason"])


def test_a_recording_is_cancelled(service: Running, client: httpx.Client, tmp_path: Path) -> None:
    id = client.post("/v1/recordings", content=tone(440, 4, 2)).json()["id"]
    assert client.post(f"/v1/recordings/{id}/cancel").json()["state"] == "cancelled"
    with client.stream("GET", f"/v1/recordings/{id}/events") as stream:
        assert any("cancelled" in line for line in stream.iter_lines())
    assert client.get("/v1/recordings").json()["recordings"][0]["state"] == "cancelled"


def test_an_open_stream_of_events_does_not_delay_the_stop(tmp_path: Path) -> None:
    """The stream ends with the service; its recording is resumed by the next start."""
    with httpx.Client(timeout=30, trust_env=False) as client:
        with running(settings_in(tmp_path)) as own:
            id = client.post(f"{own.url}/v1/recordings", content=tone(440, 4, 3)).json()["id"]
            stream = client.send(client.build_request("GET", f"{own.url}/v1/recordings/{id}/events"), stream=True)
            lines = stream.iter_lines()
            assert next(lines) == "id: 0"
            started = time.monotonic()
        assert time.monotonic() - started < 15
        assert not any("done" in line for line in lines)
        stream.close()
    (job,) = (tmp_path / "jobs").rglob("job.json")
    assert json.loads(job.read_text())["state"] in ("queued", "running")


@pytest.mark.slow
def test_recordings_survive_a_kill(tmp_path: Path) -> None:
    """SIGKILL while a recording is processed: the next start resumes it."""
    with process(tmp_path) as own, httpx.Client(base_url=own.url, trust_env=False) as client:
        id = client.post("/v1/recordings", content=tone(440, 4, 1)).json()["id"]
        deadline = time.monotonic() + 60
        while client.get(f"/v1/recordings/{id}").json()["state"] == "queued" and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(own.process.pid, signal.SIGKILL)
        own.process.wait(30)
    with process(tmp_path) as own, httpx.Client(base_url=own.url, trust_env=False) as client:
        assert wait(client, id)["state"] == "done"
        own.process.send_signal(signal.SIGTERM)
        assert own.process.wait(60) == 0

"""What hostile callers send; afterwards the service answers as before (docs/security.md)."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import socket
import struct
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from pipelines.service.work.refusals import Refusal
from pipelines.service.work.webhooks import WebhookRules
from tests.pipelines.service.servers import TONES, Running, enrolled, running, settings_in, tone

MIB = 1 << 20


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with small limits."""
    chosen = settings_in(tmp_path_factory.mktemp("small"))
    limits = replace(
        chosen.limits, utterance_bytes=MIB, recording_bytes=2 * MIB, utterance_seconds=30.0, decoding=2,
        header_seconds=1.0, body_seconds=1.5, connections=40, queue=4,
    )  # fmt: skip
    with running(replace(chosen, limits=limits)) as own:
        yield own


@pytest.fixture
def alive(small: Running) -> Iterator[Running]:
    """The service, which answers before and after."""
    yield small
    with small.client() as client:
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(httpx.TransportError):
                if client.get("/readyz").status_code == 200:
                    return
            assert time.monotonic() < deadline


def _raw(running: Running, *pieces: bytes) -> bytes:
    """What the service answers to these bytes, until it closes the connection."""
    parts = urlsplit(running.url)
    answer = b""
    own = socket.create_connection((parts.hostname or "", parts.port or 0), 20)
    with own, contextlib.suppress(ConnectionError):
        for piece in pieces:
            own.sendall(piece)
        while block := own.recv(65536):
            answer += block
    return answer


def test_guessed_keys_are_refused_and_then_slowed_down(tmp_path: Path) -> None:
    with running(settings_in(tmp_path)) as own:
        text = own.key("read")
        guesses = [
            text[:-1] + ("A" if text[-1] != "A" else "B"),
            "dz_",
            "x" * 5000,
            text.replace("dz", "DZ"),
            "Basic x",
        ]
        with own.client() as client:
            for guess in guesses:
                answer = client.get("/v1/speakers", headers={"Authorization": f"Bearer {guess}"})
                assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
                assert answer.headers["www-authenticate"].startswith("Bearer")
            assert client.get("/v1/speakers").status_code == 401
            statuses = [
                client.get("/v1/speakers", headers={"X-Api-Key": f"dz_{n:012x}_{'A' * 43}"}).status_code
                for n in range(30)
            ]
            assert set(statuses[:10]) == {401} and statuses[-1] == 429


def test_the_comparison_of_keys_takes_the_same_steps_for_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import hmac

    from pipelines.service.access.keys import Keys
    from pipelines.service.access.ledger import Ledger

    compared: list[tuple[int, int]] = []
    original = hmac.compare_digest

    def spy(a: str, b: str) -> bool:
        compared.append((len(a), len(b)))
        return original(a, b)

    ledger = Ledger(tmp_path / "service.db")
    keys = Keys(ledger)
    _, text = keys.add("acme", ["read"])
    monkeypatch.setattr("pipelines.service.access.keys.hmac.compare_digest", spy)
    for guess in (text, text[:-1] + "!", f"dz_{'0' * 12}_{'A' * 43}", "", "nonsense"):
        keys.check(guess)
    assert compared == [(64, 64)] * 5
    ledger.close()


@pytest.mark.parametrize(
    "path",
    [
        "/v1/speakers/../../service.db", "/v1/speakers/%2e%2e%2f%2e%2e%2fservice.db",
        "/v1/recordings/..%2f..%2fservice.db",
        "/v1/recordings/%00", "/v1/speakers/%00", "/v1/speakers/a%0ab", "/v1/speakers/" + "a" * 5000, "//etc/passwd",
        "/v1/recordings/" + "0" * 31 + "/transcript", "/v1/speakers/%ff%fe", "/v1//speakers", "/V1/speakers/x",
        "/v1/speakers/' OR 1=1 --", "/v1/recordings/*/events",
    ],
)  # fmt: skip
def test_strange_paths_find_nothing(alive: Running, path: str) -> None:
    line = f"GET {path.replace(' ', '%20')} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    status = int(_raw(alive, line.encode()).split(b" ", 2)[1])
    assert 400 <= status < 500


@pytest.mark.parametrize(
    "lines",
    [
        "Content-Length: 5\r\nContent-Length: 6", "Content-Length: -1", "Content-Length: 1e9",
        "Content-Length: " + "9" * 30,
        "Transfer-Encoding: chunked\r\nContent-Length: 5", "Transfer-Encoding: gzip, chunked", "X: " + "a" * 40_000,
        "X-Forwarded-For: 127.0.0.1", "Host: evil.example", "Forwarded: for=127.0.0.1",
        "Content-Type: multipart/form-data", "Content-Type: multipart/form-data; boundary=" + "x" * 500,
    ],
)  # fmt: skip
def test_strange_headers_are_refused(alive: Running, lines: str) -> None:
    head = f"POST /v1/identify HTTP/1.1\r\n{lines}\r\nConnection: close\r\n"
    head += "" if lines.startswith("Host") else "Host: 127.0.0.1\r\n"
    answer = _raw(alive, f"{head}\r\n".encode(), b"5\r\nhello\r\n0\r\n\r\n" if "chunked" in lines else b"hello")
    assert not answer or 400 <= int(answer.split(b" ", 2)[1]) < 500


def test_a_body_that_is_too_large_is_refused_before_it_is_stored(alive: Running) -> None:
    with alive.client() as client:
        declared = client.post("/v1/identify", content=bytes(2 * MIB))
        assert (declared.status_code, declared.json()["code"]) == (413, "too_large")

        def endless() -> Iterator[bytes]:
            while True:
                yield bytes(65536)

        try:
            chunked = client.post("/v1/identify", content=endless())
            assert chunked.status_code == 413
        except httpx.TransportError:  # the answer may be lost where the connection was closed first
            pass
        form = client.post("/v1/identify", files={"audio": ("a.wav", bytes(2 * MIB), "audio/wav")})
        assert form.status_code == 413
        json_body = client.post("/v1/speakers", content=b'{"name": "' + b"a" * 2 * MIB + b'"}')
        assert json_body.status_code == 413
    assert list(alive.service.uploads.iterdir()) == []


def test_bombs_are_refused(alive: Running) -> None:
    """Archives, a file that decodes to hours, a header that promises more than there is, nested JSON."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.wav", bytes(50 * MIB))
    import soundfile

    long = io.BytesIO()
    soundfile.write(long, np.zeros(16_000 * 3600, dtype=np.int16), 16_000, format="FLAC")
    promising = b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    promising += b"data" + struct.pack("<I", 0xFFFFFFF0) + bytes(1000)
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n"
    with alive.client() as client:
        answers = [
            client.post("/v1/identify", content=content)
            for content in (archive.getvalue(), gzip.compress(bytes(50 * MIB)), long.getvalue(), promising, playlist)
        ]
        assert [answer.status_code for answer in answers] == [415, 415, 422, 422, 415]
        assert answers[2].json()["code"] in ("audio_too_long", "audio_too_costly")
        deep = client.post("/v1/speakers", content=b"[" * 100_000, headers={"Content-Type": "application/json"})
        assert deep.status_code == 422
        big = client.post("/v1/speakers", content=b'{"name": 1' + b"0" * 100_000 + b"}")
        assert big.status_code == 422


def test_slow_clients_are_cut_off(alive: Running) -> None:
    started = time.monotonic()
    assert _raw(alive, b"POST /v1/identify HT") == b""  # the headers never end
    assert _raw(alive) == b""  # nothing is sent at all
    body = _raw(alive, b"POST /v1/identify HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nabc")
    assert b"408" in body.split(b"\r\n", 1)[0] and b'"timeout"' in body
    assert time.monotonic() - started < 15


def test_many_open_sockets_leave_the_service_in_order(alive: Running) -> None:
    parts = urlsplit(alive.url)
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            own = stack.enter_context(socket.socket())
            own.settimeout(5)
            with contextlib.suppress(OSError):
                own.connect((parts.hostname or "", parts.port or 0))
        deadline = time.monotonic() + 10
        while True:  # those that say nothing are closed after a second, while the attacker holds on
            try:
                with alive.client() as client:
                    assert client.get("/healthz").status_code == 200
                    return
            except httpx.TransportError:
                assert time.monotonic() < deadline


def test_a_full_queue_answers_429_and_does_not_grow(alive: Running) -> None:
    import threading

    with alive.client() as client:
        id = enrolled(client, 440)
    statuses: list[int] = []
    release = threading.Event()
    alive.service.bench._executor.submit(release.wait, 20)  # the thread is busy with something long

    def ask(seed: int) -> None:
        with alive.client() as own:
            answer = own.post("/v1/verify", params={"speaker": id}, content=tone(440, 3, seed))
            statuses.append(answer.status_code)
            if answer.status_code == 429:
                assert answer.json()["code"] == "busy" and int(answer.headers["retry-after"]) >= 1

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 15
    while statuses.count(429) < 7 and time.monotonic() < deadline:
        time.sleep(0.02)
    release.set()
    for thread in threads:
        thread.join()
    assert (statuses.count(200), statuses.count(429)) == (5, 7)


def test_log_lines_cannot_be_forged(alive: Running) -> None:
    before = len(alive.lines)
    _raw(
        alive,
        b'GET /x%0a{"status":200}?a=%0d%0a HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Request-Id: a\x0bb"}\r\n'
        b"User-Agent: \x1b[2J\r\nConnection: close\r\n\r\n",
    )
    with alive.client() as client:
        client.post("/v1/speakers", json={"name": 'Anna\n{"status": 200}\x1b[31m'})
        client.get("/v1/speakers", params={"name": "\r\nforged: yes"})
    for line in alive.lines[before:]:
        assert line.isprintable()
        assert set(json.loads(line)) == {"time", "process", "request", "client", "method", "route", "status", "ms"}


def test_the_same_request_again_changes_nothing(alive: Running) -> None:
    with alive.client() as client:
        id = client.post("/v1/speakers", json={"name": "Anna"}).json()["id"]
        sound = tone(660, 5, 1)
        answers = [client.post(f"/v1/speakers/{id}/utterances", params=TONES, content=sound).json() for _ in range(3)]
        assert [answer["outcome"] for answer in answers] == ["counted", "known", "known"]
        assert answers[-1]["speaker"]["enrolment"]["seconds"] == 5.0


def test_a_web_page_cannot_use_a_service_without_keys(alive: Running) -> None:
    with alive.client() as client:
        for headers in (
            {"Origin": "https://evil.example"},
            {"Host": "evil.example"},
            {"X-Forwarded-For": "203.0.113.9"},
        ):
            answer = client.post("/v1/speakers", json={"name": "Mallory"}, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "not_local")
        plain = client.post("/v1/speakers", content='{"name": "Mallory"}', headers={"Content-Type": "text/plain"})
        assert plain.status_code == 422
        assert client.get("/healthz").headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in client.options("/v1/speakers").headers


def test_forwarded_headers_of_strangers_are_not_believed(tmp_path: Path) -> None:
    """Failed keys are counted by the real address, whatever the caller says it is."""
    with running(settings_in(tmp_path)) as own, own.client() as client:
        own.key("read")
        statuses = [
            client.get(
                "/v1/speakers",
                headers={"Authorization": "Bearer wrong", "X-Forwarded-For": f"203.0.113.{n}"},
            ).status_code
            for n in range(25)
        ]
        assert statuses[-1] == 429


_PRIVATE = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
    "::1", "::", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
    "ff02::1", "255.255.255.255",
]  # fmt: skip


@pytest.mark.parametrize("address", _PRIVATE)
def test_webhooks_do_not_reach_private_networks(address: str) -> None:
    with pytest.raises(Refusal, match="private network"):
        WebhookRules(resolve=lambda host, port: [address]).check("https://hook.example/x")


@pytest.mark.parametrize(
    "url",
    [
        "http://hook.example/", "ftp://hook.example/", "file:///etc/passwd", "https://", "https://user:pw@hook.example/",
        "https://hook.example:99999/", "https://hook.example/\r\nHost: a", "gopher://hook.example", "https://[::1", "x",
    ],
)  # fmt: skip
def test_webhooks_are_plain_https(url: str) -> None:
    with pytest.raises(Refusal):
        WebhookRules(resolve=lambda host, port: ["8.8.8.8"]).check(url)


def test_one_private_address_of_a_name_is_enough_to_refuse_it() -> None:
    with pytest.raises(Refusal, match="private network"):
        WebhookRules(resolve=lambda host, port: ["8.8.8.8", "127.0.0.1"]).check("https://hook.example/")


def test_the_checked_address_is_the_one_that_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that answers differently the second time changes nothing."""
    reached: list[object] = []

    def connect(address: object, timeout: float) -> socket.socket:
        reached.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", connect)
    answers = iter([["8.8.8.8"], ["127.0.0.1"]])
    with pytest.raises(ConnectionRefusedError):
        WebhookRules(resolve=lambda host, port: next(answers)).deliver("https://hook.example/", "s" * 16, b"{}")
    assert reached == [("8.8.8.8", 443)]


def test_a_webhook_to_the_machine_itself_is_refused_by_the_service(alive: Running) -> None:
    with alive.client() as client:
        for url in ("http://127.0.0.1:22/", "https://localhost/", "http://169.254.169.254/latest/meta-data"):
            answer = client.post(
                "/v1/recordings", params={"webhook": url}, content=tone(440, 2), headers={"Webhook-Secret": "s" * 20}
            )
            assert (answer.status_code, answer.json()["code"]) == (422, "webhook_refused")

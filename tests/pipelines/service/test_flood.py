"""Ten thousand connections at once: limits hold, the service answers afterwards, and its memory stays bounded."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from diarize.errors import ConfigError
from pipelines.service import server
from tests.pipelines.service.servers import ROOT, WAITING, Process, process

SOCKETS = 10_000
LIMIT = 1000  # RequestLimits.connections, the default
# With the upload of each. Connections over the limit are closed three rounds of the event loop after they are accepted,
# and each round accepts a backlog at most.
FILES = 2 * LIMIT + 4 * server.BACKLOG
BUFFERS = (2 * LIMIT + 600) * (128 << 10)  # bytes: of each, 64 KiB that asyncio reads, a head of 32 KiB, and the rest


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < SOCKETS + 1000:
        pytest.skip(f"this process may open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, SOCKETS + 1000), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def _open(port: int, sent: bytes) -> asyncio.StreamWriter | None:
    """A connection that has sent some bytes and is not closed on this side; None: it could not be opened."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        await writer.drain()
        return writer
    except OSError:
        return None


async def flood(served: Process, sent: bytes) -> tuple[int, int, int]:
    """(sockets that were opened, most descriptors and most bytes of memory of the service meanwhile)."""
    port = urlsplit(served.url).port or 0
    measured = psutil.Process(served.process.pid)
    writers: list[asyncio.StreamWriter] = []
    files = memory = 0
    for _ in range(SOCKETS // 100):
        writers += [one for one in await asyncio.gather(*(_open(port, sent) for _ in range(100))) if one is not None]
        files, memory = max(files, measured.num_fds()), max(memory, measured.memory_info().rss)
    opened = len(writers)
    for writer in writers:
        writer.transport.abort()
    return opened, files, memory


@pytest.mark.slow
@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /healthz HTT",
        b"POST /v1/identify HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\nRIFF",
    ],
    ids=["silent", "half-a-head", "half-a-body"],
)
def test_ten_thousand_sockets_leave_the_service_in_order(tmp_path: Path, many_files: None, sent: bytes) -> None:
    with process(tmp_path) as served:
        with httpx.Client(base_url=served.url, trust_env=False) as client:
            assert client.get("/healthz").status_code == 200
        before = psutil.Process(served.process.pid)
        idle_files, idle_memory = before.num_fds(), before.memory_info().rss
        with ThreadPoolExecutor(1) as thread:  # a browser of another test may own this thread's event loop
            opened, files, memory = thread.submit(lambda: asyncio.run(flood(served, sent))).result()
        assert opened >= 0.9 * SOCKETS
        assert files - idle_files <= FILES
        assert memory - idle_memory < BUFFERS
        deadline = time.monotonic() + WAITING
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{served.url}/readyz", timeout=30, trust_env=False).status_code == 200:
                    break
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert served.process.poll() is None
        while before.num_fds() > idle_files + 50:  # all are given back
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert before.memory_info().rss - idle_memory < BUFFERS
        if sent.startswith(b"POST"):  # nothing that was sent by halves stays
            assert [path for path in tmp_path.glob("uploads-*/*") if path.is_file()] == []


def test_the_service_may_open_as_many_files_as_its_connections_need() -> None:
    code = (
        "import resource, sys; from pipelines.service import server; "
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, int(sys.argv[1]))); server.allow_files(1000); "
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    raised = subprocess.run([*command, "4096"], cwd=ROOT, capture_output=True, text=True)
    assert raised.stdout.strip() == str(2000 + server.OTHER_FILES), raised.stderr
    refused = subprocess.run([*command, "1024"], cwd=ROOT, capture_output=True, text=True)
    assert "ConfigError" in refused.stderr and "1024" in refused.stderr


def test_a_limit_that_cannot_be_raised_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1024, 2048))
    with pytest.raises(ConfigError, match=r"2048 files.*--connections"):
        server.allow_files(5000)

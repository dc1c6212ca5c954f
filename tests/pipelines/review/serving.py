"""A review server in a process of its own, results with a real recording for it, and a client."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile

from diarize.types import Provenance, Transcript
from pipelines.processes import decoding
from pipelines.results import outputs
from tests.corrections.test_operations import transcript as short_transcript

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("txt", "rttm", "srt", "csv")
RATE = 16_000


def write_recording(path: Path, seconds: float = 20.0) -> Path:
    """A tone whose level rises in each second."""
    times = np.arange(round(seconds * RATE)) / RATE
    soundfile.write(path, (0.5 * np.sin(2 * np.pi * 440 * times) * (times % 1)).astype(np.float32), RATE)
    return path


def write_results(folder: Path, recording: Path | None, transcript: Transcript | None = None) -> Path:
    """Results of `transcript` (default: the short one of the tests of corrections) for a recording."""
    transcript = replace(short_transcript() if transcript is None else transcript, recording=folder.name)
    if recording is None:
        outputs.write(folder, transcript, NAMES, {})
        return folder
    source = decoding.read(recording, id=folder.name).source
    transcript = replace(transcript, provenance=Provenance(source=source))
    outputs.write(folder, transcript, NAMES, {}, (recording, source.digest))
    return folder


@dataclass
class Served:
    """A running server: its process, address, and a client that has its cookie."""

    process: subprocess.Popen[str]
    base: str
    token: str
    client: httpx.Client

    @property
    def origin(self) -> dict[str, str]:
        return {"origin": self.base}

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(path, **options)

    def state(self, id: str = "meeting") -> dict[str, Any]:
        answer = self.client.get(f"/r/{id}/state.json")
        assert answer.status_code == 200, answer.text
        state: dict[str, Any] = answer.json()
        return state

    def send(self, after: int, *operations: Mapping[str, Any], id: str = "meeting", **more: Any) -> httpx.Response:
        content = {"after": after, "operations": list(operations), **more}
        return self.client.post(f"/r/{id}/operations", json=content, headers=self.origin)


@contextmanager
def serving(folder: Path, *arguments: str, cache: Path | None = None) -> Iterator[Served]:
    """`diarize review folder` with these arguments, until the end of the block."""
    command = [sys.executable, "run_pipeline.py", "review", str(folder), "--no-browser", "--author", "anna"]
    process = subprocess.Popen(
        [*command, "--port", "0", *arguments, "--cache", "none" if cache is None else str(cache)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        address = process.stdout.readline().strip()
        match = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/\?token=([\w-]+)", address)
        if match is None:
            process.kill()
            raise AssertionError(f"no address: {address!r}, {process.stderr.read()}")
        with httpx.Client(base_url=match[1], timeout=60) as client:
            assert client.get("/", params={"token": match[2]}).status_code == 303
            yield Served(process, match[1], match[2], client)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(120)
            finally:
                process.kill()
                process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "corrections.jsonl").read_text().splitlines()]

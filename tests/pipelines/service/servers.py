"""Services with the cheap embedder: a real uvicorn on the loopback, in a thread or in a process of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import threading
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from diarize.config import Config
from diarize.library.scoring.calibration import Calibration
from diarize.library.scoring.scores import COSINE
from diarize.models.store import Store
from pipelines.inputs import settings as layers
from pipelines.service import server
from pipelines.service.access.binding import Binding
from pipelines.service.access.tenants import Tenants
from pipelines.service.work.settings import RequestLimits, ServiceSettings

ROOT = Path(__file__).resolve().parents[3]
OPTIONS = ["--vad=energy", "--embedder=tests.cheap:embedder", "--offline"]
JOB_OPTIONS = ("--asr=tests.cheap:recognizer", "--segmentation=none")
TONES = {"accept": ["clipping", "voices"]}  # a tone is clipped speech of nobody in particular
WAITING = 120.0  # s


def tone(hertz: float, seconds: float = 5.0, seed: int = 0, rate: int = 16_000, noise: float = 0.0005) -> bytes:
    """A WAV file with a pure tone, which the cheap embedder takes for a voice; `seed` makes recordings differ."""
    n = int(seconds * rate)
    times = np.arange(n) / rate
    samples = 0.3 * np.sin(2 * np.pi * hertz * times)
    quiet = np.zeros(rate // 2)
    samples = np.concatenate([quiet, samples, quiet])
    samples = samples + noise * np.random.default_rng(seed).standard_normal(len(samples))
    return wav(samples, rate)


def wav(samples: Any, rate: int = 16_000) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def calibration(path: Path) -> Path:
    """A calibration for the cheap embedder: one tone has cosines above 0.8, two tones below."""
    Calibration(
        model="pitch", kind=COSINE, mean=(), channels=(), weights=(-24.0, 30.0, 0.0), channel=0.0, seconds=(1.0, 60.0),
        bandwidth=(100.0, 8000.0), bounds=(-20.0, 20.0), trials=(100, 100), speakers=20, data="pure tones",
    ).save(path)  # fmt: skip
    return path


@dataclass(repr=False)
class Running:
    """A service in a thread."""

    url: str
    settings: ServiceSettings
    lines: list[str]  # its log
    service: Any

    def key(self, *scopes: str, tenant: str = "default") -> str:
        return str(self.service.keys.add(tenant, scopes or ("admin",))[1])

    def client(self, key: str | None = None, **options: Any) -> httpx.Client:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False, **options)


def settings_in(folder: Path, **changes: Any) -> ServiceSettings:
    folder.mkdir(parents=True, exist_ok=True)
    chosen = layers.resolve_options(
        {"vad": "energy", "embedder": "tests.cheap:embedder", "offline": True}, None, {}
    ).config
    assert isinstance(chosen, Config)
    defaults = ServiceSettings(
        folder,
        Tenants(folder),
        chosen,
        Binding(port=0),
        limits=RequestLimits(rate=10_000, burst=10_000),
        calibration=calibration(folder / "pitch.json"),
        enrolment_seconds=8.0,
        process_options=(*OPTIONS, *JOB_OPTIONS),
    )
    return replace(defaults, **changes)


@contextlib.contextmanager
def running(settings: ServiceSettings, store: Store | None = None) -> Iterator[Running]:
    """A service in a thread of this process."""
    ready, port = threading.Event(), [0]
    lines: list[str] = []

    def tell(number: int) -> None:
        port[0] = number
        ready.set()

    own = server.make(settings, store or Store(offline=True), lines.append, tell)
    thread = threading.Thread(target=own.run, daemon=True)
    thread.start()
    try:
        assert ready.wait(WAITING), lines
        app: Any = own.config.app
        yield Running(f"http://127.0.0.1:{port[0]}", settings, lines, app.state.service)
    finally:
        own.should_exit = True
        thread.join(WAITING)
        assert not thread.is_alive()


@dataclass
class Process:
    """A service in a process of its own."""

    url: str
    process: subprocess.Popen[str]


@contextlib.contextmanager
def process(folder: Path, *options: str) -> Iterator[Process]:
    """`diarize serve` with the cheap embedder."""
    command = [sys.executable, "-m", "diarize", "serve", "--data", str(folder), "--port", "0", *OPTIONS]
    command += ["--enrolment-seconds=8", f"--calibration={calibration(folder / 'pitch.json')}", *JOB_OPTIONS, *options]
    log = (folder / "log").open("a")
    started = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        assert started.stdout is not None
        line = started.stdout.readline()
        match = re.search(r"(https?://\S+)", line)
        assert match, (line, (folder / "log").read_text())
        yield Process(match[1], started)
    finally:
        started.kill()  # whatever it started ends with it
        started.wait(30)
        assert started.stdout is not None
        started.stdout.close()
        log.close()


def enrolled(client: httpx.Client, hertz: float, name: str = "Anna", utterances: int = 2) -> str:
    """The id of a speaker who is enrolled completely."""
    speaker = client.post("/v1/speakers", json={"name": name, "consent": "in a test"})
    assert speaker.status_code == 201, speaker.text
    id = str(speaker.json()["id"])
    for seed in range(utterances):
        answer = client.post(
            f"/v1/speakers/{id}/utterances", params=TONES, content=tone(hertz, 5.0, 1000 * int(hertz) + seed)
        )
        assert answer.status_code == 201, answer.text
    return id


def codes(answers: Sequence[httpx.Response]) -> list[str]:
    return [json.loads(answer.content).get("code", "") for answer in answers]

"""Load on the service, on the loopback: verifications from many clients at once, and single requests unloaded.

    python -m benchmarks.service_load --requests 500 --clients 32 --json benchmarks/results/service-load.json

Speakers are those of the example conversation; verifications are of 3 s of it. The service is a process of its own,
with the default models; its clients are threads of this one, on the same machine, and take processor time from it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import soundfile

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "conversation.flac"
FIRST = 0.7, 8.4  # s, one speaker
SECONDS = 3.0  # of a verification


def clip(samples: Any, rate: int, start: float, end: float, folder: Path, name: str) -> bytes:
    """A part of a recording as the bytes of a WAV file."""
    path = folder / name
    soundfile.write(path, samples[int(start * rate) : int(end * rate)], rate, subtype="PCM_16")
    return path.read_bytes()


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Milliseconds."""
    values = np.percentile(1000 * np.array(seconds), [50, 95, 99])
    return {name: round(float(value), 1) for name, value in zip(("p50", "p95", "p99"), values, strict=True)}


def timed(count: int, ask: Any) -> list[float]:
    """Seconds of each of `count` calls, one after the other."""
    seconds = []
    for at in range(count):
        started = time.perf_counter()
        ask(at)
        seconds.append(time.perf_counter() - started)
    return seconds


def load(url: str, speaker: str, sound: bytes, requests: int, clients: int, process: psutil.Process) -> dict[str, Any]:
    """Verifications from `clients` threads, each with one connection; a full queue is asked again after its time."""
    seconds: list[float] = []
    refused = 0
    lock = threading.Lock()
    left = iter(range(requests))
    memory: list[int] = []

    def run() -> None:
        nonlocal refused
        with httpx.Client(base_url=url, timeout=120, trust_env=False) as own:
            while True:
                with lock:
                    if next(left, None) is None:
                        return
                started = time.perf_counter()
                while (answer := own.post("/v1/verify", params={"speaker": speaker}, content=sound)).status_code == 429:
                    with lock:
                        refused += 1
                    time.sleep(float(answer.headers["retry-after"]))
                answer.raise_for_status()
                with lock:
                    seconds.append(time.perf_counter() - started)
                    if len(seconds) % max(1, requests // 10) == 0:
                        memory.append(process.memory_info().rss >> 20)

    started = time.perf_counter()
    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        "requests": len(seconds),
        "clients": clients,
        "per_second": round(len(seconds) / (time.perf_counter() - started), 1),
        **percentiles(seconds),
        "refused_429": refused,
        "memory_mib": memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1, help="of the service that compute voices")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    samples, rate = soundfile.read(EXAMPLE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        enrolment = [clip(samples, rate, a, a + 3.5, folder, f"{a}.wav") for a in (0.7, 4.6)]
        claim = clip(samples, rate, 2.0, 2.0 + SECONDS, folder, "claim.wav")
        command = [sys.executable, "-m", "diarize", "serve", "--data", name, "--port", "0", "--offline"]
        command += ["--enrolment-seconds", "4", "--threads", str(args.threads)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as own:
            try:
                assert own.stdout is not None
                match = re.search(r"http://\S+", own.stdout.readline())
                assert match, "the service did not start"
                process = psutil.Process(own.pid)
                with httpx.Client(base_url=match[0], timeout=60, trust_env=False) as client:
                    ids: list[str] = []

                    def enrol(at: int) -> None:
                        path = f"/v1/speakers/{ids[0]}/utterances"
                        client.post(
                            path, params={"accept": ["noise", "voices"]}, content=enrolment[at]
                        ).raise_for_status()

                    ids.append(client.post("/v1/speakers", json={"name": "Laura"}).json()["id"])
                    enrolled = timed(len(enrolment), enrol)

                    def verify(at: int) -> None:
                        answer = client.post("/v1/verify", params={"speaker": ids[0]}, content=claim)
                        assert answer.json()["decision"] == "accept", answer.text

                    verify(0)
                    result = {
                        "load_average": os.getloadavg()[0],
                        "processors": os.cpu_count(),
                        "enrol_ms": [round(1000 * each, 1) for each in enrolled],
                        "verify_unloaded": percentiles(timed(30, verify)),
                    }
                result["verify_loaded"] = load(match[0], ids[0], claim, args.requests, args.clients, process)
            finally:
                own.terminate()
    text = json.dumps(result, indent=1)
    print(text)
    if args.json is not None:
        args.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

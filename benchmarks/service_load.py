"""Load on the service, on the loopback: verifications from many clients at once, and single requests unloaded.

    python -m benchmarks.service_load --requests 10000 --threads 2 --json benchmarks/results/service-load.json

Speakers are those of the example conversation; verifications are of 3 s of it. The service is a process of its own,
with the default models; its clients are threads of this one, on the same machine, and take processor time from it.
Processor time is that of the service and of its confined children, and that of the clients. It depends less than the
times do on what else the machine does. Memory is what the service and its children hold (resident, MiB).
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


class Meter:
    """The processor time and the memory of the service and of its children, and the size of its data."""

    def __init__(self, pid: int, data: Path) -> None:
        self._processes = [own := psutil.Process(pid), *own.children()]
        self._data = data
        self._last = self._seconds(), time.process_time()

    def memory(self) -> list[int]:
        """MiB of the service and of its children."""
        each = [process.memory_info().rss >> 20 for process in self._processes]
        return [each[0], sum(each[1:])]

    def disk(self) -> int:
        """KiB of the data folder."""
        return sum(file.stat().st_size for file in self._data.rglob("*") if file.is_file()) >> 10

    def processor_ms(self, requests: int) -> dict[str, float]:
        """Milliseconds a request since the last call."""
        (service, children), clients = last = self._seconds(), time.process_time()
        before, own = self._last
        self._last = last
        spent = {"service": service - before[0], "children": children - before[1], "clients": clients - own}
        return {name: round(1000 * seconds / requests, 1) for name, seconds in spent.items()}

    def _seconds(self) -> tuple[float, float]:
        each = [sum(process.cpu_times()[:2]) for process in self._processes]
        return each[0], sum(each[1:])


def load(url: str, speaker: str, sound: bytes, requests: int, clients: int, meter: Meter) -> dict[str, Any]:
    """Verifications from `clients` threads, each with one connection; a full queue is asked again after its time."""
    seconds: list[float] = []
    refused = 0
    lock = threading.Lock()
    left = iter(range(requests))
    marks = {0, requests, *(n for n in (1_000, 5_000) if n < requests)}
    state: dict[int, dict[str, Any]] = {}

    def note() -> None:
        if len(seconds) in marks:
            state[len(seconds)] = {"memory_mib": meter.memory(), "disk_kib": meter.disk()}

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
                    note()

    note()
    before = os.getloadavg()[0]
    meter.processor_ms(1)
    started = time.perf_counter()
    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = time.perf_counter() - started
    return {
        "requests": len(seconds),
        "clients": clients,
        "seconds": round(whole, 1),
        "per_second": round(len(seconds) / whole, 1),
        **percentiles(seconds),
        "processor_ms": meter.processor_ms(len(seconds)),
        "refused_429": refused,
        "load_average": [round(before, 1), round(os.getloadavg()[0], 1)],
        "after": state,
    }


def processor() -> dict[str, Any]:
    """How many there are, and which instructions for 8-bit integers they have (Linux)."""
    path = Path("/proc/cpuinfo")
    flags = path.read_text(encoding="utf-8").partition("flags")[2].partition("\n")[0].split() if path.exists() else []
    return {"count": os.cpu_count(), "instructions": [f for f in ("avx2", "avx512_vnni", "amx_int8") if f in flags]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1, help="of the service that compute voices")
    parser.add_argument("--unloaded", type=int, default=100, help="single verifications")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    samples, rate = soundfile.read(EXAMPLE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "data"
        enrolment = [clip(samples, rate, a, a + 3.5, folder, f"{a}.wav") for a in (0.7, 4.6)]
        places = np.arange(8.5, len(samples) / rate - 3.5, 3.5)  # each sound is enrolled once
        enrolment += [clip(samples, rate, a, a + 3.5, folder, f"{a}.wav") for a in places]
        claim = clip(samples, rate, 2.0, 2.0 + SECONDS, folder, "claim.wav")
        command = [sys.executable, "-m", "diarize", "serve", "--data", str(data), "--port", "0", "--offline"]
        command += ["--enrolment-seconds", "4", "--threads", str(args.threads)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        started = time.perf_counter()
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as own:
            try:
                assert own.stdout is not None
                match = re.search(r"http://\S+", own.stdout.readline())
                assert match, "the service did not start"
                started_ms = round(1000 * (time.perf_counter() - started))
                meter = Meter(own.pid, data)
                with httpx.Client(base_url=match[0], timeout=60, trust_env=False) as client:
                    assert client.get("/readyz").status_code == 200
                    ids: list[str] = []

                    def enrol(at: int) -> None:
                        path = f"/v1/speakers/{ids[at > 1]}/utterances"
                        accepted = {"accept": ["noise", "voices", "agreement"]}
                        answer = client.post(path, params=accepted, content=enrolment[at])
                        assert answer.status_code == 201, answer.text

                    for speaker in ("Laura", "everybody"):
                        ids.append(client.post("/v1/speakers", json={"name": speaker}).json()["id"])
                    enrolled = timed(len(enrolment), enrol)

                    def verify(at: int) -> None:
                        answer = client.post("/v1/verify", params={"speaker": ids[0]}, content=claim)
                        assert answer.json()["decision"] == "accept", answer.text

                    first = timed(1, verify)
                    meter.processor_ms(1)
                    result = {
                        "processors": processor(),
                        "load_average": round(os.getloadavg()[0], 1),
                        "threads": args.threads,
                        "start_ms": started_ms,
                        "first_enrol_ms": round(1000 * enrolled[0], 1),
                        "enrol_unloaded": percentiles(enrolled[1:]),
                        "first_verify_ms": round(1000 * first[0], 1),
                        "verify_unloaded": percentiles(timed(args.unloaded, verify)),
                        "processor_ms_unloaded": meter.processor_ms(args.unloaded),
                    }
                result["verify_loaded"] = load(match[0], ids[0], claim, args.requests, args.clients, meter)
            finally:
                own.terminate()
    text = json.dumps(result, indent=1)
    print(text)
    if args.json is not None:
        args.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

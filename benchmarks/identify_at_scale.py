"""What a million enrolled voices add to the time of POST /v1/identify, measured through the service.

    python -m benchmarks.identify_at_scale --voices 1000000 --folder FOLDER --json OUT.json
    python -m benchmarks.identify_at_scale --server postgresql://user@/database?host=FOLDER

Two services run at the same time with the default models: one with 10 voices, one with N. Requests alternate between
them, so that other work on the machine delays both alike; `added_ms` is the median of the differences of neighbours.

Voices are synthetic, and have the geometry of voices of the default embedder: a speaker is the mean of its cohort plus
normal noise with a decaying spectrum; one day of a speaker adds noise with a flatter one. Enrolment and query are two
days, with a cosine of about 0.75 after the mean is taken off. They are written into the tables of the library at once
(minutes instead of hours), and a speaker of the example conversation is enrolled by requests. `recall` is the share of
queries whose nearest voice, by a comparison with all, is proposed; `own` the share whose own voice is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import soundfile
from numpy.typing import NDArray

from benchmarks.service_load import EXAMPLE, ROOT, clip
from diarize.library import store
from diarize.library.database import fingerprint
from diarize.library.database.address import ServerAddress, parse
from diarize.library.scoring import calibration
from diarize.library.scoring.scores import Centred
from diarize.library.store import Library
from diarize.models.store import Store
from pipelines.inputs import settings
from pipelines.people.utterance import load_embedder

PIECE = 10_000  # voices written at a time
FEW = 10
SPEAKERS, DAYS = 40.0, 80.0  # eigenvalues of speakers and of days fall as exp(-i / these)
ALIKE = 0.75  # cosine of two days of a speaker, around the mean
Voices = NDArray[np.float32]


class Population:
    """Synthetic speakers around the mean of a cohort (d,)."""

    def __init__(self, mean: NDArray[np.float64]) -> None:
        self._mean = mean
        d = len(mean)
        axes = np.linalg.qr(np.random.default_rng(0).standard_normal((d, d)))[0]
        spectra = [np.exp(-np.arange(d) / width) for width in (SPEAKERS, DAYS)]
        spread = float(1 - mean @ mean)  # unit vectors: what the mean leaves is speakers and days
        shares = ALIKE * spread, (1 - ALIKE) * spread
        parts = [np.sqrt(share * s / s.sum())[:, None] * axes for share, s in zip(shares, spectra, strict=True)]
        self._speaker, self._day = (part.astype(np.float32) for part in parts)

    def voices(self, piece: int, day: int, count: int = PIECE) -> Voices:
        """(count, d): the first speakers of a piece on one day."""
        shape = (PIECE, len(self._mean))
        own = np.random.default_rng((1, piece)).standard_normal(shape, dtype=np.float32)[:count]
        today = np.random.default_rng((2, piece, day)).standard_normal(shape, dtype=np.float32)[:count]
        vectors = own @ self._speaker + today @ self._day + self._mean.astype(np.float32)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def rows_of(population: Population, model: int, first: int, voices: int) -> Iterator[dict[str, list[tuple[Any, ...]]]]:
    """Rows of each table, piece by piece; changes are numbered from `first`."""
    since = datetime.now(UTC).isoformat(timespec="microseconds")
    record = json.dumps({"consent": None, "expires": None}).encode("ascii")
    for start in range(0, voices, PIECE):
        count = min(PIECE, voices - start)
        vectors = population.voices(start // PIECE, 0, count)
        tables: dict[str, list[tuple[Any, ...]]] = {"people": [], "utterances": [], "vectors": [], "voices": []}
        for i, vector in enumerate(vectors):
            number = start + i
            id, name = f"{number * 2654435761 % 2**32:08x}{number:024x}", f"speaker {number}"
            lookup = hashlib.sha256(name.encode()).digest()
            mark = number.to_bytes(32, "big")
            facts = {"source": mark.hex(), "start": 0.0, "end": 12.0, "quality": {}, "origin": "synthetic"}
            tables["people"].append((id, name.encode(), lookup, since, record, None))
            tables["utterances"].append((f"u{id}", id, mark, 12.0, since, json.dumps(facts).encode("ascii"), None))
            tables["vectors"].append((f"u{id}", model, vector.tobytes()))
            tables["voices"].append((id, model, 12.0, vector.tobytes(), first + number))
        yield tables


COLUMNS = {
    "people": "id, name, lookup, created, record, expires",
    "utterances": "id, person, mark, seconds, added, facts, audio",
    "vectors": "utterance, model, vector",
    "voices": "person, model, seconds, vector, changed",
}


def fill(place: Path | ServerAddress, model: str, population: Population, voices: int) -> None:
    """A library with so many voices, where there is none yet."""
    with store.open(place, create=True) as library:
        rows, engine = library._rows, library._engine
        if rows.has_many(model, voices):
            return
        with library.batch():
            id = rows._add_model(model, len(population.voices(0, 0, 1)[0]))
            total = np.frombuffer(fingerprint.EMPTY, "<u2").copy()
            connection: Any = engine._connection  # type: ignore[attr-defined]
            for tables in rows_of(population, id, rows.changes() + 1, voices):
                for table, values in tables.items():
                    if isinstance(place, ServerAddress):
                        with connection.cursor() as cursor, cursor.copy(
                            f"COPY {table} ({COLUMNS[table]}) FROM STDIN"
                        ) as copy:  # fmt: skip
                            for row in values:
                                copy.write_row(row)
                    else:
                        marks = ", ".join("?" * len(values[0]))
                        connection.executemany(f"INSERT INTO {table} ({COLUMNS[table]}) VALUES ({marks})", values)
                for person, voice in zip(tables["people"], tables["voices"], strict=True):
                    vector = np.frombuffer(voice[3], np.float32)
                    total += np.frombuffer(fingerprint.of_voice(person[0], person[1].decode(), 12.0, vector), "<u2")
            rows._set_total(model, total.tobytes())
            rows.set_meta("changes", b"%d" % (rows.changes() + voices))


def recall(
    library: Library, scorer: Centred, model: str, population: Population, voices: int, queries: int = 200
) -> dict[str, Any]:
    """Of another day of some of the voices, and the time and memory that the search takes."""
    before, started, cpu = psutil.Process().memory_info().rss, time.perf_counter(), time.process_time()
    search = library.live_search(model)
    assert search is not None, "faiss is not installed, or there are too few voices"
    built, build_cpu = time.perf_counter() - started, time.process_time() - cpu
    memory = psutil.Process().memory_info().rss - before
    chosen = np.random.default_rng(3).integers(0, voices, queries)
    days = np.stack([population.voices(int(n) // PIECE, 1)[n % PIECE] for n in chosen])
    vectors = scorer.queries(scorer.transform(days)).astype(np.float32)
    best, nearest = np.full(queries, -np.inf), np.zeros(queries, np.int64)
    for start in range(0, voices, PIECE):
        scores = scorer.score_many(
            scorer.transform(days), population.voices(start // PIECE, 0, min(PIECE, voices - start))
        )
        top = scores.argmax(axis=1)
        better = scores[np.arange(queries), top] > best
        best[better], nearest[better] = scores[better, top[better]], start + top[better]
    spent, hits, own = [], 0, 0
    for query, first, n in zip(vectors, nearest, chosen, strict=True):
        started, before_cpu = time.perf_counter(), time.process_time()
        near = library.candidates(search, query[None])[0]
        spent.append((time.perf_counter() - started, time.process_time() - before_cpu))
        names = set(near.names)
        hits, own = hits + (f"speaker {first}" in names), own + (f"speaker {n}" in names)
    return {
        "build_s": [round(built, 1), round(build_cpu, 1)],  # and processor time
        "build_mib": memory >> 20,
        "candidates_ms": [round(float(each), 2) for each in 1000 * np.median(spent, axis=0)],  # and processor time
        "recall": hits / queries,
        "own": own / queries,
    }


class Service:
    """`diarize serve` with the default models, in a process of its own."""

    def __init__(self, stack: ExitStack, library: str, scratch: Path) -> None:
        scratch.mkdir()
        command = [sys.executable, "-m", "diarize", "serve", "--data", str(scratch), "--port", "0", "--offline"]
        command += ["--library", library, "--enrolment-seconds", "4", "--rate", "1000", "--burst", "1000"]
        started = time.perf_counter()
        log = stack.enter_context((scratch / "log").open("w"))
        self.process = stack.enter_context(
            subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        )
        stack.callback(self.process.terminate)
        assert self.process.stdout is not None
        match = re.search(r"http://\S+", self.process.stdout.readline())
        assert match, "the service did not start"
        self.client = stack.enter_context(httpx.Client(base_url=match[0], timeout=600, trust_env=False))
        self.listening = round(time.perf_counter() - started, 1)
        while self.client.get("/readyz").status_code != 200:
            time.sleep(0.1)
        self.ready = round(time.perf_counter() - started, 1)

    def identify(self, sound: bytes) -> tuple[float, dict[str, Any]]:
        """(ms, the answer)."""
        started = time.perf_counter()
        answer = self.client.post("/v1/identify", content=sound)
        answer.raise_for_status()
        return 1000 * (time.perf_counter() - started), answer.json()

    def processor_time(self) -> float:
        """s of the process and its children so far."""
        own = psutil.Process(self.process.pid)
        times = [each.cpu_times() for each in (own, *own.children(recursive=True))]
        return float(sum(each.user + each.system for each in times))

    def memory(self) -> int:
        """MiB."""
        return int(psutil.Process(self.process.pid).memory_info().rss >> 20)


def enrol(service: Service, sounds: list[bytes], name: str) -> str:
    """The id of a speaker, enrolled by requests."""
    id = str(service.client.post("/v1/speakers", json={"name": name}).json()["id"])
    for sound in sounds:
        path = f"/v1/speakers/{id}/utterances"
        service.client.post(path, params={"accept": ["noise", "voices"]}, content=sound).raise_for_status()
    return id


def measure(libraries: tuple[str, str], scratch: Path, passes: int) -> dict[str, Any]:
    """Both services, request by request."""
    samples, rate = soundfile.read(EXAMPLE)
    sounds = [clip(samples, rate, a, a + 3.5, scratch, f"{a}.wav") for a in (0.7, 4.6)]
    query = clip(samples, rate, 2.0, 5.0, scratch, "query.wav")
    with ExitStack() as stack:
        few, many = (Service(stack, library, scratch / f"s{i}") for i, library in enumerate(libraries))
        at_start = many.memory()
        ids = [enrol(service, sounds, "Laura") for service in (few, many)]
        for _ in range(3):
            for service, id in zip((few, many), ids, strict=True):
                answer = service.identify(query)[1]
                assert answer["matches"][0]["speaker_id"] == id, answer  # also right after enrolment
        used = [service.processor_time() for service in (few, many)]
        times = np.array([[service.identify(query)[0] for service in (few, many)] for _ in range(passes)])
        used = [service.processor_time() - before for service, before in zip((few, many), used, strict=True)]
        result = {
            "load_average": os.getloadavg()[0],
            "processor_ms": [round(1000 * each / passes, 1) for each in used],
            "few_ms": round(float(np.median(times[:, 0])), 1),
            "many_ms": round(float(np.median(times[:, 1])), 1),
            "added_ms": round(float(np.median(times[:, 1] - times[:, 0])), 1),
            "added_ms_of_the_fastest_decile": round(float(np.diff(np.percentile(times, 10, axis=0))[0]), 1),
            "listening_s": many.listening,
            "ready_s": many.ready,
            "memory_mib": {"few": few.memory(), "many_at_start": at_start, "many": many.memory()},
        }
        for service, id in zip((few, many), ids, strict=True):
            started = time.perf_counter()
            service.client.delete(f"/v1/speakers/{id}").raise_for_status()
            result["delete_ms" if service is few else "delete_of_many_ms"] = round(
                1000 * (time.perf_counter() - started)
            )
            assert service.identify(query)[1]["matches"][0]["speaker_id"] != id
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voices", type=int, default=1_000_000)
    parser.add_argument("--passes", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="where the libraries are made, and used again; default: nowhere")
    parser.add_argument("--server", help="a PostgreSQL database to make the libraries in, in schemas of their own")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    config = settings.resolve_options({"offline": True}, None, {}).config
    model = load_embedder(config, Store(offline=True)).model
    cohort = calibration.shipped(model)
    assert cohort is not None and cohort.mean, f"there is no calibration with a cohort for {model}"
    population, scorer = Population(np.array(cohort.mean)), cohort.scorer()
    assert isinstance(scorer, Centred)
    with tempfile.TemporaryDirectory() as name:
        folder = args.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        counts = FEW, args.voices
        places: list[str] = [str(folder / f"{count}.db") for count in counts]
        if args.server:
            joint = "&" if "?" in args.server else "?"
            places = [f"{args.server}{joint}schema=scale_{count}" for count in counts]
        started = time.perf_counter()
        for place, count in zip(places, counts, strict=True):
            fill(parse(place), model, population, count)
        filled = round(time.perf_counter() - started, 1)
        result = {
            "voices": args.voices,
            "processors": os.cpu_count(),
            "load_average": os.getloadavg()[0],
            "fill_s": filled,
        }
        with store.open(places[1]) as library:
            result["search"] = recall(library, scorer, model, population, args.voices)
        result["service"] = measure((places[0], places[1]), Path(name), args.passes)
    print(text := json.dumps(result, indent=1))
    if args.json is not None:
        args.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Milliseconds to verify two recordings of three seconds, end to end, with the models loaded.

    python -m benchmarks.verify_speed [--embedder ge2e] [--data DATA] [--cores 2] [--pairs 30]

Each pair of `an4-dev` utterances of 2.9 to 3.1 s is decoded, its speech detected, both voices embedded and compared.
The time of the process (CPU of all its threads) is measured too: it does not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from itertools import pairwise
from pathlib import Path

from diarize.config import parse
from diarize.models.store import Store
from pipelines.processes.lifetime import LINEAR_ALGEBRA

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--embedder", default="auto")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=30)
    options = parser.parse_args()
    os.environ.update(dict.fromkeys(LINEAR_ALGEBRA, "1"))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    import soundfile

    from pipelines.people.scoring import Scoring
    from pipelines.people.utterance import load_embedder
    from pipelines.people.verify import load_verifier

    files = [p for p in sorted((options.data / "an4-dev").glob("*.flac")) if 2.9 <= soundfile.info(p).duration <= 3.1]
    config = parse({"asr": {"backend": "none"}, "embedder": {"backend": options.embedder}}, "benchmark")
    embedder = load_embedder(config, Store())
    verifier = load_verifier(embedder, Scoring())
    verifier.verify(embedder.embed_file(files[0]), embedder.embed_file(files[1]))  # the first is slower
    taken, computed = [], []
    for a, b in list(pairwise(files))[: options.pairs]:
        began, process = time.perf_counter(), time.process_time()
        verifier.verify(embedder.embed_file(a), embedder.embed_file(b))
        taken.append(1000 * (time.perf_counter() - began))
        computed.append(1000 * (time.process_time() - process))
    print(f"{len(taken)} pairs: median {statistics.median(taken):.0f} ms, {min(taken):.0f} to {max(taken):.0f} ms")
    print(f"CPU time: median {statistics.median(computed):.0f} ms, {min(computed):.0f} to {max(computed):.0f} ms")


if __name__ == "__main__":
    main()

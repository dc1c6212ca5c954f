"""Milliseconds to verify two recordings of three seconds, end to end, with the models loaded.

    python -m benchmarks.verify_speed [--embedder ge2e] [--data DATA] [--cores 2] [--pairs 30]

Each pair of `an4-dev` utterances of 2.9 to 3.1 s is decoded, its speech detected, both voices embedded and compared.
Processor time is measured too, of this process and of the one that decodes: it depends less than the time does on what
else the machine does. It is also given by stage, for one recording, and for the whole command `diarize verify A B`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from diarize.config import parse
from diarize.models.store import Store
from pipelines.processes.lifetime import LINEAR_ALGEBRA

if TYPE_CHECKING:
    from diarize.types import Audio
    from pipelines.people.utterance import EmbeddedSpeech, UtteranceEmbedder
    from pipelines.people.verify import Verifier

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"


def processor_ms(work: Callable[[], Any], child: psutil.Process) -> float:
    """Milliseconds that a call takes of this process and of `child`, whose clock counts in steps of 10 ms."""
    before, own = sum(child.cpu_times()[:2]), time.process_time()
    work()
    spent: float = time.process_time() - own + sum(child.cpu_times()[:2]) - before
    return 1000 * spent


def stages(files: Sequence[Path], embedder: UtteranceEmbedder, verifier: Verifier) -> dict[str, float]:
    """Processor time of each stage, the mean of all `files`, in ms."""
    import onnxruntime

    from diarize.guard import fingerprints
    from pipelines.people.utterance import add_margins, note_second_voice
    from pipelines.processes import decoding

    child = next(iter(psutil.Process().children()))
    networks, run = [0.0], onnxruntime.InferenceSession.run

    def timed_run(*arguments: Any, **named: Any) -> Any:
        began = time.process_time()
        try:
            return run(*arguments, **named)
        finally:
            networks[0] += 1000 * (time.process_time() - began)

    def compare(embedded: EmbeddedSpeech) -> None:
        verifier.verify(embedded.voice, embedded.voice)
        note_second_voice(embedded, embedder.model)

    def read() -> None:
        audios.extend(decoding.read(path, id=path.name).audios[0] for path in files)

    audios: list[Audio] = []
    sums = {"decode": processor_ms(read, child)}
    sums |= dict.fromkeys(("detect speech", "embed", "of that, the network", "compare", "fingerprint"), 0.0)
    fingerprints.fingerprint(audios[0])  # imports SciPy
    onnxruntime.InferenceSession.run = timed_run
    try:
        for audio in audios:
            speech = embedder.detector(audio)
            wide = add_margins(speech, audio.duration)
            sums["detect speech"] += processor_ms(partial(embedder.detector, audio), child)
            networks[0] = 0.0
            sums["embed"] += processor_ms(partial(embedder.embed_speech, audio, speech, wide), child)
            sums["of that, the network"] += networks[0]
            sums["compare"] += processor_ms(partial(compare, embedder.embed_speech(audio, speech, wide)), child)
            sums["fingerprint"] += processor_ms(partial(fingerprints.fingerprint, audio), child)
    finally:
        onnxruntime.InferenceSession.run = run
    return {name: value / len(files) for name, value in sums.items()}


def command_seconds(a: Path, b: Path, times: int = 5) -> tuple[float, float]:
    """(s, s of processor time with its children) of `diarize verify A B`, the medians."""
    whole, spent = [], []
    for _ in range(times):
        before, began = os.times(), time.perf_counter()
        subprocess.run([sys.executable, "-m", "diarize", "verify", a, b], cwd=ROOT, check=True, capture_output=True)
        after = os.times()
        whole.append(time.perf_counter() - began)
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return statistics.median(whole), statistics.median(spent)


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
    child = next(iter(psutil.Process().children()))
    elapsed: list[float] = []

    def compare(a: Path, b: Path) -> None:
        began = time.perf_counter()
        verifier.verify(embedder.embed_file(a), embedder.embed_file(b))
        elapsed.append(1000 * (time.perf_counter() - began))

    pairs = list(pairwise(files))[: options.pairs]
    computed = [processor_ms(partial(compare, a, b), child) for a, b in pairs]
    print(f"load average: {os.getloadavg()[0]:.1f}")
    print(
        f"{len(elapsed)} pairs: median {statistics.median(elapsed):.0f} ms, {min(elapsed):.0f} to {max(elapsed):.0f} ms"
    )
    print(f"processor time: mean {statistics.mean(computed):.0f} ms")
    for name, value in stages(files[: 2 * options.pairs], embedder, verifier).items():
        print(f"  {name}: {value:.1f} ms a recording")
    whole, spent = command_seconds(files[0], files[1])
    print(f"diarize verify A B: {whole:.2f} s, {spent:.2f} s of processor time")


if __name__ == "__main__":
    main()

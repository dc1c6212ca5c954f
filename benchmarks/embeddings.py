"""How well an embedder separates voices, and the effect of the level on GE2E.

    python -m benchmarks.embeddings [--levels=-30,-25,-20,-17] [--data DATA] [--json FILE]

Two kinds of trials, both as equal error rate in per cent (cosine of two vectors):

- windows of one recording (1.6 s every 0.4 s over the reference's turns; those in which one speaker talks alone), all
  pairs, the mean over the recordings of a set: relevant for clustering;
- pairs of whole utterances, from the lists of `an4-dev` and `speechocean-dev`: relevant for identification.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diarize.audio import reading
from diarize.backends import embedder_ge2e
from diarize.config import WindowsConfig
from diarize.models.store import Store
from diarize.speech import windows
from diarize.timeline import union
from diarize.types import Audio, Segment, Turn

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
RECORDINGS = ("sim-dev", "ami-excerpts", "phone-sample")
TRIALS = ("an4-dev", "speechocean-dev")


def equal_error(scores: NDArray[np.floating], same: NDArray[np.bool_]) -> float:
    """The rate, in per cent, at which as many equal pairs are refused as different ones accepted."""
    found = same[np.argsort(-scores, kind="stable")]
    refused, accepted = 1 - np.cumsum(found) / found.sum(), np.cumsum(~found) / (~found).sum()
    best = int(np.abs(refused - accepted).argmin())
    return float(refused[best] + accepted[best]) * 50


def conversations(folder: Path) -> Iterator[tuple[Audio, list[Segment], NDArray[np.int64]]]:
    """Each recording with windows in which one speaker talks alone, and who that is."""
    for path in sorted(folder.glob("*.flac")):
        rows = [line.split() for line in path.with_suffix(".rttm").read_text(encoding="utf-8").splitlines()]
        turns = [Turn(float(r[3]), float(r[3]) + float(r[4]), r[7]) for r in rows if r and r[0] == "SPEAKER"]
        speakers = sorted({turn.speaker for turn in turns})
        kept, who = [], []
        for window in windows.over(union(turns, gap=0.2), WindowsConfig(length=1.6, hop=0.4)):
            shares = np.zeros(len(speakers))
            for turn in turns:
                shares[speakers.index(turn.speaker)] += turn.overlap(window)
            first = int(shares.argmax())
            alone = shares[first] > 0.8 * window.duration and shares.sum() - shares[first] < 0.1 * window.duration
            if alone and window.duration > 1.59:
                kept.append(window)
                who.append(first)
        if len(set(who)) > 1 and len(who) > len(set(who)):
            yield reading.read(path, id=path.stem).audios[0], kept, np.array(who)


def of_windows(embed: embedder_ge2e.GE2E, folder: Path) -> float:
    rates = []
    for recording, spans, who in conversations(folder):
        vectors = embed(recording, spans).vectors
        one, other = np.triu_indices(len(who), 1)
        rates.append(equal_error((vectors @ vectors.T)[one, other], who[one] == who[other]))
    return float(np.mean(rates))


def of_utterances(embed: embedder_ge2e.GE2E, folder: Path) -> float:
    trials = [line.split() for line in (folder / "trials.txt").read_text(encoding="utf-8").splitlines()]
    vectors = {}
    for name in sorted({name for trial in trials for name in trial[1:]}):
        recording = reading.read(folder / f"{name}.flac", id=name).audios[0]
        vectors[name] = embed(recording, [Segment(0.0, recording.duration)]).vectors[0]
    scores = np.array([vectors[one] @ vectors[other] for _, one, other in trials])
    return equal_error(scores, np.array([trial[0] == "1" for trial in trials]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--levels", default=str(embedder_ge2e.LEVEL), help="dBFS, comma between")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = Store().pull("ge2e")
    rows = []
    print(f"{'level':>6}" + "".join(f"{name:>17}" for name in RECORDINGS + TRIALS))
    for level in (int(part) for part in options.levels.split(",")):
        embedder_ge2e.LEVEL = level
        embed = embedder_ge2e.load(model)
        row = {name: of_windows(embed, options.data / name) for name in RECORDINGS}
        row |= {name: of_utterances(embed, options.data / name) for name in TRIALS}
        print(f"{level:>6}" + "".join(f"{rate:>17.2f}" for rate in row.values()), flush=True)
        rows.append({"level": level, **row})
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()

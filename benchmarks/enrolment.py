"""Measurements behind the thresholds of enrolment, with an embedder; and the time of enrolment.

    python -m benchmarks.enrolment [--embedder ge2e] [--data DATA] [--json FILE] [--cache FOLDER] [--clips N]

Utterances of an4-dev, speechocean-dev and libri-dev, each set separately, processed by the product's own stages. The
calibration is the supplied one, which was fitted to these sets. `--cache` is that of benchmarks.verification.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import simulate
from benchmarks.verification import CHANNELS, Voices, speakers, voices
from diarize.audio import reading
from diarize.config import AudioConfig, Config
from diarize.errors import AudioError
from diarize.library import store as libraries
from diarize.library.scoring import enrolment
from diarize.metrics import verification
from diarize.metrics.verification import Floats
from diarize.models.store import Store
from diarize.types import Audio
from diarize.units import RATE, to_samples
from pipelines.people import enroll, enrolment_audio, enrolment_checks
from pipelines.people.enroll import EnrolmentRequest
from pipelines.people.scoring import Scoring
from pipelines.people.utterance import UtteranceEmbedder, load_embedder
from pipelines.people.verify import Verifier, load_verifier

SETS = ("an4-dev", "speechocean-dev", "libri-dev")
GROWTH = (1, 2, 4, 6, 8, 10, 12, 15, 20)  # s of speech behind a voice
LENGTHS = (1.5, 3.0, 5.0, 10.0, 20.0, 100.0)  # s of speech in an utterance
ROUNDS = 5  # of drawing utterances
SPOILT = ("as it is", "pink 20 dB", "pink 15 dB", "pink 10 dB", "pink 5 dB", "white 20 dB", "white 10 dB",
          "cut 0.1 %", "cut 1 %", "cut 2 %", "cut 5 %")  # fmt: skip
LEVEL = 0.05  # RMS of the parts that are put together


def ratios(verifier: Verifier, voice: tuple[Any, float], heard: Voices, rows: Any) -> Floats:
    """LLRs of a voice (vector, seconds) with utterances, without bounds."""
    assert verifier.calibration is not None
    vector, seconds = voice
    scores = verifier.scorer(np.repeat(vector[None], len(rows), 0), heard.vectors[rows])
    return verifier.calibration.unbounded(scores, seconds, np.array([heard.sides[i].seconds for i in rows]))


def pooled(heard: Voices, rows: Any) -> tuple[Any, float]:
    seconds = np.array([heard.sides[i].seconds for i in rows])
    mean = seconds @ heard.vectors[rows].astype(np.float64)
    return mean / np.linalg.norm(mean), float(seconds.sum())


def growth(heard: Voices, verifier: Verifier) -> Iterator[dict[str, Any]]:
    """Errors of a voice made of so many seconds, against single utterances of the person and of others."""
    who, seconds = np.array(heard.speakers), np.array([side.seconds for side in heard.sides])
    for wanted in GROWTH:
        rng, same, different = np.random.default_rng(0), [], []
        for person in sorted(set(who)) * ROUNDS:
            own = rng.permutation(np.flatnonzero((who == person) & (seconds >= 1)))
            count = int(np.searchsorted(np.cumsum(seconds[own]), wanted)) + 1
            if count >= len(own):
                continue
            voice = pooled(heard, own[:count])
            same.append(ratios(verifier, voice, heard, own[count:]))
            different.append(ratios(verifier, voice, heard, np.flatnonzero((who != person) & (seconds >= 1))))
        if len(same) >= 100:
            rate = verification.equal_error(np.concatenate(same), np.concatenate(different))[0]
            yield {"seconds": wanted, "voices": len(same), "eer": round(rate, 4)}


def agreement(enrolled: Voices, heard: Voices, verifier: Verifier) -> dict[str, float]:
    """Shares of utterances that are refused and accepted beside a voice made of three others."""
    rng, own, other = np.random.default_rng(0), [], []
    who, long = (
        np.array(enrolled.speakers),
        np.array([s.seconds >= enrolment_checks.LEAST_SPEECH for s in enrolled.sides]),
    )
    tests, enough = (
        np.array(heard.speakers),
        np.array([s.seconds >= enrolment_checks.LEAST_SPEECH for s in heard.sides]),
    )
    for person in sorted(set(who)):
        used = rng.permutation(np.flatnonzero((who == person) & long))[:3]
        if len(used) < 3:
            continue
        voice, names = pooled(enrolled, used), {enrolled.names[i] for i in used}
        rows = [i for i in np.flatnonzero((tests == person) & enough) if heard.names[i] not in names]
        if rows:
            own.append(ratios(verifier, voice, heard, rows))
        other.append(ratios(verifier, voice, heard, np.flatnonzero((tests != person) & enough)))
    mine, theirs = np.concatenate(own), np.concatenate(other)
    return {
        "own": len(mine),
        "own_refused": round(float((mine < enrolment_checks.LEAST_AGREEMENT).mean()), 4),
        "other": len(theirs),
        "other_accepted": round(float((theirs >= enrolment_checks.LEAST_AGREEMENT).mean()), 4),
    }


def clips(folder: Path, count: int) -> Iterator[tuple[str, Audio]]:
    """Every utterance of one voice, several put together, and two voices in three ways; a third of these through
    channels."""
    who, rng, by = speakers(folder), np.random.default_rng(5), defaultdict(list)
    for path in sorted(folder.glob("*.flac")):
        by[who(path.stem)].append(path)
    names = sorted(by)

    def some(name: str, most: int) -> list[Path]:
        return [by[name][i] for i in rng.permutation(len(by[name]))[:most]]

    for name in names:
        for path in by[name]:
            yield "one", reading.read(path, id="one").audios[0]
    for i in range(count):
        channel = ("close", "close", "close", "close", "phone", "room")[i % 6]
        a, b = (names[k] for k in rng.choice(len(names), 2, replace=False))
        first, second = some(a, 3), some(b, 2)
        for kind, paths in (
            ("one, put together", some(a, int(rng.integers(2, 6)))),
            ("two halves", [first[0], second[0]]),
            ("a short second voice", [*first, second[0]]),
            ("by turns", [first[0], second[0], first[-1], second[-1]]),
        ):
            if len(by[a]) == 1 and kind != "two halves":
                continue
            pieces = [reading.read(path, id="part").audios[0].samples.astype(np.float64) for path in paths]
            level = [LEVEL / max(1e-6, float(np.sqrt(np.mean(piece**2)))) for piece in pieces]
            samples = np.concatenate([piece * gain for piece, gain in zip(pieces, level, strict=True)])
            yield kind, Audio("clip", CHANNELS[channel](samples, rng).astype(np.float32))


def one_voice(
    folder: Path, count: int, embedder: UtteranceEmbedder, verifier: Verifier
) -> list[tuple[str, float, bool, bool]]:
    """(kind, seconds of speech, refused, refused where no centred scores are known) of each clip."""
    found = []
    for kind, clip in clips(folder, count):
        try:
            embedded = embedder.embed_windows(clip)
        except AudioError:
            continue
        seconds, rows = embedded.voice.seconds, embedded.windows.vectors
        ways = [enrolment.halves(rows, known) for known in (verifier.calibration, None)]
        if seconds >= enrolment_checks.LEAST_SPEECH:
            refused = [way is not None and not way.one_voice for way in ways]
            found.append((kind, seconds, refused[0], refused[1]))
    return found


def spoilt(way: str, samples: Floats, speech: Floats, rng: np.random.Generator) -> Floats:
    """A recording with noise at so many dB under its `speech`, or turned up until so many samples are cut off."""
    kind, _, amount = way.partition(" ")
    number = float(amount.split()[0]) if kind in ("pink", "white", "cut") else 0.0
    if kind == "cut":
        limit = float(np.quantile(np.abs(speech), 1 - number / 100))
        return np.asarray(np.clip(samples / limit, -1, 1), np.float64)
    if kind == "as":
        return samples
    noise = rng.standard_normal(len(samples)) if kind == "white" else simulate._pink(len(samples), rng)
    level = np.sqrt(np.mean(speech**2) / np.mean(noise**2)) * 10 ** (-number / 20)
    mixed = samples + level * noise
    return np.asarray(mixed / max(1.0, float(np.abs(mixed).max())), np.float64)


def quality(folder: Path, heard: Voices, embedder: UtteranceEmbedder, verifier: Verifier) -> Iterator[dict[str, Any]]:
    """Errors of a voice of three spoilt utterances of every second speaker, against utterances as they are."""
    who = np.array(heard.speakers)
    for way in SPOILT:
        rng, same, different, measured = np.random.default_rng(0), [], [], []
        for person in sorted(set(who))[::2]:
            own = [i for i in np.flatnonzero(who == person) if heard.sides[i].seconds >= 1]
            vectors, seconds = [], []
            for i in own[:3]:
                clean = reading.read(folder / f"{heard.names[i]}.flac", id="clean").audios[0]
                spoken = [clean.samples[to_samples(s.start) : to_samples(s.end)] for s in embedder.detector(clean)]
                samples = spoilt(way, clean.samples.astype(np.float64), np.concatenate(spoken).astype(np.float64), rng)
                sound = Audio("spoilt", samples.astype(np.float32))
                try:
                    embedded = embedder.embed_windows(sound)
                except AudioError:
                    continue
                found, speech = embedded.voice, embedded.speech
                vectors.append(found.vector)
                seconds.append(found.seconds)
                measured.append((enrolment.snr(sound, speech), enrolment.clipped(sound, speech)))
            if not vectors or len(own) < 4:
                continue
            mean = np.array(seconds) @ np.stack(vectors).astype(np.float64)
            voice = mean / np.linalg.norm(mean), float(sum(seconds))
            same.append(ratios(verifier, voice, heard, own[3:]))
            different.append(ratios(verifier, voice, heard, np.flatnonzero(who != person)))
        mine, theirs = np.concatenate(same), np.concatenate(different)
        yield {
            "way": way,
            "eer": round(verification.equal_error(mine, theirs)[0], 4),
            "missed": round(float((mine < 0).mean()), 4),
            "snr": round(float(np.median([m[0] for m in measured])), 1),
            "clipped": round(float(np.median([m[1] for m in measured])), 4),
        }


def timing(file: Path, embedder: UtteranceEmbedder, verifier: Verifier, passes: int = 15) -> float:
    """Median s to enrol 10 s of a recording in a library on the disk, checks and all, with models loaded."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for i in range(passes):
            with libraries.open(Path(folder) / f"{i}.db", create=True) as library:
                before = time.perf_counter()
                heard = enrolment_audio.read_files([file], AudioConfig(), 0.0, 10.0)
                done = enroll.add_utterances(library, EnrolmentRequest("Somebody"), None, heard, embedder, verifier)
                found.append(time.perf_counter() - before)
                assert done.status == 0, done.rows
    return statistics.median(found)


def measure(data: Path, embedder: UtteranceEmbedder, cache: Path | None, count: int) -> dict[str, Any]:
    verifier = load_verifier(embedder, Scoring())
    heard = {(name, channel): voices(data, name, channel, embedder, cache) for name in SETS for channel in CHANNELS}
    long = next(p for p in sorted((data / "libri-cohort").glob("*.flac")) if _seconds(p) >= 11)
    found: dict[str, Any] = {"model": embedder.model, "enrol_10_s": round(timing(long, embedder, verifier), 3)}
    found["growth"] = {name: list(growth(heard[name, "close"], verifier)) for name in SETS}
    found["agreement"] = {
        f"{name} {a}-{b}": agreement(heard[name, a], heard[name, b], verifier)
        for name in SETS
        for a, b in (("close", "close"), ("close", "phone"), ("close", "room"), ("phone", "phone"), ("room", "room"))
    }
    found["quality"] = list(quality(data / SETS[1], heard[SETS[1], "close"], embedder, verifier))
    rows = {name: one_voice(data / name, count, embedder, verifier) for name in (*SETS, "libri-cohort")}
    every = [row for own in rows.values() for row in own]
    found["voices"] = {
        name: {kind: _shares([row for row in part if row[0] == kind]) for kind in dict.fromkeys(r[0] for r in part)}
        for name, part in {**rows, "all": every}.items()
    }
    found["voices_by_seconds"] = [
        {
            "from": low,
            "to": high,
            "one": _shares([r for r in every if low <= r[1] < high and r[0].startswith("one")]),
            "two": _shares([r for r in every if low <= r[1] < high and not r[0].startswith("one")]),
        }
        for low, high in pairwise(LENGTHS)
    ]
    return found


def _shares(rows: list[tuple[str, float, bool, bool]]) -> dict[str, float]:
    if not rows:
        return {"clips": 0}
    return {
        "clips": len(rows),
        "refused": round(float(np.mean([row[2] for row in rows])), 4),
        "refused_by_ratio": round(float(np.mean([row[3] for row in rows])), 4),
    }


def _seconds(path: Path) -> float:
    return len(reading.read(path, id=path.stem).audios[0].samples) / RATE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=simulate.DATA)
    parser.add_argument("--embedder", default="ge2e", help="ge2e or community-1-embedding")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--cache", type=Path, help="keep the voices in this folder between runs")
    parser.add_argument("--clips", type=int, default=120, help="of each kind and set, put together")
    options = parser.parse_args()
    if options.cache is not None:
        options.cache.mkdir(parents=True, exist_ok=True)
    config = Config.model_validate({"embedder": {"backend": options.embedder}, "run": {"device": "cpu"}})
    text = json.dumps(measure(options.data, load_embedder(config, Store()), options.cache, options.clips), indent=1)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

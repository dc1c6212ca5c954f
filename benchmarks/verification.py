"""Verification with the default embedder, and the fit of the supplied calibration.

    python -m benchmarks.verification [--data DATA] [--json FILE] [--save FILE] [--cache FOLDER]

Every utterance is processed by the product's own stages (decoding, silero, GE2E). Trials are those of an4-dev and
speechocean-dev; libri-cohort (120 other readers) gives the mean voice, and, through a simulated telephone and
simulated rooms, the directions of channels. `--save` writes the calibration fitted to all data. `--cache` stores the
voices between runs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.signal import oaconvolve, resample_poly

from benchmarks import simulate
from diarize.audio import reading
from diarize.config import Config
from diarize.errors import AudioError
from diarize.library.scoring import calibration, scores
from diarize.library.scoring.calibration import Calibration, Side, Trials
from diarize.library.scoring.scores import Scorer
from diarize.metrics import verification
from diarize.metrics.verification import Floats
from diarize.models.store import Store
from diarize.types import Audio
from pipelines.people import trials as lists
from pipelines.people.utterance import UtteranceEmbedder, load_embedder

SETS = ("an4-dev", "speechocean-dev", "libri-dev", "libri-cohort")
TESTS = SETS[:2]
LEAST = 1.0  # s of speech that an utterance needs to take part in the fit
EDGES = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 12.0)  # s, of the table by duration
LEVEL = 10 ** (-25 / 20)  # RMS of what goes into the simulated telephone

Channel = Callable[[Floats, np.random.Generator], Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Voices:
    """The utterances of one set as heard through one channel."""

    names: tuple[str, ...]
    speakers: tuple[str, ...]
    vectors: Any  # (n, d) float32
    sides: tuple[Side, ...]
    model: str

    def at(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names)}


def close(samples: Floats, rng: np.random.Generator) -> Floats:
    return samples


def phone(samples: Floats, rng: np.random.Generator) -> Floats:
    """8 kHz, 8-bit mu-law."""
    level = max(float(np.sqrt(np.mean(samples**2))), 1e-6)
    return np.asarray(resample_poly(simulate._mu_law(resample_poly(samples * LEVEL / level, 1, 2)), 2, 1))


def room(samples: Floats, rng: np.random.Generator) -> Floats:
    """A room response of 0.3 to 0.6 s, and pink noise at 17 to 23 dB."""
    wet = oaconvolve(samples, simulate._room(rng))[: len(samples)]
    level = float(np.sqrt(np.mean(wet**2)))
    wet = wet + simulate._pink(len(wet), rng) * level * 10 ** (-rng.uniform(17, 23) / 20)
    return np.asarray(wet / max(1.0, float(np.abs(wet).max()) / 0.98))


CHANNELS: dict[str, Channel] = {"close": close, "phone": phone, "room": room}


def voices(data: Path, name: str, channel: str, embedder: UtteranceEmbedder, cache: Path | None) -> Voices:
    """Every utterance of a set, through a channel; those without speech are left out."""
    kept = cache / f"{name}-{channel}.npz" if cache is not None else None
    if kept is not None and kept.is_file():
        with np.load(kept) as found:
            sides = tuple(Side(float(a), float(b)) for a, b in found["sides"])
            return Voices(
                tuple(found["names"].tolist()), tuple(found["speakers"].tolist()), found["vectors"], sides,
                str(found["model"]),
            )  # fmt: skip
    who = speakers(data / name)
    names, people, rows, sides_ = [], [], [], []
    for i, path in enumerate(sorted((data / name).glob("*.flac"))):
        sound = reading.read(path, id=path.stem).audios[0]
        altered = CHANNELS[channel](sound.samples.astype(np.float64), np.random.default_rng([11, i]))
        try:
            heard = embedder.embed_audio(Audio(path.stem, altered.astype(np.float32)))
        except AudioError:
            continue
        names.append(path.stem)
        people.append(who(path.stem))
        rows.append(heard.vector)
        sides_.append(heard.side)
    made = Voices(tuple(names), tuple(people), np.stack(rows), tuple(sides_), embedder.model)
    if kept is not None:
        numbers = np.array([(side.seconds, side.bandwidth) for side in made.sides], np.float64)
        np.savez(kept, names=made.names, speakers=made.speakers, vectors=made.vectors, sides=numbers, model=made.model)
    return made


def speakers(folder: Path) -> Callable[[str], str]:
    index = folder / "utterances.json"
    if not index.is_file():
        return lambda name: name.split("-")[0]
    known = json.loads(index.read_text(encoding="utf-8"))
    return lambda name: str(known[name]["speaker"])


def listed(data: Path, name: str, left: Voices, right: Voices, scorer: Scorer) -> Trials:
    """The trials of a set's list, its two sides heard through the channels of `left` and `right`."""
    a, b = left.at(), right.at()
    found = [t for t in lists.read(data / name / "trials.txt") if t.a in a and t.b in b]
    return _trials([(a[t.a], b[t.b]) for t in found], left, right, scorer)


def every(left: Voices, scorer: Scorer) -> Trials:
    """Every pair of utterances of a set that are long enough for the fit."""
    long = [i for i, side in enumerate(left.sides) if side.seconds >= LEAST]
    return _trials(list(combinations(long, 2)), left, left, scorer)


def _trials(pairs: Sequence[tuple[int, int]], left: Voices, right: Voices, scorer: Scorer) -> Trials:
    a, b = np.array(pairs).T
    people = tuple((left.speakers[i], right.speakers[j]) for i, j in pairs)
    return Trials(
        scorer(left.vectors[a], right.vectors[b]),
        np.array([x == y for x, y in people]),
        people,
        tuple((left.sides[i], right.sides[j]) for i, j in pairs),
    )


def together(parts: Sequence[Trials]) -> Trials:
    return Trials(
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.same for part in parts]),
        tuple(pair for part in parts for pair in part.speakers),
        tuple(pair for part in parts for pair in part.sides),
    )


def ratios(made: Calibration, found: Trials) -> Floats:
    a, b = ([pair[i].seconds for pair in found.sides] for i in (0, 1))
    return made.llr(found.scores, a, b)


def figures(values: Floats, same: Any) -> dict[str, float | None]:
    there = np.isfinite(values)
    right, wrong = values[there & same], values[there & ~same]
    least = verification.cllr_min(right, wrong)
    return {
        "eer": round(verification.equal_error(right, wrong)[0], 4),
        "cllr": round(verification.cllr(right, wrong), 4),
        "cllr_min": round(least, 4),
        "ratio": round(verification.cllr(right, wrong) / least, 3) if least > 0.01 else None,  # of nearly nothing
    }


def by_duration(found: Trials, values: Floats) -> Iterator[dict[str, Any]]:
    shorter = np.array([min(a.seconds, b.seconds) for a, b in found.sides])
    for low, high in pairwise(EDGES):
        inside = (shorter >= low) & (shorter < high)
        same, different = int((inside & found.same).sum()), int((inside & ~found.same).sum())
        if same >= 20 and different >= 20:
            row = figures(values[inside], found.same[inside])
            yield {"from": low, "to": high, "same": same, "different": different, **row}


def measure(data: Path, embedder: UtteranceEmbedder, cache: Path | None) -> tuple[dict[str, Any], Calibration]:
    """(every figure, the calibration fitted on everything)."""
    heard = {(name, channel): voices(data, name, channel, embedder, cache) for name in SETS for channel in CHANNELS}
    cohort = {channel: heard["libri-cohort", channel] for channel in CHANNELS}
    scorer = scores.centred(cohort["close"].vectors, moved(cohort))
    ways: dict[str, Scorer] = {
        "cosine": scores.Cosine(),
        "centred, mean alone": scores.centred(cohort["close"].vectors),
        "centred": scorer,
        "s-norm": scores.SNorm(cohort["close"].vectors),
    }
    found: dict[str, Any] = {"model": embedder.model, "ways": {}, "channels": {}, "by_duration": {}, "shipped": {}}
    for way, score_ in ways.items():
        tests = {name: listed(data, name, heard[name, "close"], heard[name, "close"], score_) for name in TESTS}
        row: dict[str, Any] = {}
        for train, test in (TESTS, TESTS[::-1]):
            made = calibration.fit(tests[train], embedder.model, score_, train)
            rate = verification.equal_error(
                tests[test].scores[tests[test].same], tests[test].scores[~tests[test].same]
            )[0]
            row[test] = {
                "eer_of_scores": round(rate, 4),
                "calibrated_on_the_other": figures(ratios(made, tests[test]), tests[test].same),
                "cross_validated": figures(calibration.cross_validated(tests[test]), tests[test].same),
            }
        found["ways"][way] = row
    fit = [every(heard[name, "close"], scorer) for name in TESTS]
    fit.append(every(joined(heard["libri-dev", "close"], heard["libri-cohort", "close"]), scorer))
    for name in TESTS:
        fit += [listed(data, name, heard[name, side], heard[name, "phone"], scorer) for side in ("close", "phone")]
    everything = together(fit)
    words = (
        "an4-dev, speechocean-dev, libri-dev, libri-cohort: every pair of utterances of 1 s of speech or more within "
        "a set, and the lists of the first two with one or both sides through a simulated telephone"
    )
    shipped = calibration.fit(everything, embedder.model, scorer, words)
    across = {
        name: {side: listed(data, name, heard[name, "close"], heard[name, side], scorer) for side in CHANNELS}
        for name in TESTS
    }
    drifts = {name: {side: shipped.drift(heard[name, side].vectors) for side in CHANNELS} for name in TESTS}
    found["drifts"] = {name: {side: round(d, 3) for side, d in row.items()} for name, row in drifts.items()}
    shipped = replace(shipped, channel=round(channel_weight(shipped, across, drifts), 4))
    found["all_cross_validated"] = figures(calibration.cross_validated(everything), everything.same)
    for name in TESTS:
        for left, right in (
            ("close", "close"), ("close", "phone"), ("phone", "phone"), ("close", "room"), ("room", "room"),
        ):  # fmt: skip
            row = {}
            for way in ("cosine", "centred"):
                case = listed(data, name, heard[name, left], heard[name, right], ways[way])
                rate = verification.equal_error(case.scores[case.same], case.scores[~case.same])[0]
                row[f"eer_of_{way}"] = round(rate, 4)
            found["channels"][f"{name} {left}-{right}"] = row | figures(ratios(shipped, case), case.same)
        pairs = every(heard[name, "close"], scorer)
        found["by_duration"][name] = list(by_duration(pairs, calibration.cross_validated(pairs)))
    return found, shipped


def channel_weight(
    made: Calibration, across: Mapping[str, Mapping[str, Trials]], drifts: Mapping[str, Mapping[str, float]]
) -> float:
    """w3: the weight of d^2 at which enrolled close and heard through each channel costs least (mean Cllr)."""

    def cost(weight: float) -> float:
        costs = []
        for name, row in across.items():
            for side, case in row.items():
                a, b = ([pair[i].seconds for pair in case.sides] for i in (0, 1))
                values = made.unbounded(case.scores, a, b) + weight * drifts[name][side] ** 2
                costs.append(verification.cllr(values[case.same], values[~case.same]))
        return float(np.mean(costs))

    return float(minimize_scalar(cost, bounds=(0.0, 100.0), method="bounded").x)


def moved(cohort: Mapping[str, Voices]) -> list[tuple[Any, Any]]:
    """(before, after) of the voices that are there in every channel, for each two channels."""
    there = sorted(set.intersection(*(set(heard.names) for heard in cohort.values())))
    rows = {channel: heard.vectors[[heard.at()[name] for name in there]] for channel, heard in cohort.items()}
    return [(rows[a], rows[b]) for a, b in combinations(CHANNELS, 2)]


def joined(*parts: Voices) -> Voices:
    return Voices(
        tuple(name for part in parts for name in part.names),
        tuple(name for part in parts for name in part.speakers),
        np.concatenate([part.vectors for part in parts]),
        tuple(side for part in parts for side in part.sides),
        parts[0].model,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=simulate.DATA)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--save", type=Path, help="write the calibration that is fitted on everything")
    parser.add_argument("--cache", type=Path, help="keep the voices in this folder between runs")
    options = parser.parse_args()
    if options.cache is not None:
        options.cache.mkdir(parents=True, exist_ok=True)
    config = Config.model_validate({"embedder": {"backend": "ge2e"}, "run": {"device": "cpu"}})
    found, shipped = measure(options.data, load_embedder(config, Store()), options.cache)
    text = json.dumps(
        found | {"shipped": {"weights": shipped.weights, "channel": shipped.channel, "bounds": shipped.bounds}},
        indent=1,
    )
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    if options.save is not None:
        shipped.save(options.save)


if __name__ == "__main__":
    main()

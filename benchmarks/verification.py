"""Verification with an embedder, and the fit of the calibration that is supplied for it.

    python -m benchmarks.verification [--embedder ge2e] [--data DATA] [--json FILE] [--save FILE] [--cache FOLDER]

Every utterance is processed by the product's own stages (decoding, silero, the embedder). Trials are those of an4-dev
and speechocean-dev. The mean voice is that of libri-cohort (120 other readers) for GE2E, and for community-1 the mean
of the means of three sets (`MEANS`). libri-cohort through a simulated telephone and simulated rooms gives the
directions of channels. `--save` writes the calibration fitted to all data. `--cache` stores the voices between runs.

"unseen" are figures of speakers that no part of the calibration was fitted to: mean and weights are fitted to every
second speaker of each set, and tested on the others, and the reverse.
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
MEANS = {  # kind of embedder -> sets whose mean is taken off, and the share of it that is
    "ge2e": (("libri-cohort",), scores.SHARE),
    "community-1": ((*TESTS, "libri"), 1.0),
}
LEAST = 1.0  # s of speech that an utterance needs to take part in the fit
EDGES = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 12.0)  # s, of the table by duration
LISTS: dict[str, tuple[lists.Trial, ...]] = {}  # set -> its trials
TELEPHONE = {"ge2e": 1.0, "community-1": 1 / 16}  # share of the trials with a telephone that take part in the fit
ONE_VOICE = {"ge2e": 0.42, "community-1": 0.25}  # benchmarks.enrolment measures what follows from it
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


def voices(
    data: Path,
    name: str,
    channel: str,
    embedder: UtteranceEmbedder,
    cache: Path | None,
    channels: Mapping[str, Channel] = CHANNELS,
) -> Voices:
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
        altered = channels[channel](sound.samples.astype(np.float64), np.random.default_rng([11, i]))
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


def listed(heard: Mapping[tuple[str, str], Voices], name: str, channels: tuple[str, str], scorer: Scorer) -> Trials:
    """The trials of a set's list, its two sides heard through two channels."""
    left, right = (heard[name, channel] for channel in channels)
    a, b = left.at(), right.at()
    found = [t for t in LISTS[name] if t.a in a and t.b in b]
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


def centred_by(
    heard: Mapping[tuple[str, str], Voices], among: Callable[[str], bool] = lambda who: True
) -> scores.Centred:
    """The way of scoring of an embedder: the mean of the means of sets (`MEANS`), and the directions of channels.

    `among`: the speakers of the sets that are used.
    """
    cohort = {channel: heard["libri-cohort", channel] for channel in CHANNELS}
    libri = joined(heard["libri-dev", "close"], cohort["close"])
    sets, share = MEANS[kind_of(heard)]
    parts = [libri if name == "libri" else heard[name, "close"] for name in sets]
    used = [np.array([among(who) for who in part.speakers]) for part in parts]
    means = [part.vectors[rows].astype(np.float64).mean(axis=0) for part, rows in zip(parts, used, strict=True)]
    mean = parts[0].vectors[used[0]] if len(parts) == 1 else np.stack(means)
    return scores.centred(mean, moved(cohort, among), share=share)


def unseen(heard: Mapping[tuple[str, str], Voices], fitted: Callable[[Scorer], Sequence[Trials]]) -> dict[str, Any]:
    """Figures of LLRs of each list, of both, and of all that `fitted` gives; no speaker of a trial was fitted to."""
    everyone = sorted({who for voices_ in heard.values() for who in voices_.speakers})
    half = {who: i % 2 for i, who in enumerate(everyone)}
    parts: dict[str, list[tuple[Floats, Any]]] = {}
    for fold in (0, 1):
        scorer = centred_by(heard, lambda who, fold=fold: half[who] != fold)  # type: ignore[misc]
        everything = together(fitted(scorer))
        made = calibration.fit(of_speakers(everything, half, 1 - fold), "", scorer, "")
        tests = {name: listed(heard, name, ("close", "close"), scorer) for name in TESTS}
        for name, trials in {**tests, "both lists": together([*tests.values()]), "everything": everything}.items():
            own = of_speakers(trials, half, fold)
            a, b = ([pair[i].seconds for pair in own.sides] for i in (0, 1))
            parts.setdefault(name, []).append((made.unbounded(own.scores, a, b), own.same))
    return {
        name: figures(np.concatenate([v for v, _ in rows]), np.concatenate([same for _, same in rows]))
        for name, rows in parts.items()
    }


def of_speakers(trials: Trials, half: Mapping[str, int], which: int) -> Trials:
    """The trials whose speakers both belong to one half."""
    return chosen(trials, [i for i, pair in enumerate(trials.speakers) if half[pair[0]] == half[pair[1]] == which])


def fit_trials(heard: Mapping[tuple[str, str], Voices], scorer: Scorer) -> list[Trials]:
    """What the supplied calibration is fitted to."""
    trials = [every(heard[name, "close"], scorer) for name in TESTS]
    trials.append(every(joined(heard["libri-dev", "close"], heard["libri-cohort", "close"]), scorer))
    share = TELEPHONE[kind_of(heard)]
    calls = [listed(heard, name, (side, "phone"), scorer) for name in TESTS for side in ("close", "phone")]
    return trials + [some(part, share) for part in calls]


def kind_of(heard: Mapping[tuple[str, str], Voices]) -> str:
    """The kind of embedder, as in `MEANS`."""
    return next(iter(heard.values())).model.partition("@")[0]


def some(trials: Trials, share: float) -> Trials:
    """A share of trials, drawn with a fixed seed."""
    return chosen(trials, np.flatnonzero(np.random.default_rng(0).random(len(trials.scores)) < share).tolist())


def chosen(trials: Trials, rows: Sequence[int]) -> Trials:
    speakers = tuple(trials.speakers[i] for i in rows)
    return Trials(trials.scores[rows], trials.same[rows], speakers, tuple(trials.sides[i] for i in rows))


def measure(data: Path, embedder: UtteranceEmbedder, cache: Path | None) -> tuple[dict[str, Any], Calibration]:
    """(every figure, the calibration fitted on everything)."""
    heard = {(name, channel): voices(data, name, channel, embedder, cache) for name in SETS for channel in CHANNELS}
    LISTS.update({name: lists.read(data / name / "trials.txt") for name in TESTS})
    cohort = heard["libri-cohort", "close"]
    scorer = centred_by(heard)
    ways: dict[str, Scorer] = {
        "cosine": scores.Cosine(),
        "centred, mean alone": scores.Centred(scorer.mean, scorer.channels[:0], scorer.share),
        "centred": scorer,
        "s-norm": scores.SNorm(cohort.vectors),
    }
    found: dict[str, Any] = {"model": embedder.model, "ways": {}, "channels": {}, "by_duration": {}, "shipped": {}}
    for way, score_ in ways.items():
        tests = {name: listed(heard, name, ("close", "close"), score_) for name in TESTS}
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
    found["unseen"] = unseen(heard, lambda scorer: fit_trials(heard, scorer))
    everything = together(fit_trials(heard, scorer))
    words = (
        "an4-dev, speechocean-dev, libri-dev, libri-cohort: every pair of utterances of 1 s of speech or more within "
        "a set, and the lists of the first two with one or both sides through a simulated telephone"
        + (f" (a share of {TELEPHONE[kind_of(heard)]:g} of them)" if TELEPHONE[kind_of(heard)] < 1 else "")
    )
    shipped = calibration.fit(everything, embedder.model, scorer, words)
    shipped = replace(shipped, one_voice=ONE_VOICE[kind_of(heard)])
    across = {
        name: {side: listed(heard, name, ("close", side), scorer) for side in CHANNELS} for name in TESTS
    }  # fmt: skip
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
                case = listed(heard, name, (left, right), ways[way])
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


def moved(cohort: Mapping[str, Voices], among: Callable[[str], bool]) -> list[tuple[Any, Any]]:
    """(before, after) of the voices that are there in every channel, for each two channels; of some speakers."""
    close_ = cohort["close"]
    own = {name for name, who in zip(close_.names, close_.speakers, strict=True) if among(who)}
    there = sorted(own.intersection(*(heard.names for heard in cohort.values())))
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
    parser.add_argument("--embedder", default="ge2e", help="ge2e or community-1-embedding")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--save", type=Path, help="write the calibration that is fitted on everything")
    parser.add_argument("--cache", type=Path, help="keep the voices in this folder between runs")
    options = parser.parse_args()
    if options.cache is not None:
        options.cache.mkdir(parents=True, exist_ok=True)
    config = Config.model_validate({"embedder": {"backend": options.embedder}, "run": {"device": "cpu"}})
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

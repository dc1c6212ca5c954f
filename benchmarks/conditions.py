"""Conditions of the supplied calibration: their fit, and what can be expected of them for speakers not fitted to.

    python -m benchmarks.conditions [--data DATA] [--cache FOLDER] [--json FILE] [--save]

Utterances of an4-dev and speechocean-dev through six channels: close (as they are), room, phone (8 kHz, mu-law), and
lines of 300 to 3,400 Hz with mu-law, AMR-NB at 12.2 kbit/s (mobile) and Opus at 12 kbit/s (internet). Trials are pairs
of utterances of a set, each side through each of the channels (all pairs of one speaker, and `MOST` of two); the
condition of a trial is that of the measured bandwidths of its sides.

Five folds over speakers: in each, the mean and every condition are fitted to trials between the other speakers, and
tested on trials between speakers of the fold, at the bounds of that fit. "close alone" are the same trials with the
weights of close, close. `--save` fits to all speakers and writes the conditions into the supplied calibration;
`benchmarks.verification --save` writes one without conditions, so run this one after it.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import verification
from benchmarks.verification import Channel, Voices
from diarize.config import Config
from diarize.library.scoring import calibration as calibrations
from diarize.library.scoring.calibration import Calibration, Trials
from diarize.library.scoring.conditions import WIDE, Condition, lines_of
from diarize.library.scoring.scores import Centred, Scorer
from diarize.metrics import evidence
from diarize.metrics.verification import Floats
from diarize.models.store import Store
from diarize.training import codecs
from pipelines.people.utterance import load_embedder

FOLDS = 5
LEAST = 1.0  # s of speech on either side
MOST = 10_000  # trials of two speakers for each set and pair of channels
Lines = tuple[str, str]


def line(codec: str) -> Channel:
    """A telephone line with this codec, at the level of the telephone of `verification`."""

    def through(samples: Floats, rng: np.random.Generator) -> Floats:
        level = max(float(np.sqrt(np.mean(samples**2))), 1e-6)
        spoken = (samples * verification.LEVEL / level).astype(np.float32)
        return np.asarray(codecs.telephone(spoken, codec), np.float64)

    return through


CHANNELS: dict[str, Channel] = {
    **verification.CHANNELS,
    "narrow": line("mu-law"),
    "mobile": line("amr-nb"),
    "internet": line("opus"),
}


@dataclass(frozen=True, slots=True, eq=False)
class ChannelTrials:
    """Trials whose sides went through two channels."""

    channels: tuple[str, str]
    trials: Trials

    def lines(self) -> list[Lines | None]:
        return [lines_of(a.bandwidth, b.bandwidth) for a, b in self.trials.sides]


def pairs(left: Voices, right: Voices, name: str, scorer: Scorer, rng: np.random.Generator) -> Trials:
    """Pairs of utterances of a set with enough speech: all of one speaker, and at most MOST of two."""
    at = right.at()
    rows = [i for i, side in enumerate(left.sides) if side.seconds >= LEAST and left.names[i] in at]
    a, b = np.triu_indices(len(rows), 1)
    i, j = np.array(rows)[a], np.array([at[left.names[row]] for row in rows])[b]
    enough = np.array([right.sides[k].seconds >= LEAST for k in j])
    i, j = i[enough], j[enough]
    same = np.array([left.speakers[x] == right.speakers[y] for x, y in zip(i, j, strict=True)])
    others = np.flatnonzero(~same)
    if len(others) > MOST:
        others = np.sort(rng.choice(others, MOST, replace=False))
    rows = np.concatenate([np.flatnonzero(same), others]).tolist()
    i, j = i[rows], j[rows]
    return Trials(
        scorer(left.vectors[i], right.vectors[j]),
        same[rows],
        tuple((f"{name}/{left.speakers[x]}", f"{name}/{right.speakers[y]}") for x, y in zip(i, j, strict=True)),
        tuple((left.sides[x], right.sides[y]) for x, y in zip(i, j, strict=True)),
    )


def everything(voices: Mapping[tuple[str, str], Voices], scorer: Scorer) -> list[ChannelTrials]:
    """The trials of every set and pair of channels."""
    result = []
    for number, channels in enumerate(combinations_with_replacement(CHANNELS, 2)):
        rng = np.random.default_rng([5, number])
        parts = [
            pairs(voices[name, channels[0]], voices[name, channels[1]], name, scorer, rng)
            for name in verification.TESTS
        ]
        result.append(ChannelTrials(channels, verification.together(parts)))
    return result


def fit(groups: Sequence[ChannelTrials], scorer: Scorer, model: str, among: Callable[[str], bool]) -> Calibration:
    """The weights of close, close, and the conditions, of trials whose speakers are both `among` these."""
    rows: dict[Lines, list[Trials]] = defaultdict(list)
    close: list[Trials] = []
    for group in groups:
        own = [all(map(among, speakers)) for speakers in group.trials.speakers]
        if group.channels == ("close", "close"):
            close.append(verification.chosen(group.trials, np.flatnonzero(own).tolist()))
        lines = group.lines()
        for key in set(lines) - {None, (WIDE, WIDE)}:
            wanted = [i for i, each in enumerate(lines) if own[i] and each == key]
            if key is not None and wanted:
                rows[key].append(verification.chosen(group.trials, wanted))
    conditions = []
    for key, parts in sorted(rows.items()):
        fitted = calibrations.fit(verification.together(parts), model, scorer, "")
        conditions.append(
            Condition(
                lines=key,
                weights=fitted.weights,
                seconds=fitted.seconds,
                bandwidth=fitted.bandwidth,
                bounds=fitted.bounds,
                trials=fitted.trials,
                speakers=fitted.speakers,
            )
        )
    return replace(calibrations.fit(close[0], model, scorer, ""), conditions=tuple(conditions))


def measure(voices: Mapping[tuple[str, str], Voices], supplied: Calibration) -> dict[str, Any]:
    """Figures of each condition, and of each pair of channels, for speakers that nothing was fitted to."""
    everyone = sorted({f"{name}/{who}" for name, _ in voices for who in voices[name, "close"].speakers})
    fold = {who: i % FOLDS for i, who in enumerate(everyone)}
    parts: dict[str, list[tuple[Floats, Floats, Any]]] = defaultdict(list)
    for k in range(FOLDS):
        means = []
        for name in verification.TESTS:
            rows = [fold[f"{name}/{who}"] != k for who in voices[name, "close"].speakers]
            means.append(voices[name, "close"].vectors[rows].astype(np.float64).mean(axis=0))
        scorer = Centred(np.stack(means).mean(axis=0), np.array(supplied.channels), supplied.share)
        groups = everything(voices, scorer)
        own = fit(groups, scorer, supplied.model, lambda who, k=k: fold[who] != k)  # type: ignore[misc]
        alone = replace(own, conditions=())
        for group in groups:
            test = [i for i, pair in enumerate(group.trials.speakers) if all(fold[who] == k for who in pair)]
            trials = verification.chosen(group.trials, test)
            left, right = ([pair[i] for pair in trials.sides] for i in (0, 1))
            llr = own.ratios(trials.scores, left, right)[0]
            seconds = [side.seconds for side in left], [side.seconds for side in right]
            row = llr, alone.llr(trials.scores, *seconds), trials.same
            parts[f"through {', '.join(group.channels)}"].append(row)
            lines = ChannelTrials(group.channels, trials).lines()
            for key in sorted({each for each in lines if each is not None}):
                at = np.array([each == key for each in lines])
                parts[f"measured {', '.join(key)}"].append((row[0][at], row[1][at], row[2][at]))
    return {"speakers": len(everyone), "conditions": {key: _figures(rows) for key, rows in sorted(parts.items())}}


def _figures(rows: Sequence[tuple[Floats, Floats, Any]]) -> dict[str, Any]:
    own, alone, same = (np.concatenate([row[i] for row in rows]) for i in range(3))
    valid = np.isfinite(own)
    refused, own, alone, same = int((~valid).sum()), own[valid], alone[valid], same[valid]
    wrong = evidence.misleading(own[same], own[~same])
    return {
        "same": int(same.sum()),
        "different": int((~same).sum()),
        "refused": refused,
        "own": verification.figures(own, same),
        "close alone": verification.figures(alone, same),
        "misleading_same": round(wrong.same, 4),
        "misleading_different": round(wrong.different, 4),
        "strongest": [round(v / np.log(10), 2) for v in (wrong.strongest_same, wrong.strongest_different)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    embedder = load_embedder(Config(), Store())
    supplied = calibrations.shipped(embedder.model)
    assert supplied is not None, "no calibration is supplied for this embedder"
    voices = {
        (name, channel): verification.voices(args.data, name, channel, embedder, args.cache, CHANNELS)
        for name in verification.TESTS
        for channel in CHANNELS
    }
    text = json.dumps({"model": embedder.model, **measure(voices, supplied)}, indent=1)
    print(text)
    if args.json is not None:
        args.json.write_text(text + "\n", encoding="utf-8")
    if args.save:
        fitted = fit(everything(voices, supplied.scorer()), supplied.scorer(), supplied.model, lambda who: True)
        saved = replace(supplied, conditions=fitted.conditions)
        saved.save(calibrations.SHIPPED[embedder.model.partition("@")[0]])


if __name__ == "__main__":
    main()

"""Calibration for each condition, on speakers that nothing was fitted to: what a laboratory can expect of its own.

    python -m benchmarks.conditions [--data DATA] [--cache FOLDER] [--json FILE]

Five folds over the speakers of an4-dev and speechocean-dev. In each fold, mean and calibration are fitted to trials of
one condition (a pair of channels of `benchmarks.verification`) between the other speakers of both sets, and tested on
trials between speakers of the fold; LRs are cut at the bounds of that calibration. "elsewhere" is the calibration of
close, close, used for trials of the condition: what a mismatched calibration costs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import verification
from benchmarks.verification import Voices
from diarize.config import Config
from diarize.library.scoring import calibration, scores
from diarize.library.scoring.calibration import Calibration, Trials
from diarize.metrics import evidence
from diarize.metrics.verification import Floats
from diarize.models.store import Store
from pipelines.people.utterance import load_embedder

CONDITIONS = (("close", "close"), ("phone", "phone"), ("room", "room"), ("close", "phone"), ("close", "room"))
FOLDS = 5
LEAST = 1.0  # s of speech on either side


def pairs(
    heard: Mapping[tuple[str, str], Voices], name: str, channels: tuple[str, str], scorer: scores.Scorer
) -> Trials:
    """Every pair of utterances of a set with enough speech, its two sides through two channels."""
    left, right = (heard[name, channel] for channel in channels)
    at = right.at()
    rows = [i for i, side in enumerate(left.sides) if side.seconds >= LEAST and left.names[i] in at]
    a, b = np.triu_indices(len(rows), 1)
    i, j = np.array(rows)[a], np.array([at[left.names[row]] for row in rows])[b]
    enough = np.array([right.sides[k].seconds >= LEAST for k in j])
    i, j = i[enough], j[enough]
    people = tuple((f"{name}/{left.speakers[x]}", f"{name}/{right.speakers[y]}") for x, y in zip(i, j, strict=True))
    return Trials(
        scorer(left.vectors[i], right.vectors[j]),
        np.array([x == y for x, y in people]),
        people,
        tuple((left.sides[x], right.sides[y]) for x, y in zip(i, j, strict=True)),
    )


def within(trials: Trials, fold: Mapping[str, int], inside: Any) -> Trials:
    """The trials whose speakers both lie in folds of which `inside` is true."""
    return verification.chosen(
        trials, [i for i, (a, b) in enumerate(trials.speakers) if inside(fold[a]) and inside(fold[b])]
    )


def measure(heard: Mapping[tuple[str, str], Voices]) -> dict[str, Any]:
    everyone = sorted({f"{name}/{who}" for name in verification.TESTS for who in heard[name, "close"].speakers})
    fold = {who: i % FOLDS for i, who in enumerate(everyone)}
    parts: dict[tuple[str, str], list[tuple[Floats, Floats, Any, int]]] = {condition: [] for condition in CONDITIONS}
    for k in range(FOLDS):
        means = []
        for name in verification.TESTS:
            voices = heard[name, "close"]
            used = [fold[f"{name}/{who}"] != k for who in voices.speakers]
            means.append(voices.vectors[used].astype(np.float64).mean(axis=0))
        scorer = scores.centred(np.stack(means), share=1.0)
        fitted: dict[tuple[str, str], Calibration] = {}
        for condition in CONDITIONS:
            trials = verification.together([pairs(heard, name, condition, scorer) for name in verification.TESTS])
            train, test = within(trials, fold, lambda i, k=k: i != k), within(trials, fold, lambda i, k=k: i == k)
            fitted[condition] = calibration.fit(train, "", scorer, "")
            own, other = (verification.ratios(c, test) for c in (fitted[condition], fitted["close", "close"]))
            beyond = int((own < fitted[condition].bounds[0]).sum() + (own > fitted[condition].bounds[1]).sum())
            parts[condition].append((own, other, test.same, beyond))
    result: dict[str, Any] = {"speakers": len(everyone), "conditions": {}}
    for condition, rows in parts.items():
        own, other, same = (np.concatenate([row[i] for row in rows]) for i in range(3))
        wrong = evidence.misleading(own[same], own[~same])
        result["conditions"][", ".join(condition)] = {
            "same": int(same.sum()),
            "different": int((~same).sum()),
            "own": verification.figures(own, same),
            "elsewhere": verification.figures(other, same),
            "misleading_same": round(wrong.same, 4),
            "misleading_different": round(wrong.different, 4),
            "strongest": [round(v / np.log(10), 2) for v in (wrong.strongest_same, wrong.strongest_different)],
            "beyond_bounds": sum(row[3] for row in rows),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    embedder = load_embedder(Config(), Store())
    channels = {channel for condition in CONDITIONS for channel in condition}
    heard = {
        (name, channel): verification.voices(args.data, name, channel, embedder, args.cache)
        for name in verification.TESTS
        for channel in sorted(channels)
    }
    text = json.dumps({"model": next(iter(heard.values())).model, **measure(heard)}, indent=1)
    print(text)
    if args.json is not None:
        args.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

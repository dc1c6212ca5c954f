"""Word diarization error rate of the labelling rule, and of other rules that were tried.

    python benchmarks/labels.py [--data DATA] [--json FILE]

The true words of sim-dev (of all speakers, also where two talk at the same time) are labelled by turns that are true,
moved, or blurred: each end of a turn shifted by normal noise (0.1 or 0.25 s; mean of 10 seeds). `one voice` gives
overlapped time to the turn that started last, like a diarizer without overlap. The rate is the share of words with
a wrong speaker (Shafey et al. 2019, arXiv 1907.05337, equation 1, without recognition errors); a word without a speaker
is wrong too.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from diarize.config import LabelConfig
from diarize.intervals import SpanIndex
from diarize.types import Turn, Word
from diarize.words.labelling import label

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SEEDS = 10

Rule = Callable[[Sequence[Word], Sequence[Turn]], Sequence[Word]]
Change = Callable[[Sequence[Turn], np.random.Generator], list[Turn]]
Recording = tuple[list[Word], list[Turn]]


def read(data: Path) -> list[Recording]:
    recordings = []
    for path in sorted((data / "sim-dev").glob("*.words.json")):
        words = [Word(w["start"], w["end"], w["word"], speaker=w["speaker"]) for w in json.loads(path.read_text())]
        lines = [line.split() for line in path.with_name(path.name.replace(".words.json", ".rttm")).open()]
        turns = sorted(Turn(float(s[3]), float(s[3]) + float(s[4]), s[7]) for s in lines)
        recordings.append((words, turns))
    return recordings


def first_began(words: Sequence[Word], turns: Sequence[Turn]) -> Sequence[Word]:
    """Ties to the turn that began first."""
    index = SpanIndex(turns)
    tied = {i for i, w in enumerate(words) if sum(w.overlap(turns[k]) == w.duration for k in index.overlapping(w)) > 1}
    rest = label(words, turns)
    return [
        replace(word, speaker=turns[next(index.overlapping(word))].speaker) if i in tied else rest[i]
        for i, word in enumerate(words)
    ]


def lone_words_joined(words: Sequence[Word], turns: Sequence[Turn]) -> Sequence[Word]:
    """The rule; then a single word between two of one other speaker, within 0.3 s of both, goes to that speaker."""
    labelled = list(label(words, turns))
    before = tuple(labelled)
    for i in range(1, len(words) - 1):
        a, b, c = before[i - 1 : i + 2]
        if a.speaker == c.speaker != b.speaker and b.start - a.end < 0.3 and c.start - b.end < 0.3:
            labelled[i] = replace(b, speaker=a.speaker)
    return labelled


def within(seconds: float) -> Rule:
    return lambda words, turns: label(words, turns, LabelConfig(max_distance=seconds))


def moved(seconds: float) -> Change:
    return lambda turns, _: [Turn(max(0.0, t.start + seconds), t.end + seconds, t.speaker) for t in turns]


def blurred(seconds: float) -> Change:
    def change(turns: Sequence[Turn], noise: np.random.Generator) -> list[Turn]:
        ends = [(max(0.0, t.start + noise.normal(0, seconds)), t.end + noise.normal(0, seconds), t) for t in turns]
        return sorted(Turn(start, end, t.speaker) for start, end, t in ends if end - start > 0.05)

    return change


def one_voice(turns: Sequence[Turn], _: np.random.Generator) -> list[Turn]:
    times = sorted({time for turn in turns for time in (turn.start, turn.end)})
    single: list[Turn] = []
    for start, end in itertools.pairwise(times):
        if talking := [turn for turn in turns if turn.start <= start and end <= turn.end]:
            single.append(Turn(start, end, max(talking, key=lambda turn: turn.start).speaker))
    return single


RULES: dict[str, Rule] = {
    "the rule": label,
    "ties to the first": first_began,
    "lone words joined": lone_words_joined,
    "distance 0": within(0.0),
    "distance 0.25 s": within(0.25),
    "distance 1 s": within(1.0),
    "distance 2 s": within(2.0),
}
CHANGES: dict[str, Change] = {
    "true": moved(0.0),
    "one voice": one_voice,
    "0.2 s late": moved(0.2),
    "0.2 s early": moved(-0.2),
    "blurred 0.1 s": blurred(0.1),
    "blurred 0.25 s": blurred(0.25),
}


def rate(recordings: Sequence[Recording], rule: Rule, change: Change) -> float:
    wrong = total = 0
    for seed in range(SEEDS):
        noise = np.random.default_rng(seed)
        for words, turns in recordings:
            labelled = rule(words, change(turns, noise))
            wrong += sum(a.speaker != b.speaker for a, b in zip(labelled, words, strict=True))
            total += len(words)
    return wrong / total


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="word diarization error rate of labelling rules")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    recordings = read(options.data)
    print(f"{'WDER, %':18}", *(f"{name:>14}" for name in CHANGES))
    table = {}
    for name, rule in RULES.items():
        table[name] = {change: round(rate(recordings, rule, CHANGES[change]), 5) for change in CHANGES}
        print(f"{name:18}", *(f"{100 * value:14.2f}" for value in table[name].values()), flush=True)
    if options.json:
        options.json.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])

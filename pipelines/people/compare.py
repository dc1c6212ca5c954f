"""Every pair of a set of recordings: who might be the same person?"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from diarize import files
from diarize.config import Config
from diarize.errors import ConfigError
from diarize.formats.csv import guard
from diarize.metrics.verification import Floats
from diarize.models.store import Store
from pipelines.inputs import recordings
from pipelines.people import plots
from pipelines.people.scoring import Scoring
from pipelines.people.utterance import OnUtterance, embed_files, load_embedder
from pipelines.people.verify import Verification, load_verifier
from pipelines.results import outputs

COLUMNS = ("a", "b", "score", "llr", "log10_lr", "decision", "reason")  # score: as in Verification


@dataclass(frozen=True, slots=True)
class Comparison:
    names: tuple[str, ...]  # recordings with a voice, sorted
    pairs: tuple[Verification, ...]  # of each two of them, in the order of the names
    problems: Mapping[str, str]  # recording -> why it has no voice
    notes: tuple[str, ...]

    def matrix(self) -> tuple[Floats, str]:
        """(values (n, n), what they are): log10 LRs where each pair has one, else scores; the diagonal is NaN."""
        all_llr = all(pair.log10_lr is not None for pair in self.pairs)
        grid = np.full((len(self.names), len(self.names)), np.nan)
        for (i, j), pair in zip(combinations(range(len(self.names)), 2), self.pairs, strict=True):
            grid[i, j] = grid[j, i] = pair.log10_lr if all_llr and pair.log10_lr is not None else pair.score
        kind = "distance" if self.pairs[0].is_distance else "score"
        return grid, "log10 likelihood ratio" if all_llr else f"{kind} ({self.pairs[0].scoring})"

    def ranked(self) -> list[tuple[tuple[str, str], Verification]]:
        """((a, b), their verification) of every pair, the most similar first."""
        return sorted(
            zip(combinations(self.names, 2), self.pairs, strict=True),
            key=lambda row: (-inf if row[1].llr is None else row[1].llr, row[1].similarity, row[0]),
            reverse=True,
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            "schema": "diarize-comparison/1",
            "names": list(self.names),
            "pairs": [pair.as_dict() for pair in self.pairs],
            "problems": dict(self.problems),
            "notes": list(self.notes),
        }

    def as_csv(self) -> str:
        """A row a pair, the most similar first."""
        sheet = io.StringIO()
        writer = csv.writer(sheet)
        writer.writerow(COLUMNS)
        for (a, b), pair in self.ranked():
            ratios = ["" if value is None else f"{value:.4f}" for value in (pair.llr, pair.log10_lr)]
            writer.writerow((guard(a), guard(b), f"{pair.score:.6f}", *ratios, pair.decision, pair.reason))
        return sheet.getvalue()


def compare(
    paths: Iterable[Path],
    config: Config,
    store: Store,
    scoring: Scoring,
    on_utterance: OnUtterance = lambda name, done, total: None,
) -> Comparison:
    """Compare every two of the recordings that `paths` (files and folders) stand for.

    Raises ConfigError where fewer than two of them hold speech; a recording without a voice is one of the problems.
    """
    inputs = recordings.find(paths).inputs
    if len(inputs) < 2:
        raise ConfigError("compare", "recordings", f"{len(inputs)} named, at least two are needed")
    embedder = load_embedder(config, store, scoring.prepare)
    verifier = load_verifier(embedder, scoring)
    times = Counter(item.name for item in inputs)
    names = {item.id: item.name if times[item.name] == 1 else str(item.path) for item in inputs}
    readable = {names[item.id]: item.path for item in inputs if item.problem is None}
    utterances, problems = embed_files(readable, embedder, on_utterance)
    problems |= {names[item.id]: item.problem.problem for item in inputs if item.problem is not None}
    if len(utterances) < 2:
        why = "; ".join(f"{name}: {problem}" for name, problem in sorted(problems.items())[:3])
        raise ConfigError("compare", "recordings", f"{len(utterances)} with speech, at least two are needed", why)
    ordered = tuple(sorted(utterances))
    pairs = tuple(verifier.verify(utterances[a], utterances[b]) for a, b in combinations(ordered, 2))
    return Comparison(ordered, pairs, problems, embedder.notes)


def write(out: Path, comparison: Comparison) -> None:
    """`comparison.csv`, `heatmap.png` and, last, `comparison.json`. Raises OutputError and MissingExtra."""
    outputs.make_folder(out)
    files.write(out / "comparison.csv", comparison.as_csv())
    plots.heat_map(out / "heatmap.png", comparison.names, *comparison.matrix())
    files.write(out / "comparison.json", outputs.as_json(comparison.as_dict()))

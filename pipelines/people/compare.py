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
from pipelines.people.trials import Watch, listen
from pipelines.people.utterance import ears
from pipelines.people.verify import Judge, Verification, judge
from pipelines.results import outputs

COLUMNS = ("a", "b", "score", "llr", "decision", "reason")


@dataclass(frozen=True, slots=True)
class Comparison:
    names: tuple[str, ...]  # recordings that were heard, sorted
    pairs: tuple[Verification, ...]  # of each two of them, in the order of the names
    problems: Mapping[str, str]  # recording -> why it could not be heard
    notes: tuple[str, ...]

    def matrix(self) -> tuple[Floats, str]:
        """(values (n, n), what they are): LLRs where each pair has one, else scores; the diagonal is NaN."""
        whole = all(pair.llr is not None for pair in self.pairs)
        grid = np.full((len(self.names), len(self.names)), np.nan)
        for (i, j), pair in zip(combinations(range(len(self.names)), 2), self.pairs, strict=True):
            grid[i, j] = grid[j, i] = pair.llr if whole and pair.llr is not None else pair.score
        return grid, "log-likelihood ratio (natural)" if whole else f"score ({self.pairs[0].scoring})"

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            "schema": "diarize-comparison/1",
            "names": list(self.names),
            "pairs": [pair.as_dict() for pair in self.pairs],
            "problems": dict(self.problems),
            "notes": list(self.notes),
        }


def compare(
    paths: Iterable[Path],
    config: Config,
    store: Store,
    *,
    prior: float = 0.5,
    calibration: Path | None = None,
    cohort: Path | None = None,
    way: str | None = None,
    watch: Watch = lambda name, done, total: None,
) -> Comparison:
    """Compare every two of the recordings that `paths` (files and folders) stand for.

    Raises ConfigError where fewer than two of them hold speech; a recording that cannot be heard is a problem of its
    own.
    """
    found = recordings.find(paths).inputs
    hear = ears(config, store)
    decide: Judge = judge(hear, prior, calibration, cohort, way)
    taken = Counter(item.name for item in found)
    called = {item.id: item.name if taken[item.name] == 1 else str(item.path) for item in found}
    known = {called[item.id]: item.path for item in found if item.problem is None}
    heard, problems = listen(known, hear, watch)
    problems |= {called[item.id]: item.problem.problem for item in found if item.problem is not None}
    if len(heard) < 2:
        why = "; ".join(f"{name}: {problem}" for name, problem in sorted(problems.items())[:3])
        raise ConfigError("compare", "recordings", f"{len(heard)} with speech, at least two are needed", why)
    names = tuple(sorted(heard))
    pairs = tuple(decide(heard[a], heard[b]) for a, b in combinations(names, 2))
    return Comparison(names, pairs, problems, hear.notes)


def ranked(found: Comparison) -> list[tuple[tuple[str, str], Verification]]:
    """((a, b), what was found) of every pair, the most alike first."""
    return sorted(
        zip(combinations(found.names, 2), found.pairs, strict=True),
        key=lambda row: (-inf if row[1].llr is None else row[1].llr, row[1].score, row[0]),
        reverse=True,
    )


def table(found: Comparison) -> str:
    """CSV: a row a pair, the most alike first."""
    sheet = io.StringIO()
    writer = csv.writer(sheet)
    writer.writerow(COLUMNS)
    for (a, b), pair in ranked(found):
        llr = "" if pair.llr is None else f"{pair.llr:.4f}"
        writer.writerow((guard(a), guard(b), f"{pair.score:.6f}", llr, pair.decision, pair.reason))
    return sheet.getvalue()


def write(out: Path, found: Comparison) -> None:
    """`comparison.csv`, `heatmap.png` and, last, `comparison.json`. Raises OutputError and MissingExtra."""
    outputs.make(out)
    files.write(out / "comparison.csv", table(found))
    plots.heat_map(out / "heatmap.png", found.names, *found.matrix())
    files.write(out / "comparison.json", outputs.as_json(found.as_dict()))

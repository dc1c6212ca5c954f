"""The score of a voice with that of another modality, as a face matcher's similarity, that the caller gives.

    weighted    s = sum of w_i s_i / sum of w_i           over the modalities that are there
    logistic    LLR = w_0 + sum of w_i s_i                natural logarithm; its weights are fitted
    decisions   all (AND), any (OR), or k of n

The weights of `LogisticFusion` are those of a logistic regression in which both kinds of trials count the same (Brümmer
and du Preez 2006). Where the scores of both kinds are normal with equal covariances, that is the Bayes-optimal
log-likelihood ratio: w = C^-1 (m1 - m0). A set of modalities has weights of its own, so that a missing one is left out,
not guessed.

Features (embeddings) are not concatenated: that would need a model trained on both modalities of the same people.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from diarize import files
from diarize.errors import CalibrationError, ConfigError, FormatError
from diarize.metrics import verification

Floats = NDArray[np.float64]

SCHEMA = "diarize-fusion/1"
MOST = 4  # modalities: each set of them has weights of its own
LEAST_TRIALS = 20  # of each kind, for each weight
_RIDGE = 1e-6  # keeps weights finite where the trials are perfectly separated
_STEPS = 100
NO_FEATURES = (
    "features of two modalities are not concatenated: embeddings of separate models have no common scale, and a "
    "similarity of joined vectors is only a weighted sum of both, with weights that nobody chose"
)


@dataclass(frozen=True, slots=True)
class FusedScore:
    """What the modalities that are there say together."""

    value: float
    used: tuple[str, ...]
    missing: tuple[str, ...]
    is_llr: bool  # a natural log-likelihood ratio; else a similarity without a scale

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            "value": round(self.value, 6), "used": list(self.used), "missing": list(self.missing),
            "is_llr": self.is_llr,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class WeightedFusion:
    """The weighted mean of similarities. Those of a missing modality are left out, and the others share its weight."""

    weights: Mapping[str, float]
    threshold: float

    def __post_init__(self) -> None:
        if not self.weights or not all(isfinite(w) and w >= 0 for w in self.weights.values()):
            raise ConfigError("fusion", "weights", f"weights are numbers of 0 or more, not {dict(self.weights)}")
        if sum(self.weights.values()) <= 0:
            raise ConfigError("fusion", "weights", "one weight at least is above 0")

    def fuse(self, scores: Mapping[str, float | None]) -> FusedScore:
        """Raises ConfigError where no modality with a weight is there, or one is unknown."""
        used = _present(scores, tuple(name for name, weight in self.weights.items() if weight > 0), tuple(self.weights))
        total = sum(self.weights[name] for name in used)
        value = sum(self.weights[name] * (scores[name] or 0.0) for name in used) / total
        return FusedScore(value, used, tuple(name for name in self.weights if name not in used), False)

    def accepts(self, fused: FusedScore) -> bool:
        """Whether the similarity reaches the threshold."""
        return fused.value >= self.threshold


@dataclass(frozen=True, slots=True)
class LogisticFusion:
    """Log-likelihood ratios of each set of modalities, with the weights that were fitted for it."""

    modalities: tuple[str, ...]
    weights: Mapping[tuple[str, ...], tuple[float, ...]]  # set, in the order of `modalities` -> w0, w of each
    trials: tuple[int, int]  # of the same person, of two
    bound: float  # of an LLR either way, that so many trials support
    data: str  # what it was fitted on, in words

    def fuse(self, scores: Mapping[str, float | None]) -> FusedScore:
        """Raises ConfigError where no modality is there, or one is unknown."""
        used = _present(scores, self.modalities, self.modalities)
        offset, *slopes = self.weights[used]
        value = offset + sum(w * (scores[name] or 0.0) for w, name in zip(slopes, used, strict=True))
        missing = tuple(name for name in self.modalities if name not in used)
        return FusedScore(float(np.clip(value, -self.bound, self.bound)), used, missing, True)

    def save(self, path: Path) -> None:
        """Write it as JSON. Raises OutputError."""
        values = {
            "schema": SCHEMA, "modalities": list(self.modalities),
            "weights": [{"of": list(names), "weights": list(weights)} for names, weights in self.weights.items()],
            "trials": list(self.trials), "bound": self.bound, "data": self.data,
        }  # fmt: skip
        files.write(path, json.dumps(values, indent=1) + "\n")


def fit(scores: Mapping[str, Sequence[float | None]], same: Sequence[bool], data: str = "") -> LogisticFusion:
    """Weights for each set of modalities, from trials with known truth; None: the modality is missing in a trial.

    Raises CalibrationError where there are too few trials, or a modality says nothing or the opposite.
    """
    names = tuple(scores)
    if not 1 <= len(names) <= MOST:
        raise CalibrationError(f"{len(names)} modalities; 1 to {MOST} can be fused")
    truth = np.asarray(same, bool)
    values = np.array([[np.nan if v is None else v for v in scores[name]] for name in names], np.float64).T
    if values.shape != (len(truth), len(names)):
        raise CalibrationError("every trial needs a score or an empty field of each modality, and its truth")
    if np.isinf(values).any():
        raise CalibrationError("scores are finite")
    weights: dict[tuple[str, ...], tuple[float, ...]] = {}
    for count in range(1, len(names) + 1):
        for chosen in combinations(range(len(names)), count):
            called = tuple(names[i] for i in chosen)
            complete = ~np.isnan(values[:, chosen]).any(axis=1)
            kinds = [int((complete & kind).sum()) for kind in (truth, ~truth)]
            if min(kinds) < LEAST_TRIALS * (count + 1):
                problem = f"{' and '.join(called)}: {kinds[0]} trials of one person and {kinds[1]} of two have scores"
                raise CalibrationError(problem, f"{LEAST_TRIALS * (count + 1)} of each are needed.")
            fitted = _regression(values[complete][:, chosen], truth[complete])
            if count == 1 and fitted[1] <= 0:
                problem = f"a higher score of {called[0]} does not speak for one person in these trials"
                raise CalibrationError(problem, "Is it a distance? Then give its negative.")
            weights[called] = fitted
    kinds = [int(truth.sum()), int((~truth).sum())]
    return LogisticFusion(names, weights, (kinds[0], kinds[1]), float(np.log(min(kinds))), data)


def load(path: Path) -> LogisticFusion:
    """The fusion of a file that `LogisticFusion.save` wrote. Raises FormatError for another one."""
    try:
        values = json.loads(files.read_text(path))
        if values["schema"] != SCHEMA:
            raise ValueError(f"its schema is {values['schema']!r}, not {SCHEMA}")
        names = tuple(str(name) for name in values["modalities"])
        weights = {tuple(map(str, row["of"])): tuple(map(float, row["weights"])) for row in values["weights"]}
        sets = {chosen for count in range(1, len(names) + 1) for chosen in combinations(names, count)}
        numbers = [number for row in weights.values() for number in row]
        if set(weights) != sets or any(len(row) != len(names) + 1 for names, row in weights.items()):
            raise ValueError("it lacks the weights of a set of modalities")
        bound, (one, two) = float(values["bound"]), values["trials"]
        if not all(map(isfinite, [*numbers, bound])) or bound <= 0:
            raise ValueError("its numbers are not finite")
        return LogisticFusion(names, weights, (int(one), int(two)), bound, str(values["data"]))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise FormatError(str(path), f"it is no fusion ({what})", "Make one: diarize calibrate --fusion.") from error


def read_trials(path: Path) -> tuple[dict[str, list[float | None]], list[bool]]:
    """(scores of each modality, truth) of a CSV file: a column `same` with 1 or 0, and one of scores a modality.

    An empty field is a missing score. Raises FormatError with the line.
    """
    reader = csv.DictReader(io.StringIO(files.read_text(path).lstrip("\ufeff")))
    names = [name for name in reader.fieldnames or () if name != "same"]
    if "same" not in (reader.fieldnames or ()) or not names:
        raise FormatError(str(path), "its first line must name a column `same` and one of scores a modality")
    scores: dict[str, list[float | None]] = {name: [] for name in names}
    same: list[bool] = []
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        if row["same"] not in ("0", "1"):
            raise FormatError(where, f"`same` is 0 or 1, not {row['same']!r}")
        same.append(row["same"] == "1")
        for name in names:
            try:
                scores[name].append(float(row[name]) if row[name] else None)
            except ValueError:
                raise FormatError(where, f"{name} is no number: {row[name]!r}") from None
    return scores, same


def vote(decisions: Mapping[str, bool | None], rule: Literal["and", "or"] | int) -> bool | None:
    """The decisions of single modalities as one; None (also of a missing modality): it is not decided.

    and: all accept. or: one accepts. k: k of them accept. A missing decision is never taken for a yes: the answer is
    None as long as it could still turn the result.
    """
    if not decisions:
        raise ConfigError("fusion", "decisions", "there is none")
    needed = len(decisions) if rule == "and" else 1 if rule == "or" else rule
    if not 1 <= needed <= len(decisions):
        raise ConfigError("fusion", "rule", f"{rule!r} is none of and, or, 1 to {len(decisions)}")
    yes = sum(each is True for each in decisions.values())
    unknown = sum(each is None for each in decisions.values())
    return True if yes >= needed else False if yes + unknown < needed else None


def concatenate(*features: object) -> None:
    """Raises ConfigError, always, with the reason."""
    raise ConfigError("fusion", "features", NO_FEATURES, "Fuse scores: logistic, weighted, or decisions.")


def is_same(llr: float, prior: float) -> bool:
    """The decision on a log-likelihood ratio at a prior, with equal costs."""
    return llr >= verification.bayes_threshold(prior)


def _present(scores: Mapping[str, float | None], useful: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    if unknown := [name for name in scores if name not in known]:
        raise ConfigError("fusion", unknown[0], "no such modality", f"Known: {', '.join(known)}.")
    if wrong := [name for name, value in scores.items() if value is not None and not isfinite(value)]:
        raise ConfigError("fusion", wrong[0], f"a score is a finite number, not {scores[wrong[0]]}")
    used = tuple(name for name in useful if scores.get(name) is not None)
    if not used:
        raise ConfigError("fusion", "scores", "no modality is there", f"Known: {', '.join(known)}.")
    return used


def _regression(values: Floats, truth: NDArray[np.bool_]) -> tuple[float, ...]:
    """Weights (1 + d) of a logistic regression by Newton's method, both kinds weighted equally.

    Minimises the mean of log(1 + exp(-f)) over one kind plus that of log(1 + exp(f)) over the other: Cllr.
    """
    center, scale = values.mean(axis=0), values.std(axis=0)
    if not (scale > 0).all():
        raise CalibrationError("all scores of a modality are equal")
    features = np.column_stack([np.ones(len(values)), (values - center) / scale])
    shares = np.where(truth, 1 / truth.sum(), 1 / (~truth).sum()) / 2
    weights = np.zeros(features.shape[1])
    for _ in range(_STEPS):
        probability = 1 / (1 + np.exp(-np.clip(features @ weights, -500, 500)))
        gradient = features.T @ (shares * (probability - truth)) + _RIDGE * weights
        curvature = features.T @ (features * (shares * probability * (1 - probability))[:, None])
        step = np.linalg.solve(curvature + _RIDGE * np.eye(len(weights)), gradient)
        weights -= step
        if np.abs(step).max() < 1e-10:
            break
    slopes = weights[1:] / scale
    return (float(weights[0] - slopes @ center), *map(float, slopes))

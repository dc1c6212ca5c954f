"""The method on recordings like those of the case: how well its likelihood ratios work (docs/method/evidence.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from diarize.config import Config
from diarize.errors import FormatError
from diarize.library.scoring import calibration as calibrations
from diarize.library.scoring.calibration import Calibration, Side, Trials
from diarize.library.scoring.conditions import line_of
from diarize.metrics import evidence, verification
from diarize.metrics.bootstrap import speaker_intervals
from diarize.metrics.verification import Floats
from diarize.models.store import Store
from pipelines.evidence import fitness
from pipelines.evidence.folder import Case, as_json
from pipelines.people import trials
from pipelines.people.scoring import Scoring
from pipelines.people.trials import ScoredTrials
from pipelines.people.utterance import OnUtterance, UtteranceEmbedder, UtteranceEmbedding, embed_files, load_embedder

SCHEMA = "diarize-case-validation/1"
DURATIONS = (0.0, 2.0, 5.0, 10.0, 20.0, 40.0, float("inf"))  # s of speech on the shorter side
RESAMPLES = 200
ODDS = tuple(round(-2.5 + 0.25 * k, 2) for k in range(21))  # log10 of prior odds at which ECE is given
_DIGITS = 6


def validate(
    case: Case,
    path: Path,
    folder: Path,
    config: Config,
    store: Store,
    scoring: Scoring,
    operator: str = "",
    on_utterance: OnUtterance = lambda name, done, total: None,
) -> tuple[Case, dict[str, Any]]:
    """(the case with one more validation, its record). Raises as `trials.score_trials`, and FormatError without LRs."""
    scored = trials.score_trials(path, folder, config, store, scoring, on_utterance)
    if scored.calibration is None or not np.isfinite(scored.llr).any():
        reason = next((reason for reason in scored.refusals if reason), "there is no calibration for these scores")
        raise FormatError(str(path), f"no trial has a likelihood ratio: {reason}", "Give --calibration.")
    table = tabulate(scored)
    summary = {**summarise(table), "calibration": scored.calibration.data}
    embedder = load_embedder(config, store)
    record = {**summary, "list": path.name, "identity": fitness.identify(embedder), "problems": dict(scored.problems)}
    contents: dict[str, str | bytes] = {
        "validation.json": as_json(record),
        "trials.json": as_json(table),
        "calibration.json": scored.calibration.as_json(),
    }
    detail = {"trials": len(scored.trials), "speakers": record["speakers"]}
    return case.record("validate", detail, contents, operator), record


def tabulate(scored: ScoredTrials) -> dict[str, Any]:
    """What `trials.json` holds: every trial, and the recordings by digest."""
    return {
        "schema": "diarize-case-trials/1",
        "model": next(iter(scored.utterances.values())).model,
        "scoring": scored.scorer.kind,
        "recordings": _recordings(scored.utterances),
        "trials": [
            {
                "a": trial.a,
                "b": trial.b,
                "speakers": list(speakers),
                "same": trial.same,
                **_ratio(score, llr, reason),
            }
            for trial, speakers, score, llr, reason in zip(
                scored.trials, scored.speakers, scored.scores, scored.llr, scored.refusals, strict=True
            )
        ],
    }


def tabulate_again(
    table: Mapping[str, Any], calibration: Calibration, folder: Path, embedder: UtteranceEmbedder
) -> tuple[dict[str, Any], dict[str, str]]:
    """(`trials.json` computed from the recordings in `folder`, recording -> why it has no voice).

    Raises FormatError where a recording is not there, CalibrationError for scores that need the user's cohort.
    """
    paths = trials.find_recordings(list(table["recordings"]), folder, "trials.json")
    utterances, problems = embed_files(paths, embedder, lambda name, done, total: None)
    rows = [row for row in table["trials"] if row["a"] in utterances and row["b"] in utterances]
    left, right = ([utterances[row[side]] for row in rows] for side in ("a", "b"))
    scorer = calibration.scorer()
    scores = scorer(np.stack([u.vector for u in left]), np.stack([u.vector for u in right]))
    llr, refusals = calibration.ratios(scores, [u.side for u in left], [u.side for u in right])
    values = zip(rows, scores, llr, refusals, strict=True)
    return {
        **table,
        "model": embedder.model,
        "scoring": scorer.kind,
        "recordings": _recordings(utterances),
        "trials": [{**row, **_ratio(score, ratio, reason)} for row, score, ratio, reason in values],
    }, problems


def _recordings(utterances: Mapping[str, UtteranceEmbedding]) -> dict[str, Any]:
    return {
        name: {"sha256": u.digest, "seconds": u.seconds, "bandwidth": u.bandwidth}
        for name, u in sorted(utterances.items())
    }


def _ratio(score: float, llr: float, reason: str | None) -> dict[str, Any]:
    return {
        "score": round(float(score), _DIGITS),
        "llr": None if np.isnan(llr) else round(float(llr), _DIGITS),
        "refused": reason or "",
    }


def summarise(table: Mapping[str, Any], resamples: int = RESAMPLES) -> dict[str, Any]:
    """All figures of a table of trials; needs no model, so that they can be computed again from it."""
    fitted = as_trials(table)
    rows = table["trials"]
    llr = np.array([np.nan if row["llr"] is None else row["llr"] for row in rows], np.float64)
    valid = np.isfinite(llr)
    chosen = np.flatnonzero(valid)
    same, different = llr[valid & fitted.same], llr[valid & ~fitted.same]
    speakers = sorted({name for i in chosen for name in fitted.speakers[i]})
    pairs = {frozenset(fitted.speakers[i]) for i in chosen if not fitted.same[i]}
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "model": table["model"],
        "scoring": table["scoring"],
        "speakers": len(speakers),
        "pairs": len(pairs),
        "recordings": len({name for i in chosen for name in (rows[i]["a"], rows[i]["b"])}),
        "trials": {"same": len(same), "different": len(different)},
        "refused": int((~valid).sum()),
        "few": len(speakers) < evidence.FEW_SPEAKERS,
        "zero_means_up_to": {
            "same": _rounded(evidence.rule_of_three(len(speakers))),
            "different": _rounded(evidence.rule_of_three(len(pairs))),
        },
    }
    if not len(same) or not len(different):
        return {
            **record,
            "measures": None,
            "misleading": None,
            "supported": None,
            "ece": None,
            "by_duration": [],
            "by_condition": [],
        }
    names = [fitted.speakers[i][0] for i in chosen if fitted.same[i]]
    others = [fitted.speakers[i] for i in chosen if not fitted.same[i]]
    intervals = speaker_intervals(same, different, (names, others), measures, resamples)
    curves = evidence.ece_curves(same, different, ODDS)
    record["measures"] = {name: _interval(asdict(value)) for name, value in intervals.items()}
    record["misleading"] = {key: _rounded(value) for key, value in asdict(evidence.misleading(same, different)).items()}
    record["ece"] = {"odds": list(ODDS), "lr": _list(curves[0]), "best": _list(curves[1]), "none": _list(curves[2])}
    # Bounds of the LRs that these trials support, as log10 (Vergeer et al. 2016).
    bounds = calibrations.supported(same, different, len(pairs))
    record["supported"] = [_rounded(bound / np.log(10)) for bound in bounds]
    record["cross_validated"] = _cross_validated(fitted, chosen)
    record["by_duration"] = _by_duration(fitted, llr)
    record["by_condition"] = _by_condition(fitted, llr)
    return record


def measures(same: Floats, different: Floats) -> dict[str, float]:
    """The figures that get an interval over speakers."""
    wrong = evidence.misleading(same, different)
    best = verification.cllr_min(same, different)
    value = verification.cllr(same, different)
    return {
        "cllr": value,
        "cllr_min": best,
        "cllr_cal": value - best,
        "eer": verification.equal_error(same, different)[0],
        "misleading_same": wrong.same,
        "misleading_different": wrong.different,
    }


def as_trials(table: Mapping[str, Any]) -> Trials:
    """The trials of a `trials.json`."""
    sides = {name: Side(row["seconds"], row["bandwidth"]) for name, row in table["recordings"].items()}
    rows = table["trials"]
    return Trials(
        np.array([row["score"] for row in rows], np.float64),
        np.array([row["same"] for row in rows], np.bool_),
        tuple((str(row["speakers"][0]), str(row["speakers"][1])) for row in rows),
        tuple((sides[row["a"]], sides[row["b"]]) for row in rows),
    )


def newest(case: Case, model: str, scoring: str) -> Trials | None:
    """The trials of the newest validation with this embedder and way of scoring; None where there is none."""
    for act in reversed(case.of("validate")):
        table = case.read_json(act, "trials.json")
        if (table["model"], table["scoring"]) == (model, scoring):
            trials_ = as_trials(table)
            valid = [i for i, row in enumerate(table["trials"]) if row["llr"] is not None]
            if trials_.same[valid].any() and not trials_.same[valid].all():
                return _of(trials_, valid)
    return None


def _of(fitted: Trials, rows: Sequence[int]) -> Trials:
    names, sides = tuple(fitted.speakers[i] for i in rows), tuple(fitted.sides[i] for i in rows)
    return Trials(fitted.scores[rows], fitted.same[rows], names, sides)


def _cross_validated(fitted: Trials, chosen: Any) -> dict[str, float] | None:
    """Figures of LRs calibrated on the other speakers of these trials: what such a calibration would give."""
    own = _of(fitted, [int(i) for i in chosen])
    if len({name for pair in own.speakers for name in pair}) < calibrations.FOLDS:
        return None
    ratios = calibrations.cross_validated(own)
    valid = np.isfinite(ratios)
    same, different = ratios[valid & own.same], ratios[valid & ~own.same]
    if not len(same) or not len(different):
        return None
    return {name: _rounded(value) for name, value in measures(same, different).items()}


def _by_duration(fitted: Trials, llr: Floats) -> list[dict[str, Any]]:
    """Figures and the middle LR (log10) by the seconds of speech on the shorter side."""
    shorter = np.array([min(a.seconds, b.seconds) for a, b in fitted.sides])
    rows = []
    for low, high in pairwise(DURATIONS):
        row = _figures(fitted, llr, (shorter >= low) & (shorter < high))
        rows.append({"from": low, "to": None if high == float("inf") else high, **row})
    return [row for row in rows if row["same"] or row["different"]]


def _by_condition(fitted: Trials, llr: Floats) -> list[dict[str, Any]]:
    sides = [tuple(sorted(line_of(side.bandwidth or 8000.0) for side in pair)) for pair in fitted.sides]
    rows = []
    for name in sorted(set(sides)):
        inside = np.array([side == name for side in sides])
        rows.append({"conditions": list(name), **_figures(fitted, llr, inside)})
    return rows


def _figures(fitted: Trials, llr: Floats, inside: Any) -> dict[str, Any]:
    valid = np.isfinite(llr) & inside
    same, different = llr[valid & fitted.same], llr[valid & ~fitted.same]
    row: dict[str, Any] = {"same": len(same), "different": len(different), "cllr": None, "cllr_min": None, "eer": None}
    if len(same) and len(different):
        row |= {name: _rounded(value) for name, value in measures(same, different).items() if name in row}
    for name, values in (("middle_same", same), ("middle_different", different)):
        row[name] = _rounded(float(np.median(values)) / np.log(10)) if len(values) else None
    return row


def _interval(values: Mapping[str, float]) -> dict[str, float | None]:
    return {key: _rounded(value) if np.isfinite(value) else None for key, value in values.items()}


def _list(values: Floats) -> list[float]:
    return [_rounded(value) for value in values.tolist()]


def _rounded(value: float) -> float:
    return round(float(value), _DIGITS)

"""Trial lists (which pairs of utterances are of one speaker): scores, metrics, and calibrations fitted on them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize import files
from diarize.config import Config
from diarize.errors import CalibrationError, ConfigError, FormatError
from diarize.formats.csv import guard
from diarize.library.scoring import calibration as calibrations
from diarize.library.scoring.calibration import Calibration
from diarize.library.scoring.scores import Scorer
from diarize.metrics import verification
from diarize.metrics.bootstrap import ConfidenceInterval, Statistics, speaker_intervals
from diarize.metrics.verification import Floats
from diarize.models.store import Store
from diarize.text import counted, split_fields, split_lines
from pipelines.inputs import recordings
from pipelines.inputs.recordings import RecordingMatcher
from pipelines.people import plots
from pipelines.people.scoring import DEFAULT, Scoring
from pipelines.people.utterance import OnUtterance, UtteranceEmbedding, embed_files, load_embedder
from pipelines.results import outputs

EVEN = 0.5  # prior of the working threshold, where none was asked for
PRIORS = (0.5, 0.05, 0.01)  # that costs are stated for
DURATIONS = (0.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, float("inf"))  # s of speech on the shorter side: rows of the table
RESAMPLES = 200
_TRUTH = {"1": True, "same": True, "target": True, "0": False, "different": False, "nontarget": False}
_SHOWN = 5  # names that an error message lists


@dataclass(frozen=True, slots=True)
class Trial:
    same: bool
    a: str  # as the list names it
    b: str
    line: int


@dataclass(frozen=True, slots=True, eq=False)
class ScoredTrials:
    """Trials with their scores. `llr` is NaN without a calibration, and where it does not apply (`refusals`)."""

    trials: tuple[Trial, ...]
    utterances: Mapping[str, UtteranceEmbedding]
    speakers: tuple[tuple[str, str], ...]
    scores: Floats
    llr: Floats
    refusals: tuple[str | None, ...]
    problems: Mapping[str, str]  # utterance -> why it has no voice; its trials are left out
    scorer: Scorer
    calibration: Calibration | None
    prior: float  # of one speaker, for the working threshold
    notes: tuple[str, ...]

    @property
    def same(self) -> NDArray[np.bool_]:
        return np.array([trial.same for trial in self.trials], bool)

    def for_fit(self) -> calibrations.Trials:
        sides = tuple((self.utterances[t.a].side, self.utterances[t.b].side) for t in self.trials)
        return calibrations.Trials(self.scores, self.same, self.speakers, sides)


def read(path: Path) -> tuple[Trial, ...]:
    """Trials of a list: a line `1|0 A B` (or same|different, target|nontarget), separated by spaces, or tabs where
    names have spaces. Empty lines and lines that begin with # do not count. Raises FormatError, with the line."""
    trials = []
    for number, line in enumerate(split_lines(files.read_text(path)), 1):
        line = line.lstrip("\ufeff")  # of lists that were joined
        if not line.strip() or line.startswith("#"):
            continue
        cells = [cell.strip() for cell in line.split("\t")] if "\t" in line else split_fields(line)
        if len(cells) != 3 or cells[0].lower() not in _TRUTH or not all(cells):
            cure = "Use tabs where names have spaces." if len(cells) > 3 else ""
            raise FormatError(f"{path}: line {number}", "a trial is written `1 A B` or `0 A B`", cure)
        trials.append(Trial(_TRUTH[cells[0].lower()], cells[1], cells[2], number))
    if not trials:
        raise FormatError(str(path), "holds no trials")
    return tuple(trials)


def infer_speakers(trials: Sequence[Trial], where: str = "trials") -> dict[str, str]:
    """Utterance -> speaker, a speaker being called after the first utterance of theirs: trials of one speaker join
    their utterances. Raises FormatError where that contradicts a trial of two speakers."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for trial in trials:
        a, b = root(trial.a), root(trial.b)
        if trial.same and a != b:
            parent[b] = a
    for trial in trials:
        if not trial.same and root(trial.a) == root(trial.b):
            problem = f"{trial.a} and {trial.b} are two speakers here, and one by the other trials"
            raise FormatError(f"{where}: line {trial.line}", problem)
    return {name: root(name) for name in parent}


def find_recordings(names: Sequence[str], folder: Path, where: str) -> dict[str, Path]:
    """Name -> recording in `folder` (`recordings.names_of` lists the names that it may have).

    Raises ConfigError where there is no such folder, FormatError where names are no recordings there, or are several.
    """
    if not folder.is_dir():
        raise ConfigError("--audio", str(folder), "is not a folder")
    inputs = recordings.find([folder]).inputs
    matcher = RecordingMatcher(inputs)
    matches = {name: matcher.match(name) for name in names}
    if unknown := [name for name in names if not matches[name]]:
        shown = ", ".join(unknown[:_SHOWN]) + (", ..." if len(unknown) > _SHOWN else "")
        names_ = f"{len(unknown)} of {counted(len(names), 'name')}"
        problem = f"{names_} {'is no recording' if len(unknown) == 1 else 'are no recordings'} in {folder}: {shown}"
        raise FormatError(where, problem, "Names are those of the files, with or without suffix.")
    if several := [name for name in names if len(matches[name]) > 1]:
        problem = f"{several[0]} is the name of {len(matches[several[0]])} recordings"
        raise FormatError(where, problem, "Write its folder.")
    return {name: inputs[matches[name][0]].path for name in names}


def score_trials(
    path: Path,
    folder: Path,
    config: Config,
    store: Store,
    scoring: Scoring = DEFAULT,
    on_utterance: OnUtterance = lambda name, done, total: None,
) -> ScoredTrials:
    """Every trial of the list at `path`, scored; its recordings are in `folder`.

    Raises FormatError, ConfigError, CalibrationError, BackendError and ModelError. A trial with a recording without
    speech is left out.
    """
    # The list and the options are checked first, as computing the voices takes long.
    listed = read(path)
    speakers = infer_speakers(listed, str(path))
    paths = find_recordings(list(speakers), folder, str(path))
    if len({trial.same for trial in listed}) < 2:
        raise FormatError(str(path), "trials of one speaker and of two are needed")
    embedder = load_embedder(config, store, scoring.prepare)
    scorer, calibration = scoring.load(embedder, on_utterance)
    utterances, problems = embed_files(paths, embedder, on_utterance)

    # Only trials with a voice on both sides are scored.
    trials = tuple(trial for trial in listed if trial.a in utterances and trial.b in utterances)
    if not any(trial.same for trial in trials) or all(trial.same for trial in trials):
        raise FormatError(str(path), "no trials of both kinds are left", next(iter(problems.values()), ""))
    left, right = [utterances[t.a] for t in trials], [utterances[t.b] for t in trials]
    scores = scorer(np.stack([u.vector for u in left]), np.stack([u.vector for u in right]))
    refusals: tuple[str | None, ...] = (None,) * len(trials)
    llr = np.full(len(trials), np.nan)
    if calibration is not None:
        llr, refusals = calibration.ratios(scores, [u.side for u in left], [u.side for u in right])
    return ScoredTrials(
        trials=trials,
        utterances=utterances,
        speakers=tuple((speakers[t.a], speakers[t.b]) for t in trials),
        scores=scores,
        llr=llr,
        refusals=refusals,
        problems=problems,
        scorer=scorer,
        calibration=calibration,
        prior=EVEN if scoring.prior is None else scoring.prior,
        notes=embedder.notes,
    )


def summarise(scored: ScoredTrials, resamples: int = RESAMPLES) -> dict[str, Any]:
    """All metrics, with 95 % intervals over speakers, and figures by duration. Plain data, ready for JSON."""
    same, pairs = scored.same, np.array(scored.speakers)

    def measure(values: Floats, statistics: Statistics) -> dict[str, Any] | None:
        valid = np.isfinite(values)
        if not (valid & same).any() or not (valid & ~same).any():
            return None
        speakers = pairs[valid & same][:, 0].tolist(), [(str(a), str(b)) for a, b in pairs[valid & ~same]]
        intervals = speaker_intervals(values[valid & same], values[valid & ~same], speakers, statistics, resamples)
        return {name: _rounded(interval) for name, interval in intervals.items()}

    return {
        "schema": "diarize-scores/1",
        "model": next(iter(scored.utterances.values())).model,
        "scoring": scored.scorer.kind,
        "calibration": None if scored.calibration is None else scored.calibration.data,
        "trials": {"same": int(same.sum()), "different": int((~same).sum())},
        "speakers": len({name for pair in scored.speakers for name in pair}),
        "refused": sum(reason is not None for reason in scored.refusals),
        "left_out": dict(scored.problems),
        "prior": scored.prior,
        "threshold": round(verification.bayes_threshold(scored.prior), 6),
        "score": measure(scored.scores, score_metrics),
        "llr": measure(scored.llr, lambda a, b: score_metrics(a, b) | llr_metrics(a, b, scored.prior)),
        "by_duration": duration_metrics(scored),
        "notes": list(scored.notes),
    }


def score_metrics(same: Floats, different: Floats) -> dict[str, float]:
    """Of any scores: EER and its threshold, the lowest cost at each of the `PRIORS`, Cllr_min."""
    rate, threshold = verification.equal_error(same, different)
    costs = {f"min_dcf({prior:g})": verification.min_dcf(same, different, prior)[0] for prior in PRIORS}
    return {"eer": rate, "eer_threshold": threshold, **costs, "cllr_min": verification.cllr_min(same, different)}


def llr_metrics(same: Floats, different: Floats, prior: float) -> dict[str, float]:
    """Of log-likelihood ratios: Cllr, the cost at each of the `PRIORS`, errors at the working threshold."""
    miss, false_alarm = verification.errors_at(same, different, verification.bayes_threshold(prior))
    costs = {f"act_dcf({p:g})": verification.actual_dcf(same, different, p) for p in PRIORS}
    return {"cllr": verification.cllr(same, different), **costs, "frr": miss, "far": false_alarm}


def duration_metrics(scored: ScoredTrials) -> list[dict[str, Any]]:
    """EER and Cllr by the seconds of speech on the shorter side of a trial, a row for each range of `DURATIONS`."""
    shorter = np.array([min(scored.utterances[t.a].seconds, scored.utterances[t.b].seconds) for t in scored.trials])
    rows = []
    for low, high in pairwise(DURATIONS):
        inside = (shorter >= low) & (shorter < high)
        same, different = (scored.scores[inside & kind] for kind in (scored.same, ~scored.same))
        row: dict[str, Any] = {"from": low, "to": None if high == float("inf") else high}
        row |= {"same": len(same), "different": len(different)}
        if len(same) and len(different):
            row["eer"] = round(verification.equal_error(same, different)[0], 5)
            ratios = [scored.llr[inside & kind & np.isfinite(scored.llr)] for kind in (scored.same, ~scored.same)]
            if all(len(values) for values in ratios):
                row |= {
                    "cllr": round(verification.cllr(*ratios), 5),
                    "cllr_min": round(verification.cllr_min(*ratios), 5),
                }
        rows.append(row)
    return rows


def write(out: Path, scored: ScoredTrials, summary: Mapping[str, Any]) -> None:
    """`scores.csv`, `det.png`, `tippett.png` (with a calibration) and, last, `summary.json`. Raises OutputError and
    MissingExtra."""
    outputs.make_folder(out)
    same = scored.same
    values = scored.llr if scored.calibration is not None and summary["llr"] is not None else scored.scores
    valid = np.isfinite(values)
    same_values, different_values = values[valid & same], values[valid & ~same]
    title = f"{len(same_values):,} trials of one speaker, {len(different_values):,} of two"
    files.write(out / "scores.csv", as_csv(scored))
    plots.det(out / "det.png", same_values, different_values, title)
    if values is scored.llr:
        plots.tippett(out / "tippett.png", same_values, different_values, title)
    files.write(out / "summary.json", outputs.as_json(summary))


def as_csv(scored: ScoredTrials) -> str:
    """A row a trial. `llr` is empty without a calibration, and where it does not apply: `refused` says why."""
    sheet = io.StringIO()
    writer = csv.writer(sheet)
    writer.writerow(("truth", "a", "b", "score", "llr", "seconds_a", "seconds_b", "refused"))
    for trial, value, ratio, reason in zip(scored.trials, scored.scores, scored.llr, scored.refusals, strict=True):
        seconds = [f"{scored.utterances[name].seconds:.3f}" for name in (trial.a, trial.b)]
        shown = "" if np.isnan(ratio) else f"{ratio:.6f}"
        truth = "same" if trial.same else "different"
        writer.writerow((truth, guard(trial.a), guard(trial.b), f"{value:.6f}", shown, *seconds, reason or ""))
    return sheet.getvalue()


def calibrate(scored: ScoredTrials, data: str) -> tuple[Calibration, dict[str, float]]:
    """(a calibration fitted on all scored trials, `cllr` and `cllr_min` by cross-validation over speakers).

    Raises CalibrationError where the trials do not suffice for one.
    """
    trials = scored.for_fit()
    calibration = calibrations.fit(trials, next(iter(scored.utterances.values())).model, scored.scorer, data)
    ratios = calibrations.cross_validated(trials)
    valid = np.isfinite(ratios)
    same, different = ratios[valid & trials.same], ratios[valid & ~trials.same]
    if not len(same) or not len(different):
        raise CalibrationError("too few speakers to test it on others", "Give trials of more speakers.")
    return calibration, {"cllr": verification.cllr(same, different), "cllr_min": verification.cllr_min(same, different)}


def _rounded(interval: ConfidenceInterval) -> dict[str, float | None]:
    return {name: round(value, 6) if np.isfinite(value) else None for name, value in asdict(interval).items()}

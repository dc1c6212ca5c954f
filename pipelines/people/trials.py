"""Trial lists: which pairs of utterances are of one speaker, scored, judged and learned from."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize import files
from diarize.config import Config
from diarize.errors import AudioError, CalibrationError, ConfigError, FormatError
from diarize.formats.csv import guard
from diarize.library.scoring import calibration as calibrations
from diarize.library.scoring import scores as scoring
from diarize.library.scoring.calibration import Calibration
from diarize.library.scoring.scores import Scorer
from diarize.metrics import verification
from diarize.metrics.verification import ConfidenceInterval, Floats
from diarize.models.store import Store
from diarize.text import counted
from pipelines.inputs import recordings
from pipelines.people import plots
from pipelines.people.utterance import Ears, Utterance, ears
from pipelines.results import outputs

PRIORS = (0.5, 0.05, 0.01)  # that costs are stated for
DURATIONS = (0.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, float("inf"))  # s of speech on the shorter side: rows of the table
RESAMPLES = 200
_TRUTH = {"1": True, "same": True, "target": True, "0": False, "different": False, "nontarget": False}
_SHOWN = 5  # names that an error message lists

Watch = Callable[[str, int, int], None]  # told (utterance, how many are heard, how many there are)


@dataclass(frozen=True, slots=True)
class Trial:
    same: bool
    a: str  # as the list names it
    b: str
    line: int


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Trials with their scores. `llr` is NaN where there is no calibration, or where it refuses (`refusals`)."""

    trials: tuple[Trial, ...]
    heard: Mapping[str, Utterance]
    speakers: tuple[tuple[str, str], ...]
    scores: Floats
    llr: Floats
    refusals: tuple[str | None, ...]
    problems: Mapping[str, str]  # utterance -> why it could not be heard; its trials are left out
    scorer: Scorer
    calibration: Calibration | None
    notes: tuple[str, ...]

    @property
    def same(self) -> NDArray[np.bool_]:
        return np.array([trial.same for trial in self.trials], bool)

    def for_fit(self) -> calibrations.Trials:
        sides = tuple((self.heard[t.a].side, self.heard[t.b].side) for t in self.trials)
        return calibrations.Trials(self.scores, self.same, self.speakers, sides)


def read(path: Path) -> tuple[Trial, ...]:
    """Trials of a list: a line `1|0 A B` (or same|different, target|nontarget), separated by spaces, or tabs where
    names have spaces. Empty lines and lines that begin with # do not count. Raises FormatError, with the line."""
    found = []
    for number, line in enumerate(files.read_text(path).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = [cell.strip() for cell in line.split("\t")] if "\t" in line else line.split()
        if len(cells) != 3 or cells[0].lower() not in _TRUTH or not all(cells):
            cure = "Use tabs where names have spaces." if len(cells) > 3 else ""
            raise FormatError(f"{path}: line {number}", "a trial is written `1 A B` or `0 A B`", cure)
        found.append(Trial(_TRUTH[cells[0].lower()], cells[1], cells[2], number))
    if not found:
        raise FormatError(str(path), "holds no trials")
    return tuple(found)


def speakers(trials: Sequence[Trial], where: str = "trials") -> dict[str, str]:
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


def resolve(names: Sequence[str], folder: Path, where: str) -> dict[str, Path]:
    """Name -> recording in `folder` with that name or relative path, with or without suffix.

    Raises ConfigError where there is no such folder, FormatError where names are no recordings there, or are several.
    """
    if not folder.is_dir():
        raise ConfigError("--audio", str(folder), "is no folder")
    known: dict[str, set[Path]] = defaultdict(set)
    for item in recordings.find([folder]).inputs:
        path = PurePath(item.name)
        for name in {item.name, str(path.with_suffix("")), path.name, path.stem}:
            known[name].add(item.path)
    if unknown := [name for name in names if name not in known]:
        shown = ", ".join(unknown[:_SHOWN]) + (", ..." if len(unknown) > _SHOWN else "")
        told = f"{len(unknown)} of {counted(len(names), 'name')}"
        problem = f"{told} {'is no recording' if len(unknown) == 1 else 'are no recordings'} in {folder}: {shown}"
        raise FormatError(where, problem, "Names are those of the files, with or without suffix.")
    if several := [name for name in names if len(known[name]) > 1]:
        raise FormatError(
            where, f"{several[0]} is the name of {len(known[several[0]])} recordings", "Write its folder."
        )
    return {name: next(iter(known[name])) for name in names}


def listen(wanted: Mapping[str, Path], hear: Ears, watch: Watch) -> tuple[dict[str, Utterance], dict[str, str]]:
    """(name -> voice, name -> why there is none); each recording is heard once."""
    heard: dict[str, Utterance] = {}
    problems: dict[str, str] = {}
    for done, (name, path) in enumerate(wanted.items(), 1):
        try:
            heard[name] = hear(path)
        except AudioError as error:
            problems[name] = error.problem
        watch(name, done, len(wanted))
    return heard, problems


def scorer_for(model: str, cohort: Path | None, way: str | None, hear: Ears, watch: Watch) -> Scorer:
    """The way of scoring that is asked for. `way`: cosine, centred, s-norm, or None for the best there is: centred by
    the user's cohort (a folder, one recording a person), else as the shipped calibration of `model` does, else cosine.
    """
    if way not in (None, "cosine", "centred", "s-norm"):
        raise ConfigError("--scoring", str(way), "is none of cosine, centred, s-norm")
    if way == "cosine":
        return scoring.Cosine()
    if cohort is None:
        shipped = calibrations.shipped(model)
        if way == "s-norm" or (way == "centred" and shipped is None):
            raise ConfigError("--scoring", way, "needs voices of other people", "Give their folder with --cohort.")
        return shipped.scorer() if shipped is not None else scoring.Cosine()
    found = recordings.find([cohort]).inputs
    voices, _ = listen({item.name: item.path for item in found}, hear, watch)
    if len(voices) < 2:
        raise ConfigError(
            "--cohort", str(cohort), f"{counted(len(voices), 'recording')} with speech, at least two are needed"
        )
    vectors = np.stack([voices[name].vector for name in sorted(voices)])
    return scoring.SNorm(vectors) if way == "s-norm" else scoring.centred(vectors)


def score_list(
    trials: Path,
    folder: Path,
    config: Config,
    store: Store,
    *,
    calibration: Path | None = None,
    cohort: Path | None = None,
    way: str | None = None,
    calibrated: bool = True,
    watch: Watch = lambda name, done, total: None,
) -> Scored:
    """Every trial of a list, scored. `calibration` None takes the shipped one, where it fits; `calibrated` False, none.

    Raises FormatError, ConfigError, CalibrationError, BackendError and ModelError; a recording without speech only
    costs its trials.
    """
    listed = read(trials)
    who = speakers(listed, str(trials))
    wanted = resolve(list(who), folder, str(trials))
    if len({trial.same for trial in listed}) < 2:
        raise FormatError(str(trials), "trials of one speaker and of two are needed")
    given = calibrations.load(calibration) if calibration is not None else None
    hear = ears(config, store)
    model = hear.embed.name
    asks = cohort is not None or way is not None
    scorer = given.scorer() if given and not asks else scorer_for(model, cohort, way, hear, watch)
    chosen = given if given is not None else calibrations.shipped(model) if calibrated else None
    if given is not None:
        given.meets(model, scorer.kind)
    elif chosen is not None and chosen.kind != scorer.kind:
        chosen = None
    heard, problems = listen(wanted, hear, watch)  # the long part: what can be refused without it was
    kept = tuple(trial for trial in listed if trial.a in heard and trial.b in heard)
    if not any(trial.same for trial in kept) or all(trial.same for trial in kept):
        raise FormatError(str(trials), "no trials of both kinds are left", next(iter(problems.values()), ""))
    left, right = [heard[t.a] for t in kept], [heard[t.b] for t in kept]
    scores = scorer(np.stack([u.vector for u in left]), np.stack([u.vector for u in right]))
    refusals: tuple[str | None, ...] = (None,) * len(kept)
    ratios = np.full(len(kept), np.nan)
    if chosen is not None:
        refusals = tuple(chosen.refusal(a.side, b.side) for a, b in zip(left, right, strict=True))
        found = chosen.llr(scores, [u.seconds for u in left], [u.seconds for u in right])
        ratios = np.where([reason is None for reason in refusals], found, np.nan)
    pairs = tuple((who[t.a], who[t.b]) for t in kept)
    return Scored(kept, heard, pairs, scores, ratios, refusals, problems, scorer, chosen, hear.notes)


def check_prior(prior: float) -> None:
    """Raises ConfigError for a probability that is not in (0, 1)."""
    if not 0 < prior < 1:
        raise ConfigError("--prior", str(prior), "a prior lies between 0 and 1")


def summary(scored: Scored, prior: float = 0.5, resamples: int = RESAMPLES) -> dict[str, Any]:
    """All metrics, with 95 % intervals over speakers, and figures by duration. Plain data, ready for JSON.

    `prior` is that of one speaker, for the working threshold. Raises ConfigError for one that is not in (0, 1).
    """
    check_prior(prior)
    same, pairs = scored.same, np.array(scored.speakers)

    def judged(values: Floats, statistics: verification.Statistics) -> dict[str, Any] | None:
        there = np.isfinite(values)
        if not (there & same).any() or not (there & ~same).any():
            return None
        who = pairs[there & same][:, 0].tolist(), [(str(a), str(b)) for a, b in pairs[there & ~same]]
        found = verification.bootstrap(values[there & same], values[there & ~same], who, statistics, resamples)
        return {name: _rounded(interval) for name, interval in found.items()}

    return {
        "schema": "diarize-scores/1",
        "model": next(iter(scored.heard.values())).model,
        "scoring": scored.scorer.kind,
        "calibration": None if scored.calibration is None else scored.calibration.data,
        "trials": {"same": int(same.sum()), "different": int((~same).sum())},
        "speakers": len({name for pair in scored.speakers for name in pair}),
        "refused": sum(reason is not None for reason in scored.refusals),
        "left_out": dict(scored.problems),
        "prior": prior,
        "threshold": round(verification.bayes_threshold(prior), 6),
        "score": judged(scored.scores, plain),
        "llr": judged(scored.llr, lambda a, b: plain(a, b) | calibrated(a, b, prior)),
        "by_duration": by_duration(scored),
        "notes": list(scored.notes),
    }


def plain(same: Floats, different: Floats) -> dict[str, float]:
    """What any scores have: EER and its threshold, the lowest cost at each of the `PRIORS`, Cllr_min."""
    rate, threshold = verification.equal_error(same, different)
    costs = {f"min_dcf({prior:g})": verification.min_dcf(same, different, prior)[0] for prior in PRIORS}
    return {"eer": rate, "eer_threshold": threshold, **costs, "cllr_min": verification.cllr_min(same, different)}


def calibrated(same: Floats, different: Floats, prior: float) -> dict[str, float]:
    """What log-likelihood ratios have: Cllr, the cost at each of the `PRIORS`, errors at the working threshold."""
    miss, false_alarm = verification.errors_at(same, different, verification.bayes_threshold(prior))
    costs = {f"act_dcf({p:g})": verification.actual_dcf(same, different, p) for p in PRIORS}
    return {"cllr": verification.cllr(same, different), **costs, "frr": miss, "far": false_alarm}


def by_duration(scored: Scored) -> list[dict[str, Any]]:
    """Figures of the trials whose shorter side has so many seconds of speech."""
    shorter = np.array([min(scored.heard[t.a].seconds, scored.heard[t.b].seconds) for t in scored.trials])
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


def write(out: Path, scored: Scored, found: Mapping[str, Any]) -> None:
    """`scores.csv`, `det.png`, `tippett.png` (with a calibration) and, last, `summary.json`. Raises OutputError and
    MissingExtra."""
    outputs.make(out)
    same = scored.same
    values = scored.llr if scored.calibration is not None and found["llr"] is not None else scored.scores
    there = np.isfinite(values)
    right, wrong = values[there & same], values[there & ~same]
    title = f"{len(right):,} trials of one speaker, {len(wrong):,} of two"
    files.write(out / "scores.csv", table(scored))
    plots.det(out / "det.png", right, wrong, title)
    if values is scored.llr:
        plots.tippett(out / "tippett.png", right, wrong, title)
    files.write(out / "summary.json", outputs.as_json(found))


def table(scored: Scored) -> str:
    """CSV: a row a trial. Empty `llr`: no calibration, or refused for the reason given."""
    sheet = io.StringIO()
    writer = csv.writer(sheet)
    writer.writerow(("truth", "a", "b", "score", "llr", "seconds_a", "seconds_b", "refused"))
    for trial, value, ratio, reason in zip(scored.trials, scored.scores, scored.llr, scored.refusals, strict=True):
        seconds = [f"{scored.heard[name].seconds:.3f}" for name in (trial.a, trial.b)]
        shown = "" if np.isnan(ratio) else f"{ratio:.6f}"
        truth = "same" if trial.same else "different"
        writer.writerow((truth, guard(trial.a), guard(trial.b), f"{value:.6f}", shown, *seconds, reason or ""))
    return sheet.getvalue()


def calibrate(scored: Scored, data: str) -> tuple[Calibration, dict[str, float]]:
    """(a calibration fitted on all scored trials, `cllr` and `cllr_min` by cross-validation over speakers).

    Raises CalibrationError where the trials cannot teach one.
    """
    trials = scored.for_fit()
    made = calibrations.fit(trials, next(iter(scored.heard.values())).model, scored.scorer, data)
    ratios = calibrations.cross_validated(trials)
    there = np.isfinite(ratios)
    same, different = ratios[there & trials.same], ratios[there & ~trials.same]
    if not len(same) or not len(different):
        raise CalibrationError("too few speakers to test it on others", "Give trials of more speakers.")
    return made, {"cllr": verification.cllr(same, different), "cllr_min": verification.cllr_min(same, different)}


def _rounded(interval: ConfidenceInterval) -> dict[str, float | None]:
    return {name: round(value, 6) if np.isfinite(value) else None for name, value in asdict(interval).items()}

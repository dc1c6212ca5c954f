"""Scores to log-likelihood ratios: the fit, its bounds, its refusals, its file."""

from __future__ import annotations

import json
from dataclasses import replace
from math import exp, log
from pathlib import Path

import numpy as np
import pytest

from diarize.errors import CalibrationError, FormatError, OutputError
from diarize.library.scoring import calibration, scores
from diarize.library.scoring.calibration import Calibration, Side, Trials
from diarize.library.scoring.conditions import Condition
from diarize.metrics import verification

SIDE = Side(3.0, 8000.0)


def trials(n: int = 4000, seed: int = 0, speakers: int = 40, share: float = 0.2) -> Trials:
    """Scores whose true LLR is known: normal, of deviation 0.1, means 0.8 and 0.6, so that LLR = 20 score - 14."""
    rng = np.random.default_rng(seed)
    same = rng.random(n) < share
    pairs = []
    for truth in same:
        a, b = rng.choice(speakers, 2, replace=False)
        pairs.append((f"s{a:02}", f"s{a if truth else b:02}"))
    seconds = rng.uniform(2, 20, (n, 2)).round(3)
    sides = tuple((Side(float(a), 8000.0), Side(float(b), 4000.0)) for a, b in seconds)
    return Trials(rng.normal(np.where(same, 0.8, 0.6), 0.1), same, tuple(pairs), sides)


@pytest.fixture(scope="module")
def made() -> Calibration:
    return calibration.fit(trials(), "toy@1", scores.Cosine(), "normal scores")


def test_the_fit_finds_the_true_ratios(made: Calibration) -> None:
    assert made.weights[1] == pytest.approx(20, rel=0.1)
    assert made.unbounded([0.7, 0.8], 10.0, 10.0) == pytest.approx([0, 2], abs=0.3)
    fresh = trials(seed=1)
    a, b = ([pair[i].seconds for pair in fresh.sides] for i in (0, 1))
    ratios = made.llr(fresh.scores, a, b)
    same, different = ratios[fresh.same], ratios[~fresh.same]
    assert verification.cllr(same, different) < 1.05 * verification.cllr_min(same, different)


def test_the_regression_is_that_of_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    found = trials(500)
    features = np.stack([np.ones(500), found.scores], axis=1)
    theirs = LogisticRegression(C=1e9, class_weight="balanced", tol=1e-10, max_iter=1000)
    theirs.fit(features[:, 1:], found.same)
    ours = calibration.regression(features, found.same)
    assert ours == pytest.approx([theirs.intercept_[0], theirs.coef_[0, 0]], rel=1e-2)


def test_duration_counts_where_it_matters() -> None:
    """Short speech scores lower here; without the covariate its ratios would be too low."""
    rng = np.random.default_rng(2)
    base = trials(6000)
    seconds = rng.choice([2.0, 20.0], 6000)
    sides = tuple((Side(float(s), 8000.0), Side(float(s), 8000.0)) for s in seconds)
    shifted = Trials(base.scores - 0.3 / seconds, base.same, base.speakers, sides)
    made = calibration.fit(shifted, "toy@1", scores.Cosine(), "")
    assert made.weights[2] / made.weights[1] == pytest.approx(0.15, abs=0.03)  # 0.3 / s is 0.15 (1/s + 1/s)
    assert made.unbounded(0.7 - 0.15, 2.0, 2.0) == pytest.approx(made.unbounded(0.7 - 0.015, 20.0, 20.0), abs=0.4)


def test_ratios_end_where_the_data_end(made: Calibration) -> None:
    low, high = made.bounds
    assert made.llr([-1.0, 2.0], 5.0, 5.0).tolist() == [low, high]
    assert -log(made.trials[0] + 1) - 1e-3 <= low < -1
    assert 1 < high <= log(40 * 39 / 2 + 1) + 1e-3


def test_bounds_by_hand() -> None:
    """Perfect separation: only the assumed misleading trial limits, at odds of n + 1 (less what it costs itself)."""
    low, high = calibration.supported(np.array([50.0] * 9), np.array([-50.0] * 99), 99)
    assert high == pytest.approx(log(0.9 * 100), abs=1e-3)  # 1/10 missed, 1/100 false alarms assumed
    assert low == pytest.approx(-log(0.99 * 10), abs=1e-3)
    assert calibration.supported(np.zeros(9), np.zeros(99), 99) == (0, 0)
    assert calibration.supported(np.array([-5.0] * 9), np.array([5.0] * 99), 99) == (0, 0)  # the wrong way round
    ratios = np.linspace(0.01, 8, 800)
    low, high = calibration.supported(ratios, -ratios, 99)
    # at t: (800 miss(t) + 1)/801 + e^t / 100 <= 1
    inside = [t for t in ratios if ((ratios < t).sum() + 1) / 801 + exp(t) / 100 <= 1]
    assert high == pytest.approx(max(inside), abs=1e-3)
    assert high < log(100)
    assert -log(801) < low < -high


def test_misleading_scores_say_nothing() -> None:
    found = trials(400)
    with pytest.raises(CalibrationError, match="must not speak against"):
        calibration.fit(replace(found, scores=-found.scores), "toy@1", scores.Cosine(), "")


def test_too_few_trials_are_refused() -> None:
    few = trials(30, share=0.1)
    with pytest.raises(CalibrationError, match="too few"):
        calibration.fit(few, "toy@1", scores.Cosine(), "")
    with pytest.raises(CalibrationError, match="too few"):
        calibration.fit(trials(400, speakers=3), "toy@1", scores.Cosine(), "")


def test_separated_trials_still_have_finite_weights() -> None:
    found = trials(400)
    made = calibration.fit(replace(found, scores=np.where(found.same, 1.0, 0.0)), "toy@1", scores.Cosine(), "")
    assert np.isfinite(made.weights).all()


def test_what_lies_outside_its_data_is_refused(made: Calibration) -> None:
    assert made.refusal(SIDE, SIDE) is None
    assert "0.50 s of speech; calibrated from 2.00 s on" in (made.refusal(SIDE, Side(0.5, 8000)) or "")
    assert "sound up to 3000 Hz; calibrated for 3750 to 8250 Hz" in (made.refusal(Side(3, 3000), SIDE) or "")
    assert made.refusal(Side(3, 3750), SIDE) is None  # the next band: how steep a resampler is
    assert made.refusal(Side(3, None), SIDE) is None  # nobody measured it
    assert made.refusal(Side(3600, 8000), SIDE) is None  # an hour is as good as the longest
    assert made.llr(0.75, 3600, 3.0) == made.llr(0.75, made.seconds[1], 3.0)


def test_fault_34_a_voice_in_another_channel_is_flagged(made: Calibration) -> None:
    assert made.refusal(Side(10, 8000), Side(10, 2500)) is not None


def test_it_never_meets_another_embedder(made: Calibration) -> None:
    made.check_scores("toy@1", scores.COSINE)
    with pytest.raises(CalibrationError, match="the calibration is for scores of toy@1, not of toy@2"):
        made.check_scores("toy@2", scores.COSINE)
    with pytest.raises(CalibrationError, match="of the kind 'cosine', not 's-norm"):
        made.check_scores("toy@1", "s-norm(x)")


@pytest.mark.parametrize("way", ["cosine", "centred", "channels", "whole mean", "s-norm"])
def test_it_comes_back_from_its_file_as_it_was(tmp_path: Path, way: str) -> None:
    rng = np.random.default_rng(0)
    cohort = rng.normal(size=(20, 8)).astype(np.float32)
    ways: dict[str, scores.Scorer] = {
        "cosine": scores.Cosine(),
        "centred": scores.centred(cohort),
        "channels": scores.centred(cohort, [(cohort, cohort[::-1])]),
        "whole mean": scores.centred(cohort, [(cohort, cohort[::-1])], share=1.0),
        "s-norm": scores.SNorm(cohort),
    }
    scorer = ways[way]
    made = calibration.fit(trials(), "toy@1", scorer, 'data "in" words')
    made.save(tmp_path / "cal.json")
    again = calibration.load(tmp_path / "cal.json")
    assert again == made
    if way == "s-norm":
        with pytest.raises(CalibrationError, match="Give the same cohort again"):
            again.scorer()
    else:
        rows = rng.normal(size=(2, 5, 8)).astype(np.float32)
        assert again.scorer()(*rows).tolist() == scorer(*rows).tolist()
        assert again.scorer().kind == scorer.kind


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"schema": "diarize-calibration/9"}, "its schema is not"),
        ({"weights": [1, 2]}, "expected 3 numbers"),
        ({"weights": [1, "x", 2]}, "no calibration"),
        ({"weights": [1, -2, 2]}, "must not speak against"),
        ({"weights": [1, float("nan"), 2]}, "finite"),
        ({"seconds": [0, 2]}, "begin above 0"),
        ({"bounds": [1, 2]}, "around 0"),
        ({"mean": [0.1, 0.2]}, "not the one that it was fitted with"),
        ({"extra": 1}, "has the fields"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, made: Calibration, change: dict[str, object], problem: str) -> None:
    path = tmp_path / "cal.json"
    made.save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(FormatError, match=problem):
        calibration.load(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read: No such file"):
        calibration.load(tmp_path / "none.json")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(FormatError, match="its schema is not"):
        calibration.load(tmp_path / "list.json")


def test_it_cannot_be_saved_nowhere(tmp_path: Path, made: Calibration) -> None:
    with pytest.raises(OutputError):
        made.save(tmp_path / "no" / "cal.json")


def test_cross_validation_hears_no_speaker_of_the_test() -> None:
    found = trials(3000, speakers=20)
    ratios = calibration.cross_validated(found)
    people = np.array([[int(name[1:]) % 5 for name in pair] for pair in found.speakers])
    assert (np.isfinite(ratios) == (people[:, 0] == people[:, 1])).all()
    there = np.isfinite(ratios)
    same, different = ratios[there & found.same], ratios[there & ~found.same]
    assert verification.cllr(same, different) < 1.1 * verification.cllr_min(same, different)
    # what a fold's own trials say does not change their weights
    own = (people[:, 0] == 0) & (people[:, 1] == 0)
    flipped = replace(found, same=np.where(own, ~found.same, found.same))
    assert calibration.cross_validated(flipped)[own] == pytest.approx(ratios[own])


def test_a_recording_that_sounds_otherwise_lifts_its_ratios() -> None:
    cohort = np.random.default_rng(0).random((20, 8)).astype(np.float32)
    direction = np.eye(8, dtype=np.float32)[0]
    scorer = scores.centred(cohort, [(cohort, cohort + 0.5 * direction)], directions=1)
    made = calibration.fit(trials(), "toy@1", scorer, "", channel=8.0)
    there = cohort.mean(axis=0, keepdims=True).repeat(3, axis=0)
    assert made.drift(there) == pytest.approx(0, abs=1e-5)
    assert made.drift(there + 0.5 * direction) == pytest.approx(0.5, abs=1e-4)
    assert made.llr(0.7, 9.0, 9.0, drift=0.5) - made.llr(0.7, 9.0, 9.0) == pytest.approx(8 * 0.25)
    assert made.llr(9.0, 9.0, 9.0, drift=5.0) == made.bounds[1]
    assert calibration.fit(trials(), "toy@1", scores.Cosine(), "").drift(there) == 0


@pytest.mark.parametrize(
    ("name", "identity"), [("ge2e", "ge2e@39373b86598fa3da"), ("community-1", "community-1@6e4af7d49562e6e7-int8")]
)
def test_a_shipped_calibration_belongs_to_one_model(name: str, identity: str) -> None:
    shipped = calibration.load(calibration.SHIPPED[name])
    assert shipped.model.startswith(identity)
    assert calibration.shipped(shipped.model) == shipped
    assert calibration.shipped(f"{name}@1") is None
    assert calibration.shipped("another@1") is None
    assert len(shipped.mean) == 256 and len(shipped.channels) == scores.DIRECTIONS
    assert shipped.bounds[0] < -3 and shipped.bounds[1] > 4
    assert shipped.one_voice is not None
    assert shipped.scorer().kind == shipped.kind


def test_a_file_without_later_fields_is_read(tmp_path: Path, made: Calibration) -> None:
    made.save(tmp_path / "cal.json")
    values = json.loads((tmp_path / "cal.json").read_text())
    del values["share"], values["one_voice"]
    (tmp_path / "cal.json").write_text(json.dumps(values))
    assert calibration.load(tmp_path / "cal.json") == made


def under(lines: tuple[str, str], slope: float, bandwidth: tuple[float, float]) -> Condition:
    return Condition(lines, (-7.0, slope, 0.0), (1.0, 30.0), bandwidth, (-2.0, 3.0), (20, 200), 10)


def test_recordings_are_compared_in_the_condition_that_was_measured(made: Calibration, tmp_path: Path) -> None:
    narrow = under(("narrow", "narrow"), 10.0, (3250.0, 4250.0))
    mixed = under(("narrow", "wide"), 15.0, (3250.0, 8000.0))
    both = replace(made, conditions=(narrow, mixed))
    call, close, unknown = Side(3.0, 3500.0), Side(3.0, 8000.0), Side(3.0, None)
    assert both.for_sides(call, call).weights == narrow.weights
    assert both.for_sides(call, close).weights == both.for_sides(close, call).weights == mixed.weights
    for a, b in ((close, close), (unknown, call), (Side(3.0, 5000.0), call)):
        assert both.for_sides(a, b) is both
    assert made.refusal(call, call) == "sound up to 3500 Hz; calibrated for 3750 to 8250 Hz"
    assert both.for_sides(call, call).refusal(call, call) is None
    low = Side(3.0, 2000.0)
    assert both.for_sides(low, call).refusal(low, call) == "sound up to 2000 Hz; calibrated for 3000 to 4500 Hz"
    assert both.widest_bands == (3000.0, 8250.0) and made.widest_bands == made.bands

    left, right = (close, call, call, low), (close, close, call, call)
    llr, refusals = both.ratios(np.array([0.7, 0.7, 0.7, 0.7]), left, right)
    assert llr[:3] == pytest.approx([float(both.llr(0.7, 3.0, 3.0)), 3.0, 0.0]) and np.isnan(llr[3])  # 3.0: a bound
    assert refusals[:3] == (None, None, None) and refusals[3] is not None

    both.save(tmp_path / "own.json")
    assert calibration.load(tmp_path / "own.json") == both


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lines", ["wide", "narrow"]),
        ("lines", ["narrow", "loud"]),
        ("weights", [0, -1, 0]),
        ("bandwidth", [4000, 3000]),
        ("bounds", [1, 2]),
        ("seconds", [0, 1]),
        ("weights", [0, float("nan"), 0]),
        ("trials", None),
    ],
)
def test_a_condition_that_cannot_be_is_refused(made: Calibration, tmp_path: Path, key: str, value: object) -> None:
    replace(made, conditions=(under(("narrow", "narrow"), 10.0, (3250.0, 4250.0)),)).save(tmp_path / "own.json")
    data = json.loads((tmp_path / "own.json").read_text())
    data["conditions"][0][key] = value
    (tmp_path / "own.json").write_text(json.dumps(data))
    with pytest.raises(FormatError, match="is no calibration"):
        calibration.load(tmp_path / "own.json")

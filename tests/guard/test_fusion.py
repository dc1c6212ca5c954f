"""Fusion of scores: the known optimum of simulated scores is reached, missing modalities are left out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from diarize.errors import CalibrationError, ConfigError, FormatError
from diarize.guard import fusion
from diarize.guard.fusion import LogisticFusion, WeightedFusion
from diarize.metrics import verification

# Scores of both kinds are normal with one covariance C: the optimal log-likelihood ratio is linear.
MEANS = np.array([[0.2, 0.1], [0.7, 0.6]])  # of two people, of one
COVARIANCE = np.array([[0.04, 0.012], [0.012, 0.09]])
SLOPES = np.linalg.solve(COVARIANCE, MEANS[1] - MEANS[0])
OFFSET = -float(SLOPES @ MEANS.sum(axis=0)) / 2


def simulate(count: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    truth = np.arange(count) % 2 == 0
    return MEANS[truth.astype(int)] + rng.multivariate_normal([0, 0], COVARIANCE, count), truth


@pytest.fixture(scope="module")
def fitted() -> LogisticFusion:
    values, truth = simulate(40_000, 1)
    return fusion.fit({"voice": values[:, 0].tolist(), "face": values[:, 1].tolist()}, truth.tolist(), "simulated")


def test_logistic_fusion_reaches_the_bayes_optimal_ratio(fitted: LogisticFusion) -> None:
    offset, *slopes = fitted.weights["voice", "face"]
    assert slopes == pytest.approx(SLOPES.tolist(), rel=0.05) and offset == pytest.approx(OFFSET, rel=0.05)
    values, truth = simulate(20_000, 2)
    optimal = OFFSET + values @ SLOPES
    fused = np.array([fitted.fuse({"voice": v, "face": f}).value for v, f in values])
    assert verification.cllr(fused[truth], fused[~truth]) == pytest.approx(
        verification.cllr(optimal[truth], optimal[~truth]), abs=0.002
    )
    eer = {name: verification.equal_error(column[truth], column[~truth])[0] for name, column in
           (("fused", fused), ("optimal", optimal), ("voice", values[:, 0]), ("face", values[:, 1]))}  # fmt: skip
    assert eer["fused"] == pytest.approx(eer["optimal"], abs=0.002)
    assert eer["fused"] < eer["voice"] - 0.01 and eer["voice"] < eer["face"]


def test_a_missing_modality_has_the_ratio_of_the_others(fitted: LogisticFusion) -> None:
    fused = fitted.fuse({"voice": 0.5, "face": None})
    difference, variance = MEANS[1, 0] - MEANS[0, 0], COVARIANCE[0, 0]
    assert fused.value == pytest.approx(difference / variance * (0.5 - MEANS[:, 0].mean()), abs=0.1)
    assert fused.missing == ("face",) and fused.is_llr and fused == fitted.fuse({"voice": 0.5})
    with pytest.raises(ConfigError, match="no modality is there"):
        fitted.fuse({"voice": None})
    with pytest.raises(ConfigError, match="gait"):
        fitted.fuse({"voice": 0.1, "gait": 0.2})
    with pytest.raises(ConfigError, match="finite"):
        fitted.fuse({"voice": float("nan")})


def test_ratios_stay_within_what_the_trials_support(fitted: LogisticFusion) -> None:
    assert fitted.fuse({"voice": 50.0, "face": 50.0}).value == pytest.approx(np.log(20_000))
    assert fusion.is_same(1.0, 0.5) and not fusion.is_same(1.0, 0.05)


def test_it_is_saved_as_data(fitted: LogisticFusion, tmp_path: Path) -> None:
    path = tmp_path / "fusion.json"
    fitted.save(path)
    assert fusion.load(path) == fitted
    values = json.loads(path.read_text())
    for change in ({"schema": "x/1"}, {"weights": values["weights"][:1]}, {"bound": float("inf")}, {"trials": 3}):
        path.write_text(json.dumps(values | change))
        with pytest.raises(FormatError, match="it is no fusion"):
            fusion.load(path)


def test_trials_that_do_not_suffice_are_refused() -> None:
    values, truth = simulate(100, 3)
    voice, face = values[:, 0].tolist(), values[:, 1].tolist()
    with pytest.raises(CalibrationError, match=r"voice and face: 50 .* and 50 .*60 of each"):
        fusion.fit({"voice": voice, "face": face}, truth.tolist())
    with pytest.raises(CalibrationError, match="Is it a distance"):
        fusion.fit({"voice": [-v for v in voice]}, truth.tolist())
    with pytest.raises(CalibrationError, match="all scores"):
        fusion.fit({"voice": [1.0] * 100}, truth.tolist())
    with pytest.raises(CalibrationError, match="finite"):
        fusion.fit({"voice": [float("inf"), *voice[1:]]}, truth.tolist())


def test_separated_scores_stay_finite() -> None:
    fitted = fusion.fit({"voice": [0.0, 1.0] * 50}, [False, True] * 50)
    assert fitted.fuse({"voice": 1.0}).value == pytest.approx(np.log(50))


def test_a_table_of_trials(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\ufeffsame,voice,face\n1,0.5,0.7\n0,0.1,\n")
    assert fusion.read_trials(path) == ({"voice": [0.5, 0.1], "face": [0.7, None]}, [True, False])
    path.write_text("same,voice\nyes,0.5\n")
    with pytest.raises(FormatError, match="line 2: `same` is 0 or 1"):
        fusion.read_trials(path)
    path.write_text("same,voice\n1,high\n")
    with pytest.raises(FormatError, match="line 2: voice is no number"):
        fusion.read_trials(path)
    path.write_text("voice,face\n")
    with pytest.raises(FormatError, match="column `same`"):
        fusion.read_trials(path)


def test_weighted_fusion() -> None:
    both = WeightedFusion({"voice": 0.6, "face": 0.4}, 0.7)
    assert both.fuse({"voice": 0.8, "face": 0.6}).value == pytest.approx(0.72)
    assert both.accepts(both.fuse({"voice": 0.8, "face": 0.6})) and not both.accepts(both.fuse({"voice": 0.69}))
    assert both.fuse({"voice": 0.69, "face": None}).value == pytest.approx(0.69)
    for weights in ({}, {"voice": -1.0, "face": 2.0}, {"voice": 0.0}, {"voice": float("nan")}):
        with pytest.raises(ConfigError, match="weight"):
            WeightedFusion(weights, 0.5)


def test_votes() -> None:
    assert fusion.vote({"voice": True, "face": True}, "and") is True
    assert fusion.vote({"voice": True, "face": False}, "and") is False
    assert fusion.vote({"voice": True, "face": None}, "and") is None  # a missing one is no yes
    assert fusion.vote({"voice": False, "face": None}, "and") is False
    assert fusion.vote({"voice": False, "face": True}, "or") is True
    assert fusion.vote({"voice": None, "face": True}, "or") is True
    assert fusion.vote({"a": True, "b": True, "c": None}, 2) is True
    assert fusion.vote({"a": True, "b": False, "c": None}, 2) is None
    assert fusion.vote({"a": False, "b": False, "c": None}, 2) is False
    for rule in (0, 4):
        with pytest.raises(ConfigError, match="is none of"):
            fusion.vote({"a": True, "b": False, "c": None}, rule)


def test_features_are_not_concatenated() -> None:
    with pytest.raises(ConfigError, match="no common scale"):
        fusion.concatenate([1.0], [2.0])

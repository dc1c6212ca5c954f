"""Trial lists, from the list to the metrics and the pictures, with a toy embedder."""

from __future__ import annotations

import csv
import io
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from diarize.config import Config
from diarize.errors import CalibrationError, ConfigError, FormatError
from diarize.library.scoring import calibration
from diarize.models.store import Store
from pipelines.people import trials
from pipelines.people.scoring import Scoring
from pipelines.people.trials import Trial
from tests.cheap import write_tones

CONFIG = Config.model_validate(
    {"vad": {"backend": "energy"}, "embedder": {"backend": "tests.cheap:embedder"}, "run": {"offline": True}}
)
PEOPLE = 8  # speakers, each with a pitch of their own


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three utterances of each of eight people; the third is another's pitch for two of them, so that nothing is
    perfect."""
    place = tmp_path_factory.mktemp("audio")
    for person in range(PEOPLE):
        for take in range(3):
            hertz = 150 * 1.5**person * (1 + 0.02 * take)
            if take == 2 and person < 2:
                hertz = 150 * 1.5 ** (person + 2)
            write_tones(place / f"p{person}" / f"p{person}-{take}.wav", [(hertz, 2.0 + take + 0.1 * person)])
    return place


@pytest.fixture(scope="module")
def listed(folder: Path) -> Path:
    names = [f"p{person}-{take}" for person in range(PEOPLE) for take in range(3)]
    lines = [f"{int(a[:2] == b[:2])} {a} {b}" for a, b in combinations(names, 2)]
    path = folder.parent / "trials.txt"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models", offline=True)


def test_a_list_is_read_in_each_of_its_forms(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("\ufeff# a comment\n1 a b\n\nsame a c\nnontarget\tAnna Maria\tb\n", encoding="utf-8")
    assert trials.read(path) == (
        Trial(True, "a", "b", 2),
        Trial(True, "a", "c", 4),
        Trial(False, "Anna Maria", "b", 5),
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1 a\n", "line 1: a trial is written"),
        ("1 a b\nyes a b\n", "line 2: a trial is written"),
        ("1 Anna Maria b\n", "Use tabs where names have spaces"),
        ("# nothing\n", "holds no trials"),
    ],
)
def test_a_line_that_is_no_trial_is_named(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "t.txt"
    path.write_text(text)
    with pytest.raises(FormatError, match=problem):
        trials.read(path)
    with pytest.raises(FormatError, match="cannot be read"):
        trials.read(tmp_path / "none.txt")


def test_trials_of_one_speaker_tell_who_is_who() -> None:
    found = trials.infer_speakers([Trial(True, "a", "b", 1), Trial(True, "c", "b", 2), Trial(False, "a", "d", 3)])
    assert found["a"] == found["b"] == found["c"] != found["d"]
    with pytest.raises(FormatError, match="line 3: a and c are two speakers here, and one by the other trials"):
        trials.infer_speakers([Trial(True, "a", "b", 1), Trial(True, "b", "c", 2), Trial(False, "a", "c", 3)])


def test_names_are_found_with_and_without_suffix_and_folder(folder: Path) -> None:
    found = trials.find_recordings(["p0-0", "p1-1.wav", "p2/p2-2", "p3/p3-0.wav"], folder, "t.txt")
    assert [path.name for path in found.values()] == ["p0-0.wav", "p1-1.wav", "p2-2.wav", "p3-0.wav"]


def test_unknown_names_are_listed(folder: Path) -> None:
    with pytest.raises(FormatError, match=r"6 of 7 names are no recordings in .*: n0, n1, n2, n3, n4, \.\.\."):
        trials.find_recordings(["p0-0", *(f"n{i}" for i in range(6))], folder, "t.txt")
    with pytest.raises(ConfigError, match="is not a folder"):
        trials.find_recordings(["a"], folder / "none", "t.txt")


def test_a_name_of_two_recordings_is_refused(tmp_path: Path) -> None:
    for place in ("x", "y"):
        write_tones(tmp_path / place / "a.wav", [(300, 1)])
    with pytest.raises(FormatError, match="a is the name of 2 recordings"):
        trials.find_recordings(["a"], tmp_path, "t.txt")
    assert trials.find_recordings(["x/a"], tmp_path, "t.txt")["x/a"] == tmp_path / "x" / "a.wav"


def test_from_a_list_to_scores_metrics_and_pictures(tmp_path: Path, folder: Path, listed: Path, store: Store) -> None:
    seen: list[str] = []
    scored = trials.score_trials(
        listed, folder, CONFIG, store, on_utterance=lambda name, done, total: seen.append(f"{name} {done}/{total}")
    )
    assert len(seen) == len(set(seen)) == 3 * PEOPLE  # each is heard once
    assert scored.scorer.kind == "cosine" and scored.calibration is None  # the shipped one is for another embedder
    found = trials.summarise(scored, resamples=20)
    assert found["trials"] == {"same": 3 * PEOPLE, "different": 3 * PEOPLE * (3 * PEOPLE - 1) // 2 - 3 * PEOPLE}
    assert found["speakers"] == PEOPLE and found["llr"] is None
    eer = found["score"]["eer"]
    assert 0 < eer["value"] < 0.3 and eer["low"] <= eer["value"] <= eer["high"]
    trials.write(tmp_path / "out", scored, found)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["det.png", "scores.csv", "summary.json"]
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == json.loads(json.dumps(found))
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "scores.csv").read_text())))
    assert len(rows) == len(scored.trials)
    assert rows[0]["truth"] == "same" and float(rows[0]["score"]) == pytest.approx(scored.scores[0], abs=1e-6)
    trials.write(tmp_path / "again", scored, trials.summarise(scored, resamples=20))
    for name in ("det.png", "scores.csv", "summary.json"):  # the same bytes every time
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_a_calibration_made_here_is_used_from_then_on(tmp_path: Path, folder: Path, listed: Path, store: Store) -> None:
    made, tested = trials.calibrate(trials.score_trials(listed, folder, CONFIG, store), "tones")
    made.save(tmp_path / "cal.json")
    assert made.model == "pitch" and made.trials[0] == 3 * PEOPLE
    assert 0 < tested["cllr_min"] <= tested["cllr"]
    scoring = Scoring(prior=0.01, calibration=tmp_path / "cal.json")
    scored = trials.score_trials(listed, folder, CONFIG, store, scoring)
    assert np.isfinite(scored.llr).all() and scored.calibration == made
    found = trials.summarise(scored, resamples=10)
    assert found["llr"]["cllr_min"]["value"] <= found["llr"]["cllr"]["value"] < 1
    assert found["threshold"] == pytest.approx(np.log(99), abs=1e-4)
    assert found["llr"]["far"]["value"] <= found["llr"]["eer"]["value"]
    assert sum(row["same"] for row in found["by_duration"]) == 3 * PEOPLE
    trials.write(tmp_path / "out", scored, found)
    assert (tmp_path / "out" / "tippett.png").read_bytes().startswith(b"\x89PNG")


def test_what_the_calibration_refuses_has_no_ratio(tmp_path: Path, folder: Path, listed: Path, store: Store) -> None:
    scored = trials.score_trials(listed, folder, CONFIG, store)
    made, _ = trials.calibrate(scored, "tones")
    values = json.loads(json.dumps({"schema": calibration.SCHEMA})) | {
        name: getattr(made, name) for name in made.__slots__
    }
    (tmp_path / "cal.json").write_text(json.dumps(values | {"seconds": [2.5, 20]}))
    again = trials.score_trials(listed, folder, CONFIG, store, Scoring(calibration=tmp_path / "cal.json"))
    refused = [reason is not None for reason in again.refusals]
    assert 0 < sum(refused) < len(refused)
    assert (np.isnan(again.llr) == refused).all()
    assert trials.summarise(again, resamples=5)["refused"] == sum(refused)
    assert "calibrated from 2.50 s on" in trials.as_csv(again)


def test_a_calibration_of_another_embedder_is_refused(folder: Path, listed: Path, store: Store) -> None:
    with pytest.raises(CalibrationError, match="the calibration is for scores of ge2e@"):
        trials.score_trials(
            listed, folder, CONFIG, store, Scoring(calibration=calibration.SHIPPED["ge2e"], method="cosine")
        )


def test_a_cohort_centres_or_normalises(tmp_path: Path, folder: Path, listed: Path, store: Store) -> None:
    for i in range(6):
        write_tones(tmp_path / "cohort" / f"{i}.wav", [(200 * 1.7**i, 2)])
    kinds = [
        trials.score_trials(
            listed, folder, CONFIG, store, Scoring(cohort=tmp_path / "cohort", method=method)
        ).scorer.kind
        for method in (None, "centred", "s-norm")
    ]
    assert kinds[0] == kinds[1] and kinds[0].startswith("centred(") and kinds[2].startswith("s-norm(")
    with pytest.raises(ConfigError, match="--scoring: s-norm: needs voices of other people"):
        trials.score_trials(listed, folder, CONFIG, store, Scoring(method="s-norm"))
    with pytest.raises(ConfigError, match="is none of cosine, centred, s-norm"):
        trials.score_trials(listed, folder, CONFIG, store, Scoring(method="magic"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="0 recordings with speech"):
        trials.score_trials(listed, folder, CONFIG, store, Scoring(cohort=tmp_path / "empty"))


def test_a_recording_without_speech_costs_its_trials_only(tmp_path: Path, store: Store) -> None:
    for name, hertz in (("a1", 300), ("a2", 305), ("b1", 900), ("silent", 0)):
        write_tones(tmp_path / "audio" / f"{name}.wav", [(hertz, 2)])
    (tmp_path / "t.txt").write_text("1 a1 a2\n0 a1 b1\n0 a2 silent\n")
    scored = trials.score_trials(tmp_path / "t.txt", tmp_path / "audio", CONFIG, store)
    assert len(scored.trials) == 2 and "no speech" in scored.problems["silent"]
    assert trials.summarise(scored, resamples=5)["left_out"] == dict(scored.problems)
    (tmp_path / "t.txt").write_text("1 a1 a2\n0 a2 silent\n")
    with pytest.raises(FormatError, match=r"no trials of both kinds are left\. no speech"):
        trials.score_trials(tmp_path / "t.txt", tmp_path / "audio", CONFIG, store)


def test_a_list_of_one_kind_measures_nothing(tmp_path: Path, folder: Path, store: Store) -> None:
    (tmp_path / "t.txt").write_text("1 p0-0 p0-1\n")
    with pytest.raises(FormatError, match="trials of one speaker and of two are needed"):
        trials.score_trials(tmp_path / "t.txt", folder, CONFIG, store)


@pytest.mark.parametrize(("lines", "method"), [("1 p0-0 p0-1\n", None), ("1 p0-0 p0-1\n0 p0-0 p1-0\n", "s-norm")])
def test_what_can_be_refused_is_refused_before_anything_is_heard(
    tmp_path: Path, folder: Path, store: Store, lines: str, method: str | None
) -> None:
    (tmp_path / "t.txt").write_text(lines)
    seen: list[str] = []
    with pytest.raises((FormatError, ConfigError)):
        trials.score_trials(
            tmp_path / "t.txt",
            folder,
            CONFIG,
            store,
            Scoring(method=method),
            on_utterance=lambda name, done, total: seen.append(name),
        )
    assert not seen

"""Two files: one person? A claim against a library. Every pair of a folder."""

from __future__ import annotations

import csv
import io
import json
from itertools import combinations, islice
from pathlib import Path

import numpy as np
import pytest

import run_pipeline
from diarize import files
from diarize.errors import AudioError, CalibrationError, ConfigError, UnknownPerson
from diarize.library import store as libraries
from diarize.library.database.records import Enrolment
from diarize.models.store import Store
from pipelines.people import compare, trials, utterance, verify, wording
from pipelines.people.scoring import Scoring
from tests.cheap import write_tones
from tests.pipelines.people.test_trials import CONFIG


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models", offline=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "audio"
    tones = combinations((160, 390, 920, 2200, 5200), 2)  # each in a band of its own
    for person, (low, high) in enumerate(islice(tones, 6)):
        for take in range(3):
            write_tones(place / f"p{person}-{take}.wav", [(low, 1.2 + 0.2 * take), (high, 1.2)])
    return place


@pytest.fixture
def calibration(tmp_path: Path, folder: Path, store: Store) -> Path:
    names = [path.stem for path in sorted(folder.glob("*.wav"))]
    lines = [f"{int(a[:2] == b[:2])} {a} {b}" for a, b in combinations(names, 2)]
    (tmp_path / "t.txt").write_text("\n".join(lines))
    made, _ = trials.calibrate(trials.score_trials(tmp_path / "t.txt", folder, CONFIG, store), "tones")
    made.save(tmp_path / "cal.json")
    return tmp_path / "cal.json"


def test_two_files_of_one_person_and_of_two(folder: Path, store: Store, calibration: Path) -> None:
    same = verify.verify(folder / "p1-0.wav", folder / "p1-1.wav", CONFIG, store, Scoring(0.5, calibration))
    other = verify.verify(folder / "p1-0.wav", folder / "p5-1.wav", CONFIG, store, Scoring(0.5, calibration))
    assert (same.decision, other.decision) == ("same", "different")
    assert same.llr is not None and other.llr is not None and same.llr > 0 > other.llr
    assert same.threshold == 0 and same.posterior == pytest.approx(1 / (1 + np.exp(-same.llr)), abs=1e-5)
    assert same.a.seconds == pytest.approx(2.4, abs=0.3) and same.model == "pitch"
    assert json.loads(json.dumps(same.as_dict()))["schema"] == "diarize-verification/1"


def test_the_prior_moves_the_threshold_not_the_ratio(folder: Path, store: Store, calibration: Path) -> None:
    pair = folder / "p1-0.wav", folder / "p1-1.wav"
    even, rare = (verify.verify(*pair, CONFIG, store, Scoring(prior=p, calibration=calibration)) for p in (0.5, 1e-6))
    assert even.llr == rare.llr and rare.threshold == pytest.approx(13.8, abs=0.1)
    assert rare.decision == "different" and rare.at_bound  # so few speakers support no such certainty
    with pytest.raises(ConfigError, match="a prior lies between 0 and 1"):
        verify.verify(*pair, CONFIG, store, Scoring(prior=0))


def test_without_a_calibration_nothing_is_decided(folder: Path, store: Store) -> None:
    found = verify.verify(folder / "p1-0.wav", folder / "p1-1.wav", CONFIG, store, Scoring())
    assert found.decision == "undecided" and found.llr is None and found.posterior is None
    assert found.score == found.cosine > 0.9 and "there is no calibration" in found.reason


def test_what_is_too_short_is_refused_with_its_reason(
    tmp_path: Path, folder: Path, store: Store, calibration: Path
) -> None:
    brief = write_tones(tmp_path / "brief.wav", [(300, 0.6)])
    found = verify.verify(folder / "p1-0.wav", brief, CONFIG, store, Scoring(calibration=calibration))
    assert found.decision == "undecided" and "s of speech; calibrated from" in found.reason


def test_a_file_without_speech_is_an_error(tmp_path: Path, folder: Path, store: Store) -> None:
    silent = write_tones(tmp_path / "silent.wav", [(0, 2)])
    with pytest.raises(AudioError, match="no speech was found"):
        verify.verify(folder / "p1-0.wav", silent, CONFIG, store, Scoring())


def test_a_claim_against_a_library(tmp_path: Path, folder: Path, store: Store, calibration: Path) -> None:
    embedder = utterance.load_embedder(CONFIG, store)
    with libraries.open(tmp_path / "people.db", create=True) as library:
        for name, file in (("Ada", "p1-0.wav"), ("Grace", "p5-0.wav")):
            heard = embedder.embed_file(folder / file)
            quality = {"bandwidth": heard.bandwidth}
            library.enrol(
                name, [Enrolment(heard.digest, heard.seconds, quality, heard.vector, heard.model, 0.0, heard.seconds)]
            )
        right = verify.verify_claim("Ada", folder / "p1-1.wav", library, CONFIG, store, Scoring(0.5, calibration))
        wrong = verify.verify_claim("Grace", folder / "p1-1.wav", library, CONFIG, store, Scoring(0.5, calibration))
        assert (right.decision, wrong.decision) == ("same", "different")
        assert right.a.name == "Ada" and right.a.bandwidth is not None
        with pytest.raises(UnknownPerson):
            verify.verify_claim("Nobody", folder / "p1-1.wav", library, CONFIG, store, Scoring())
        vector = np.eye(1, 8, dtype=np.float32)[0]
        library.enrol("Eve", [Enrolment("0" * 64, 5.0, {}, vector, "another@1", 0.0, 5.0)])
        with pytest.raises(CalibrationError, match="no voice of Eve for pitch"):
            verify.verify_claim("Eve", folder / "p1-1.wav", library, CONFIG, store, Scoring())


def test_every_pair_of_a_folder(tmp_path: Path, folder: Path, store: Store, calibration: Path) -> None:
    write_tones(folder / "silent.wav", [(0, 2)])
    found = compare.compare([folder], CONFIG, store, Scoring(calibration=calibration))
    assert len(found.names) == 18 and len(found.pairs) == 18 * 17 // 2
    assert list(found.problems) == ["silent.wav"]
    grid, label = found.matrix()
    assert np.isnan(np.diag(grid)).all() and (grid[0, 1:] == grid[1:, 0]).all()
    assert label == "log10 likelihood ratio"
    rows = list(csv.DictReader(io.StringIO(found.as_csv())))
    order = [(float(row["llr"]), float(row["score"])) for row in rows]
    assert order == sorted(order, reverse=True) and rows[0]["a"][:2] == rows[0]["b"][:2]
    compare.write(tmp_path / "out", found)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "comparison.csv",
        "comparison.json",
        "heatmap.png",
    ]


def test_names_that_are_taken_for_mathematics_or_break_a_plot_are_drawn(tmp_path: Path, store: Store) -> None:
    for name in ("$x", "=cmd()", "a\nb", "n" * 90):
        write_tones(tmp_path / "audio" / f"{name}.wav", [(300, 1)])
    found = compare.compare([tmp_path / "audio"], CONFIG, store, Scoring())
    assert found.matrix()[1] == "score (cosine)"
    compare.write(tmp_path / "out", found)
    assert "'=cmd().wav" in (tmp_path / "out" / "comparison.csv").read_text()


def test_one_recording_cannot_be_compared(tmp_path: Path, store: Store) -> None:
    write_tones(tmp_path / "audio" / "a.wav", [(300, 1)])
    with pytest.raises(ConfigError, match="at least two are needed"):
        compare.compare([tmp_path / "audio"], CONFIG, store, Scoring())


def test_no_decision_is_made_at_a_prior_that_nobody_stated(folder: Path, store: Store, calibration: Path) -> None:
    found = verify.verify(folder / "p1-0.wav", folder / "p1-1.wav", CONFIG, store, Scoring(calibration=calibration))
    assert found.llr is not None and found.log10_lr == pytest.approx(found.llr / np.log(10), abs=1e-4)
    assert (found.decision, found.posterior, found.threshold, found.prior) == ("undecided", None, None, None)
    assert found.reason == verify.NOT_ASKED


def test_one_file_given_twice_is_said(folder: Path, store: Store, calibration: Path) -> None:
    found = verify.verify(folder / "p1-0.wav", folder / "p1-0.wav", CONFIG, store, Scoring(calibration=calibration))
    assert found.notes[0] == verify.SAME_FILE


def test_a_ratio_is_said_with_its_unit() -> None:
    assert (
        wording.sentence(2.29 * np.log(10)) == "LR 195 (log10 2.29): 195 times more probable if one person than if two"
    )
    assert wording.sentence(-np.log(20)) == "LR 1/20 (log10 -1.30): 20 times more probable if two people than if one"
    assert wording.sentence(0.0) == "LR 1 (log10 0.00): as probable if one person as if two"


def test_the_command_keeps_a_record(
    folder: Path, calibration: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pair = [str(folder / "p1-0.wav"), str(folder / "p1-1.wav")]
    options = ["--vad=energy", "--embedder=tests.cheap:embedder", "--offline", "--calibration", str(calibration)]
    assert run_pipeline.main(["verify", *pair, *options, "--out", str(tmp_path / "out")]) == 0
    told = capfd.readouterr().out
    assert (
        "times more probable if one person than if two" in told and "posterior" not in told and "decision" not in told
    )
    record = json.loads((tmp_path / "out" / "verification.json").read_text())
    assert record["calibration"]["sha256"] == files.sha256(calibration) and not record["calibration"]["supplied"]
    assert record["product"] and record["date"] and record["settings"]["vad"]["backend"] == "energy"
    assert run_pipeline.main(["verify", *pair, *options, "--prior", "0.01"]) == 0
    assert "decision: same (threshold log10 +2.00 at a prior of 0.01" in capfd.readouterr().out.replace(
        "different", "same"
    )

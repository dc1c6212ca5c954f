"""Recordings of a case, their fitness, the comparison, and its second computation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from diarize.config import SpoofConfig
from diarize.errors import AudioError, CaseDamaged, CaseError, ConfigError
from diarize.library.scoring.conditions import line_of
from diarize.models.store import Store
from pipelines.evidence import comparison, fitness, items, notes, rederivation, validation
from pipelines.evidence.folder import Case
from pipelines.evidence.items import Receipt, Selection
from pipelines.people.scoring import Scoring
from pipelines.people.utterance import UtteranceEmbedder, load_embedder
from tests.cheap import write_tones
from tests.pipelines.evidence.conftest import ACCEPTED, Add
from tests.pipelines.people.test_trials import CONFIG


def test_an_item_is_known_by_its_digest_and_stays_where_it_is(new_case: Case, add: Add, audio: Path) -> None:
    before = (audio / "p1-0.wav").read_bytes()
    case = add(new_case, audio / "p1-0.wav", "questioned")
    [item] = items.items(case)
    assert (item.label, item.role, item.path) == ("Q1", "questioned", (audio / "p1-0.wav").resolve())
    assert item.record["recording"]["sha256"] == item.record["recording"]["sha256_after"] == item.digest
    assert item.record["received"]["sender"] == "police" and item.record["part"]["how"] == "whole"
    assert item.measures["seconds"] > 5 and item.measures["identity"]["embedder"] == "pitch"
    assert (audio / "p1-0.wav").read_bytes() == before
    case = add(case, audio / "p1-1.wav", "known", start=1.0, end=4.0)
    item = items.items(case)[1]
    assert item.label == "K1" and item.record["part"]["segments"] == [[1.0, 4.0]]
    assert all(1.0 <= a < b <= 4.0 for a, b in item.measures["speech"])


def test_turns_select_a_speaker_where_nobody_else_talks(new_case: Case, add: Add, audio: Path, tmp_path: Path) -> None:
    rows = [("A", 0.4, 3.0), ("B", 2.5, 2.0), ("A", 6.0, 2.0)]
    rttm = "".join(f"SPEAKER x 1 {a} {d} <NA> <NA> {who} <NA> <NA>\n" for who, a, d in rows)
    (tmp_path / "t.rttm").write_text(rttm)
    case = add(new_case, audio / "p1-0.wav", "questioned", turns=tmp_path / "t.rttm", speaker="A")
    part = items.items(case)[0].record["part"]
    assert part["segments"] == [[0.4, 2.25], [6.0, 8.0]] and part["excluded"] == [[2.25, 3.4, "overlap"]]
    assert (case.folder / "0002-add" / "turns.rttm").read_text() == rttm
    with pytest.raises(ConfigError, match="has no turns"):
        add(case, audio / "p1-1.wav", "known", turns=tmp_path / "t.rttm", speaker="C")


def test_what_cannot_be_added(new_case: Case, add: Add, audio: Path, embedder: UtteranceEmbedder) -> None:
    with pytest.raises(AudioError, match="was received"):
        items.add(new_case, audio / "p1-0.wav", "known", embedder, Selection(), Receipt(digest="00"))
    with pytest.raises(ConfigError, match="is not a part"):
        add(new_case, audio / "p1-0.wav", "known", start=500.0)
    with pytest.raises(CaseError, match="has no questioned recording"):
        comparison.compare(add(new_case, audio / "p1-0.wav", "known"), embedder, None)


def test_the_comparison_gives_a_ratio_with_an_interval(compared: Case) -> None:
    record = compared.read_json(compared.of("compare")[0], "comparison.json")
    [row] = record["results"]
    assert row["refusal"] is None and row["log10"] > 0 and row["log10"] == pytest.approx(row["llr"] / np.log(10))
    low, high = row["interval_speech"]
    assert low <= row["log10"] <= high and row["parts_left_out"] is not None
    assert row["typicality"] is None and row["interval_speakers"] is None  # open: no validation yet
    assert record["calibration"]["origin"] == "cal.json" and record["accepted"] == sorted(ACCEPTED)


def test_without_a_calibration_or_speech_no_number_is_given(
    new_case: Case, add: Add, audio: Path, embedder: UtteranceEmbedder, calibration: Path, tmp_path: Path
) -> None:
    silent = write_tones(tmp_path / "silent.wav", [(0, 3.0)])
    short = write_tones(tmp_path / "short.wav", [(390, 0.5)])
    case = add(add(add(new_case, silent, "questioned"), short, "questioned"), audio / "p1-1.wav", "known")
    _, record = comparison.compare(case, embedder, comparison.calibration_for(embedder, calibration), ACCEPTED)
    checks = [{reason["check"] for reason in row["refusal"]} for row in record["results"]]
    assert all("speech" in each for each in checks) and all("score" not in row for row in record["results"])
    _, record = comparison.compare(items_reopened(case), embedder, None)
    assert record["results"][0]["refusal"][0]["check"] == "calibration"


def items_reopened(case: Case) -> Case:
    from pipelines.evidence import folder

    return folder.open_case(case.folder)


def test_a_second_voice_and_the_same_file_twice_are_said(
    new_case: Case, add: Add, audio: Path, embedder: UtteranceEmbedder, calibration: Path
) -> None:
    case = add(add(new_case, audio / "p1-0.wav", "questioned"), audio / "p1-0.wav", "known")
    own = comparison.calibration_for(embedder, calibration)
    _, record = comparison.compare(case, embedder, own)
    assert {reason["check"] for reason in record["results"][0]["refusal"]} >= {"same"}
    with pytest.raises(ConfigError, match="cannot be accepted"):
        comparison.compare(case, embedder, own, ["same"])


def test_everything_is_computed_again(compared: Case, store: Store) -> None:
    result = rederivation.verify(compared.folder, store)
    assert (result.status, result.differences, result.recordings) == (0, [], 2) and result.figures > 50
    assert result.head == compared.acts[-1].hash
    assert rederivation.verify(compared.folder, store, models=False, expect=compared.acts[1].hash).status == 0
    assert rederivation.verify(compared.folder, store, models=False, expect="ab").status == 6


def test_a_changed_or_lost_recording_is_named(
    compared: Case, store: Store, audio: Path, tmp_path: Path, embedder: UtteranceEmbedder
) -> None:
    copies = tmp_path / "copies"
    shutil.copytree(audio, copies)
    assert rederivation.verify(compared.folder, store, copies, models=False).status == 0
    data = bytearray((copies / "p1-0.wav").read_bytes())
    data[5000] ^= 1
    (copies / "p1-0.wav").write_bytes(data)
    result = rederivation.verify(compared.folder, store, copies, models=False)
    assert [d.where.startswith("Q1") and "was changed" in d.what for d in result.differences] == [True]
    with pytest.raises(CaseDamaged, match="is not the recording Q1"):
        comparison.compare(compared, embedder, None, folder=copies)
    (copies / "p1-0.wav").unlink()
    result = rederivation.verify(compared.folder, store, copies, models=False)
    assert ["is not there" in d.what for d in result.differences] == [True]


def test_blind_work_shows_scores_after_marks(tmp_path: Path, add: Add, audio: Path) -> None:
    from pipelines.evidence import facts, folder

    case = folder.create(tmp_path / "blind", facts.CaseFacts("7", blind=True).as_dict())
    case = add(add(case, audio / "p1-0.wav", "questioned"), audio / "p1-1.wav", "known")
    with pytest.raises(CaseError, match="has no comparison"):
        notes.show(case)
    case = case.record("compare", {"shown": False}, {})
    with pytest.raises(CaseError, match="not marked yet: Q1, K1"):
        notes.show(case)
    for label in ("Q1", "K1"):
        case = notes.add(case, "quality", "A. Beck", "clear, calm", label)
    case = notes.show(case, "A. Beck")
    assert [act.action for act in notes.disclosures(case)] == ["show"]


def test_validation_fills_in_what_was_open(
    new_case: Case,
    add: Add,
    audio: Path,
    trial_list: Path,
    calibration: Path,
    embedder: UtteranceEmbedder,
    store: Store,
    tmp_path: Path,
) -> None:
    case, record = validation.validate(
        new_case, trial_list, audio, CONFIG, store, Scoring(calibration=calibration), "A. Beck"
    )
    assert record["speakers"] == 6 and record["few"] and record["trials"] == {"same": 18, "different": 135}
    measures = record["measures"]
    assert measures["cllr"]["value"] >= measures["cllr_min"]["value"]
    assert measures["cllr_cal"]["value"] == pytest.approx(
        measures["cllr"]["value"] - measures["cllr_min"]["value"], abs=1e-5
    )
    assert record["ece"]["lr"][10] == pytest.approx(measures["cllr"]["value"], abs=1e-5)  # at prior odds of 1
    case = add(add(case, audio / "p1-0.wav", "questioned"), audio / "p1-1.wav", "known")
    case, record = comparison.compare(case, embedder, comparison.calibration_for(embedder, calibration), ACCEPTED)
    row = record["results"][0]
    assert row["typicality"]["different"] == 135 and row["interval_speakers"] is not None
    plain, again = (rederivation.verify(case.folder, store, trials=trials) for trials in (None, audio))
    assert plain.differences == again.differences == []
    assert again.figures > plain.figures + 2 * 153 and any("--trials" in note for note in plain.notes)

    other = shutil.copytree(audio, tmp_path / "other")  # one recording is exchanged
    shutil.copy(audio / "p2-0.wav", other / "p3-0.wav")
    differences = rederivation.verify(case.folder, store, trials=other).differences
    assert any("p3-0.sha256" in each.what for each in differences)
    assert any(each.what.startswith("trials[") and ".score" in each.what for each in differences)
    (other / "p3-0.wav").unlink()
    (lacking,) = rederivation.verify(case.folder, store, trials=other).differences
    assert "p3-0" in lacking.what and "cannot be computed again" in lacking.what


def test_a_countermeasure_is_an_advisory_of_the_case(new_case: Case, audio: Path, store: Store) -> None:
    """The lowest pair of tones sounds live to it, the highest does not; it never forbids a comparison."""
    config = CONFIG.model_copy(
        update={"spoof": SpoofConfig(enabled=True, model="tests.pipelines.guard.test_spoof_option:countermeasure")}
    )
    embedder = load_embedder(config, store)
    case = new_case
    for name, role in (("p0-0.wav", "questioned"), ("p0-1.wav", "known"), ("p5-1.wav", "known")):
        case = items.add(case, audio / name, role, embedder, Selection(), Receipt("police", "2026-11-02"))
    scores = {item.label: item.measures["spoof"]["score"] for item in items.items(case)}
    assert scores["Q1"] > 0 > scores["K2"] and "windows" not in items.items(case)[0].measures["spoof"]
    case, record = comparison.compare(case, embedder, None)
    last = {label: findings[-1] for label, findings in record["findings"].items()}
    assert (last["Q1"]["check"], last["Q1"]["outcome"], last["K2"]["outcome"]) == ("spoof", "fit", "caution")
    assert last["K2"]["value"].endswith("(low)") and last["K2"]["limit"] == "0"
    assert rederivation.verify(case.folder, store).differences == []


def test_limits_on_measures() -> None:
    assert line_of(3400) == "narrow" and line_of(8000) == "wide"
    assert json.dumps(fitness.processor())

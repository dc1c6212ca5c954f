"""The machine against the people who corrected it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import run_pipeline
from diarize.errors import ConfigError
from diarize.types import Speaker, Transcript, Turn, Word
from pipelines.evaluation import corrections
from pipelines.results import outputs
from pipelines.results.corrections import Corrections

pytest.importorskip("meeteval", reason="evaluate needs the extra `evaluate`")
pytest.importorskip("pyannote.metrics", reason="evaluate needs the extra `evaluate`")

TALK = Transcript(
    "talk",
    20.0,
    "en",
    (Speaker("SPEAKER_01"), Speaker("SPEAKER_02"), Speaker("SPEAKER_03")),
    (Turn(1.0, 5.0, "SPEAKER_01"), Turn(5.0, 9.0, "SPEAKER_02"), Turn(10.0, 14.0, "SPEAKER_03")),
    (
        Word(1.0, 2.0, "good", 0.9, "SPEAKER_01"),
        Word(2.0, 3.0, "morning", 0.9, "SPEAKER_01"),
        Word(5.0, 6.0, "the", 0.9, "SPEAKER_02"),
        Word(6.0, 7.0, "pudget", 0.9, "SPEAKER_02"),
        Word(10.0, 11.0, "is", 0.9, "SPEAKER_03"),
        Word(11.0, 12.0, "uh", 0.9, "SPEAKER_03"),
    ),
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    outputs.write(tmp_path / "out" / "talk", TALK, ["txt"], {})
    outputs.write(tmp_path / "out" / "other", Transcript("other", 3.0), ["txt"], {})
    return tmp_path / "out"


def correct(run: Path, *operations: dict[str, object]) -> None:
    log = Corrections(run / "talk")
    for operation in operations:
        log.append(operation, "anna")


def test_the_figures_are_those_of_the_corrections(run: Path, tmp_path: Path) -> None:
    correct(
        run,
        {"op": "name_speaker", "speaker": "SPEAKER_01", "name": "Anna"},
        {"op": "assign", "start": 5000, "end": 9000, "from": "SPEAKER_02", "to": "SPEAKER_01"},
        {"op": "edit_word", "word": "w6000", "text": "budget"},
        {"op": "delete_word", "word": "w11000"},
    )
    assert run_pipeline.main(["evaluate", "--corrections", str(run), "--out", str(tmp_path / "scores")]) == 0
    result = json.loads((tmp_path / "scores" / "evaluation.json").read_text())
    (machine,) = result["systems"]
    assert result["recordings"] == ["talk"]  # nobody has corrected the other one
    pooled = machine["pooled"]
    assert pooled["der"]["rate"] == pytest.approx(4 / 12)  # of 12 s of speech, 4 s are another speaker's
    assert (pooled["wer"]["part"], pooled["wer"]["whole"]) == (2, 5)
    assert any("people checked or changed turns of 67% of the speech" in note for note in result["notes"])
    with (tmp_path / "scores" / "places.csv").open(newline="") as file:
        rows = [tuple(row.values()) for row in csv.DictReader(file)]
    assert ("talk", "5.000", "9.000", "another speaker", "SPEAKER_02", "Anna") in rows
    assert ("talk", "6.000", "7.000", "another word", "pudget", "budget") in rows
    assert ("talk", "11.000", "12.000", "no word", "uh", "") in rows
    assert ("talk", "5.000", "6.000", "speaker of a word", "SPEAKER_02", "Anna") in rows
    assert "Where people corrected the machine" in (tmp_path / "scores" / "evaluation.md").read_text()


def test_two_speakers_who_are_one_are_an_error_of_the_turns_and_not_of_each_word(run: Path) -> None:
    correct(run, {"op": "merge_speakers", "from": "SPEAKER_03", "into": "SPEAKER_01"})
    kinds = [place.kind for place in corrections.read(run / "talk").places]
    assert kinds == ["another speaker"]


def test_a_transcript_that_is_right_has_no_errors(run: Path, tmp_path: Path) -> None:
    for turn in ("t1000", "t5000", "t10000"):
        correct(run, {"op": "check_turn", "turn": turn, "checked": True})
    reviewed = corrections.read(run)
    assert reviewed.places == ()
    assert reviewed.notes[0] == "talk: people checked or changed turns of 100% of the speech (12.0 of 12.0 s)"


def test_names_of_the_machine_are_scored(tmp_path: Path) -> None:
    speakers = (Speaker("SPEAKER_01", "Bea"), Speaker("SPEAKER_02", "Max"), Speaker("SPEAKER_03"))
    talk = Transcript("talk", 20.0, "en", speakers, TALK.turns, TALK.words)
    outputs.write(tmp_path / "talk", talk, [], {})
    Corrections(tmp_path / "talk").append({"op": "name_speaker", "speaker": "SPEAKER_01", "name": "Anna"}, "anna")
    out = tmp_path / "scores"
    assert run_pipeline.main(["evaluate", "--corrections", str(tmp_path / "talk"), "--out", str(out)]) == 0
    pooled = json.loads((out / "evaluation.json").read_text())["systems"][0]["pooled"]
    assert pooled["named"]["rate"] == pytest.approx(0.5) and pooled["misnamed"]["rate"] == pytest.approx(0.5)


def test_results_that_nobody_corrected_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nobody has corrected"):
        corrections.read(run)
    out = ["--out", str(tmp_path / "scores")]
    assert run_pipeline.main(["evaluate", *out]) == 2
    assert run_pipeline.main(["evaluate", "--corrections", str(run), "--reference", str(run), *out]) == 2

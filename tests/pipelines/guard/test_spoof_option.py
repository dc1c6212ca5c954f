"""`--spoof` in `verify`, `enroll`, `identify` and `process`: an advisory, and a gate only at a threshold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import run_pipeline
from diarize.formats import transcript_json
from diarize.library import store as libraries
from diarize.types import Audio, Segment
from tests.cheap import SETTINGS, write_tones

OWN = ["--countermeasure=tests.pipelines.guard.test_spoof_option:countermeasure"]
VOICES = [option for option in SETTINGS if not option.startswith(("--asr", "--segmentation"))]


@dataclass(frozen=True)
class Low:
    """Low tones are people, by the strongest frequency in kHz."""

    name: str = "low@1"
    seconds: float = 2.0
    error: str = "wrong about sopranos"

    def __call__(self, audio: Audio, segments: Sequence[Segment]) -> NDArray[np.float32]:
        pieces = (audio.samples[round(s.start * audio.rate) : round(s.end * audio.rate)] for s in segments)
        strongest = (np.abs(np.fft.rfft(p, 16_000)).argmax() / 1000 for p in pieces)
        return np.array([1 - each for each in strongest], np.float32)


def countermeasure(**options: Any) -> Low:
    return Low()


@pytest.fixture
def person(tmp_path: Path) -> Path:
    return write_tones(tmp_path / "person.wav", [(300, 6.0)])


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    return write_tones(tmp_path / "machine.wav", [(3000, 6.0)])


def test_verify_prints_and_records_the_scores(person: Path, machine: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["verify", str(person), str(machine), *VOICES, *OWN]
    assert run_pipeline.main([*command, "--spoof"]) == 0
    out = capfd.readouterr().out
    assert f"{person}: spoofing (low): +0.70" in out and "wrong about sopranos" in out and "an advisory" in out
    assert run_pipeline.main([*command, "--spoof-threshold=0", "--json"]) == 0
    record = json.loads(capfd.readouterr().out)
    assert not record["a"]["spoof"]["suspected"] and record["b"]["spoof"]["suspected"]
    assert (
        record["b"]["spoof"]["score"] == pytest.approx(-2, abs=0.01) and record["settings"]["spoof"]["threshold"] == 0
    )
    assert run_pipeline.main([*command, "--json"]) == 0
    assert "spoof" not in json.loads(capfd.readouterr().out)["a"]  # nobody asked


def test_enrolment_is_refused_at_a_threshold_alone(tmp_path: Path, machine: Path) -> None:
    library = tmp_path / "people.db"
    command = ["enroll", "Robot", str(machine), "--library", str(library), *VOICES, *OWN]
    assert run_pipeline.main([*command, "--spoof-threshold=0", "--accept=clipping,voices"]) == 4
    assert run_pipeline.main([*command, "--spoof-threshold=0", "--accept=spoofing,clipping,voices"]) == 0
    with libraries.open(library) as opened:
        (utterance,) = opened.utterances(opened.people()[0].id)
        assert utterance.quality["spoof"] == pytest.approx(-2, abs=0.01)


def test_enrolment_with_an_advisory_counts(tmp_path: Path, machine: Path, capfd: pytest.CaptureFixture[str]) -> None:
    library = tmp_path / "people.db"
    assert (
        run_pipeline.main(
            [
                "enroll",
                "Robot",
                str(machine),
                "--library",
                str(library),
                *VOICES,
                *OWN,
                "--spoof",
                "--accept=clipping,voices",
            ]
        )
        == 0
    )
    assert "spoofing (low): -2.00" in capfd.readouterr().err


def test_process_scores_each_speaker(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    talk = write_tones(tmp_path / "talk.wav", [(300, 3.0), (3000, 3.0), (300, 3.0), (3000, 3.0)])
    out = tmp_path / "out"
    command = ["process", str(talk), "--out", str(out), *SETTINGS, "--asr=none", *OWN, "--num-speakers=2"]
    assert run_pipeline.main([*command, "--spoof", "--spoof-threshold=0"]) == 0
    text = (out / "talk" / "transcript.json").read_text()
    transcript = transcript_json.loads(text, "talk")
    scores = transcript.spoofing
    assert scores is not None and transcript_json.dumps(transcript) == text
    low, high = scores.score("SPEAKER_01"), scores.score("SPEAKER_02")
    assert low is not None and high is not None and low > 0.5 and high < -1.5
    assert scores.suspects("SPEAKER_02") and not scores.suspects("SPEAKER_01")
    assert transcript.provenance.stages["spoof"] == "low@1" and transcript.provenance.settings["spoof"]["enabled"]
    printed = capfd.readouterr().out
    assert "spoofing (low): SPEAKER_01 +0.7" in printed and "wrong about sopranos" in printed
    before = tmp_path / "plain" / "talk" / "transcript.json"
    assert run_pipeline.main([*command[:3], str(before.parents[1]), *command[4:]]) == 0
    assert "spoof" not in before.read_text()


def test_an_unknown_countermeasure_is_refused(person: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_pipeline.main(["verify", str(person), str(person), *VOICES, "--spoof", "--countermeasure=assist"]) == 2
    assert "Did you mean 'aasist'?" in capfd.readouterr().err


def test_identify_scores_each_speaker(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    talk = write_tones(tmp_path / "talk.wav", [(300, 3.0), (3000, 3.0), (300, 3.0), (3000, 3.0)])
    library = tmp_path / "people.db"
    libraries.open(library, create=True).close()
    settings = [each for each in SETTINGS if not each.startswith("--asr")]
    command = ["identify", str(talk), "--library", str(library), *settings, *OWN, "--num-speakers=2"]
    assert run_pipeline.main([*command, "--spoof"]) == 0
    printed = capfd.readouterr().out
    assert "talk.wav: spoofing (low): SPEAKER_01 +0.7" in printed and "wrong about sopranos" in printed
    assert "an advisory" in printed
    assert run_pipeline.main([*command, "--spoof", "--spoof-threshold=0", "--json"]) == 0
    person, machine = json.loads(capfd.readouterr().out)["recordings"][0]["speakers"]
    assert not person["spoof"]["suspected"] and machine["spoof"]["suspected"]
    assert machine["spoof"]["score"] == pytest.approx(-2, abs=0.05) and machine["spoof"]["threshold"] == 0
    assert machine["spoof"]["windows"] and "suspected" in machine["reason"]
    keys = {"model", "error", "threshold", "score", "lowest", "suspected", "windows"}
    assert set(person["spoof"]) == keys  # as of `verify`
    assert run_pipeline.main([*command, "--json"]) == 0
    assert "spoof" not in json.loads(capfd.readouterr().out)["recordings"][0]["speakers"][0]  # nobody asked
    assert run_pipeline.main([*command, "--spoof", "--countermeasure=no-such"]) == 2

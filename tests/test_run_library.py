"""The commands around enrolled speakers, one after the other, as a user meets them: real models, synthetic voices."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import run_pipeline
from diarize.formats import transcript_json
from diarize.models.store import Store

CONVERSATION = Path(__file__).resolve().parents[1] / "examples" / "conversation.flac"
QUICK = ["--asr", "none", "--offline", "-q"]


@pytest.fixture(scope="module")
def heard(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the example conversation, and a library that knows one of its voices."""
    folder = tmp_path_factory.mktemp("heard")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIARIZE_MODELS", str(store.folder))
        assert run_pipeline.main(["process", str(CONVERSATION), "--out", str(folder / "out"), *QUICK]) == 0
        command = ["enroll", "Nora", str(CONVERSATION), "--from", str(folder / "out" / "conversation")]
        command += ["--speaker", "SPEAKER_01", "--consent", "by letter", "--expires", "2999-12-31", "--offline"]
        assert run_pipeline.main([*command, "--library", str(folder / "people.db")]) == 0
    return folder


@pytest.fixture(autouse=True)
def _models(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIARIZE_MODELS", str(store.folder))


def test_who_is_enrolled_is_named_and_others_are_not(heard: Path, tmp_path: Path) -> None:
    library = ["--library", str(heard / "people.db")]
    assert run_pipeline.main(["process", str(CONVERSATION), "--out", str(tmp_path), *library, *QUICK]) == 0
    text = (tmp_path / "conversation" / "transcript.json").read_text(encoding="utf-8")
    transcript = transcript_json.loads(text, "conversation")
    labels = [speaker.label for speaker in transcript.speakers]
    assert labels.count("Nora") == 1
    assert [label.startswith("unknown-") for label in labels if label != "Nora"] == [True] * (len(labels) - 1)
    assert transcript.label(transcript.turns[0].speaker) == "Nora"
    assert "Nora:" in (tmp_path / "conversation" / "transcript.txt").read_text(encoding="utf-8")


def test_speakers_are_listed_shown_renamed_carried_and_removed(
    heard: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "people.db"
    shutil.copy(heard / "people.db", place)
    library = ["--library", str(place)]
    assert run_pipeline.main(["speakers", "list", "--json", *library]) == 0
    (person,) = json.loads(capfd.readouterr().out)
    assert (person["name"], person["consent"]) == ("Nora", "by letter")
    assert run_pipeline.main(["speakers", "rename", "Nora", "Nora <b>", *library]) == 0
    assert run_pipeline.main(["speakers", "show", "Nora <b>", *library]) == 0
    assert run_pipeline.main(["speakers", "export", str(tmp_path / "all.json"), *library]) == 0
    assert "is not encrypted" in capfd.readouterr().err
    assert run_pipeline.main(["speakers", "remove", "Nora <b>", *library]) == 0
    said = capfd.readouterr()
    assert "removed: Nora <b>" in said.out and "still contain" in said.err
    assert run_pipeline.main(["speakers", "list", *library]) == 0
    assert run_pipeline.main(["speakers", "import", str(tmp_path / "all.json"), *library]) == 0
    assert run_pipeline.main(["speakers", "rename", "Nora <b>", "Nora\n0 entries", *library]) == 0
    assert run_pipeline.main(["speakers", "show", "Nora\n0 entries", *library]) == 0
    assert "\n0 entries" not in capfd.readouterr().out  # a name cannot make a line of its own
    assert run_pipeline.main(["speakers", "audit", *library]) == 0
    assert "in order" in capfd.readouterr().out


def test_a_name_makes_no_line_of_its_own(heard: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "people.db"
    shutil.copy(heard / "people.db", place)
    assert run_pipeline.main(["speakers", "rename", "Nora", "Nora\nBen", "--library", str(place)]) == 0
    assert run_pipeline.main(["identify", str(CONVERSATION), "--library", str(place), "--offline"]) == 0
    told = capfd.readouterr().out
    assert "Nora\\nBen" in told and "Nora\nBen" not in told


def test_a_claim_is_checked(heard: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["verify", "--claim", "Nora", str(CONVERSATION), "--library", str(heard / "people.db"), "--offline"]
    assert run_pipeline.main([*command, "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["decision"] in ("same", "different", "undecided")
    assert run_pipeline.main([*command, "--prior", "2"]) == 2


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["speakers", "list", "--library", "nowhere.db"], 2),
        (["verify", "one.wav"], 2),
        (["enroll"], 2),
        (["enroll", "Nora", "a.wav", "--accept", "everything"], 2),
        (["enroll", "Nora", "--from", "out/x"], 2),
    ],
)
def test_what_cannot_be_is_refused(
    command: list[str], status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIARIZE_LIBRARY", str(tmp_path / "own.db"))
    assert run_pipeline.main(command) == status
    assert "error: " in capfd.readouterr().err


def test_fault_63_somebody_elses_voice_is_refused_with_the_reason(
    heard: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "people.db"
    shutil.copy(heard / "people.db", place)
    command = ["enroll", "Nora", str(CONVERSATION), "--from", str(heard / "out" / "conversation"), "--offline"]
    assert run_pipeline.main([*command, "--speaker", "SPEAKER_02", "--library", str(place), "--json"]) == 4
    found = json.loads(capfd.readouterr().out)
    assert {row["outcome"] for row in found["utterances"]} == {"refused"}
    assert all(row["reason"] for row in found["utterances"])
    assert found["library"] == str(place)


def test_enrolment_says_into_which_library(
    heard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The one that no option names, above all."""
    place = tmp_path / "people.db"
    shutil.copy(heard / "people.db", place)
    monkeypatch.setenv("DIARIZE_LIBRARY", str(place))
    command = ["enroll", "Nora", str(CONVERSATION), "--from", str(heard / "out" / "conversation"), "--offline"]
    assert run_pipeline.main([*command, "--speaker", "SPEAKER_02"]) == 4
    assert f"library: {place}\n" in capfd.readouterr().out
    assert run_pipeline.main(["enroll", "--re-embed", "--offline"]) == 0
    assert f"library: {place}\n" in capfd.readouterr().out

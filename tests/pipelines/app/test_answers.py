"""The app's answers are sentences, also to mistakes; its page runs in a real browser in tests/browser/test_app.py."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import pytest

import run_pipeline
from diarize.errors import MissingExtra
from diarize.models.store import Store
from pipelines.app import answers as app
from pipelines.app import interface
from pipelines.app.answers import EXAMPLES, AppAnswers
from pipelines.people import speakers
from tests.cheap import write_tones
from tests.pipelines.people.test_trials import CONFIG


@pytest.fixture
def answers(tmp_path: Path) -> AppAnswers:
    library = tmp_path / "people.db", os.environ
    change = partial(speakers.library_to_change, *library, create=True)
    read = partial(speakers.open_library, *library, read_only=True)
    out = tmp_path / "out"
    out.mkdir()
    return AppAnswers(CONFIG, Store(tmp_path / "models", offline=True), read, change, out)


@pytest.fixture
def voices(tmp_path: Path) -> tuple[str, str, str]:
    """Two recordings of one tone, and one of another."""
    high, low = [(2200, 3.0), (2200, 3.0)], [(160, 3.0), (160, 3.0)]
    rows = {"a": high, "b": high[:1], "c": low}
    return tuple(str(write_tones(tmp_path / f"{name}.wav", tones)) for name, tones in rows.items())  # type: ignore[return-value]


def test_two_recordings_are_compared_at_the_threshold(answers: AppAnswers, voices: tuple[str, str, str]) -> None:
    model = answers.models()[0]
    answers.threshold = 0.7
    same, different = answers.compare(voices[0], voices[1], model, False), answers.compare(*voices[1:], model, False)
    assert "% similar: the voices belong to the same person (threshold 70 %)." in same
    assert "% similar: not the same person, authentication failed (threshold 70 %)." in different
    answers.threshold = None
    assert "no decision: there is no calibration" in answers.compare(voices[0], voices[1], model, False)


def test_a_published_app_has_a_threshold_of_its_own(
    answers: AppAnswers, voices: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = answers.models()[0]
    monkeypatch.setitem(app.APP_THRESHOLDS, model, 0.85)
    assert "(threshold 85 %)" in answers.compare(voices[0], voices[1], model, True)


def test_what_is_missing_is_said(answers: AppAnswers, voices: tuple[str, str, str], tmp_path: Path) -> None:
    model = answers.models()[0]
    for a, b in ((None, None), (voices[0], None), ("", voices[0])):
        assert answers.compare(a, b, model, False) == "Error: record or choose both recordings, A and B."
    assert answers.enrol(" ", voices[0], "yes").startswith("Error: write a name")
    assert answers.enrol("Anna", None, "yes").startswith("Error: write a name")
    assert answers.enrol("Anna", voices[0], " ").startswith("Error: write what this person has agreed to")
    assert answers.identify(None).startswith("Error: ") and answers.process(None).text.startswith("Error: ")
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no sound at all")
    assert answers.compare(str(broken), voices[0], model, False).startswith("Error: ")
    assert answers.process(str(broken)).text.startswith("Error: ")
    assert answers.compare(voices[0], voices[1], "no-such-model", False).startswith("Error: ")
    assert "has no people" in answers.identify(voices[0]) or answers.identify(voices[0]).startswith("Error: ")


def test_one_recording_becomes_a_transcript_and_a_page(answers: AppAnswers, voices: tuple[str, str, str]) -> None:
    result = answers.process(voices[0])
    assert "SPEAKER_01" in result.text
    names = {Path(path).name for path in result.files}
    assert {"transcript.json", "transcript.txt", "transcript.srt", "a.review.html"} <= names
    assert result.page.startswith('<iframe sandbox="allow-scripts allow-downloads" srcdoc="')
    assert "<script" not in result.page  # all of the page within is escaped


def test_the_app_is_not_open_to_the_network_by_accident(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_pipeline.main(["app", "--host", "0.0.0.0"]) == 2
    assert "would be open to everybody" in capsys.readouterr().err
    assert run_pipeline.main(["app", "--threshold", "85"]) == 2
    assert "between 0 and 1" in capsys.readouterr().err
    secret = tmp_path / "secret"
    secret.write_text("no colon")
    assert run_pipeline.main(["app", "--password-file", str(secret)]) == 2
    assert "user:password" in capsys.readouterr().err


def test_the_examples_are_there() -> None:
    assert {path.name for path in EXAMPLES.iterdir()} == {"nora-1.ogg", "nora-2.ogg", "felix.ogg"}


def test_a_missing_gradio_is_said(monkeypatch: pytest.MonkeyPatch, answers: AppAnswers) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(MissingExtra, match=r"diarize-pipeline\[app\]"):
        interface.build(answers)

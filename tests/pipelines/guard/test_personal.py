"""What follows from an identity: data on standard input, and nothing about somebody who was not named."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import diarize
import run_pipeline
from diarize.errors import ConfigError, UnknownPerson
from diarize.library import portable
from diarize.library import store as libraries
from diarize.library.database.records import Enrolment
from diarize.types import Candidate, Speaker
from pipelines.guard import personal
from pipelines.people.identify import Identification, IdentifiedRecording, SpeakingTime
from tests.shared import SHARED, needs_shared

HOSTILE = "$(touch hacked); `touch hacked` ' \" && touch hacked"


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "people.db"
    with libraries.open(path, create=True) as opened:
        vector = np.eye(1, 8, dtype=np.float32)[0]
        person = opened.enrol(HOSTILE, [Enrolment("s", 3.0, {}, vector, "made", 0.0, 3.0)])
        opened.set_preferences(person.id, {"greeting": HOSTILE, "volume": 3})
    return path


def identified(library: Path) -> Identification:
    """One named speaker, and one who is similar to them and was not named."""
    with libraries.open(library) as opened:
        person = opened.people()[0]
    near = Candidate(person.id, person.name, 0.9, 5.5), Candidate(person.id, person.name, 0.4, 1.0)
    named = Speaker("SPEAKER_01", person.name, (near[0],), person.id, "named")
    unnamed = Speaker("SPEAKER_02", None, (near[1],), None, "not named")
    times = (SpeakingTime(named, 4.0), SpeakingTime(unnamed, 2.0))
    return Identification((IdentifiedRecording("talk.wav", times),), (), 0)


def test_nothing_is_guessed_below_the_threshold(library: Path) -> None:
    with libraries.open(library) as opened:
        named, unnamed = personal.events(identified(library), opened)
    assert named["person"]["name"] == HOSTILE and named["score"] == 5.5
    assert named["preferences"] == {"greeting": HOSTILE, "volume": 3}
    assert unnamed["person"] is None and unnamed["score"] is None and unnamed["preferences"] == {}
    assert "touch" not in json.dumps(unnamed)


def test_a_command_gets_data_and_no_shell_runs(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIARIZE_PASSPHRASE", "secret")
    script = tmp_path / "then.py"
    script.write_text(
        "import json, os, sys\n"
        "event = json.loads(sys.stdin.read())\n"
        "with open('out.jsonl', 'a') as file: file.write(json.dumps([event, sys.argv[1:], dict(os.environ)]) + '\\n')\n"
        "sys.exit(4 if event['person'] is None else 0)\n"
    )
    with libraries.open(library) as opened:
        happened = personal.events(identified(library), opened)
    command = personal.parse_command(f"{sys.executable} {script} 'one word' $HOME")
    failures = personal.run_command(command, happened)
    assert [(each.speaker, each.problem) for each in failures] == [("SPEAKER_02", "its exit status is 4")]
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [event["speaker"] for event, _, _ in rows] == ["SPEAKER_01", "SPEAKER_02"]
    assert rows[0][0]["person"]["name"] == HOSTILE and rows[0][1] == ["one word", "$HOME"]
    assert "DIARIZE_PASSPHRASE" not in rows[0][2]
    assert not (tmp_path / "hacked").exists()


def test_commands_that_cannot_be_started(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text, problem in (("", "names no command"), ("'open", "cannot be split")):
        with pytest.raises(ConfigError, match=problem):
            personal.parse_command(text)
    with libraries.open(library) as opened:
        happened = personal.events(identified(library), opened)
    with pytest.raises(ConfigError, match="cannot be started"):
        personal.run_command(("/nowhere/command",), happened)
    monkeypatch.setattr(personal, "PATIENCE", 0.2)
    slow = personal.run_command((sys.executable, "-c", "import time; time.sleep(60)"), happened[:1])
    assert "was stopped" in slow[0].problem


def test_preferences_on_the_command_line(library: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with libraries.open(library) as opened:
        id = opened.people()[0].id
    command = ["speakers", "preferences", id, "--library", str(library)]
    wanted = tmp_path / "p.json"
    wanted.write_text('{"language": "de", "nested": {"a": [1, 2]}}')
    assert run_pipeline.main([*command, "--set", str(wanted)]) == 0
    capfd.readouterr()
    assert run_pipeline.main(command) == 0
    assert json.loads(capfd.readouterr().out) == {"language": "de", "nested": {"a": [1, 2]}}
    for text, problem in (
        ("[1]", "it is no object"), ("{", "no preferences"), ('{"a": NaN}', "NaN is no number"),
        ('{"a": "' + "x" * 70_000 + '"}', "more than 65536 bytes"), ("[" * 60_000, "no preferences"),
    ):  # fmt: skip
        wanted.write_text(text)
        assert run_pipeline.main([*command, "--set", str(wanted)]) == 2
        assert problem in capfd.readouterr().err
    assert run_pipeline.main([*command, "--clear"]) == 0
    with libraries.open(library) as opened:
        assert opened.guard.preferences(id) == {}


def test_preferences_are_exported_with_the_person(library: Path, tmp_path: Path) -> None:
    with libraries.open(library) as opened:
        portable.write(opened, tmp_path / "all.zip")
        id = opened.people()[0].id
    with libraries.open(tmp_path / "other.db", create=True) as other:
        portable.read(other, tmp_path / "all.zip")
        assert other.guard.preferences(id) == {"greeting": HOSTILE, "volume": 3}


def test_preferences_from_python(library: Path) -> None:
    with diarize.Library(library) as people:
        people.set_preferences(HOSTILE, {"tea": True})
        assert people.preferences(HOSTILE) == {"tea": True}
        with pytest.raises(ConfigError, match="at most 65536"):
            people.set_preferences(HOSTILE, {"tea": "x" * 70_000})
        with pytest.raises(ConfigError, match="JSON serializable"):
            people.set_preferences(HOSTILE, {"tea": object()})
        with pytest.raises(UnknownPerson):
            people.preferences("Nobody")


@needs_shared
def test_identify_then(store: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real voices, a real library: the enrolled reader is named, the other one is nobody."""
    monkeypatch.setenv("DIARIZE_MODELS", str(store.folder))  # type: ignore[attr-defined]
    monkeypatch.chdir(tmp_path)
    folder, library = SHARED / "data" / "libri-dev", tmp_path / "people.db"
    recordings = [str(folder / f"1688-142285-000{i}.flac") for i in range(3)]
    options = ["--library", str(library), "--embedder=ge2e", "--offline"]
    assert run_pipeline.main(["enroll", "Anna", *recordings[:2], *options]) == 0
    (tmp_path / "p.json").write_text('{"language": "de"}')
    assert run_pipeline.main(["speakers", "preferences", "Anna", "--set", "p.json", "--library", str(library)]) == 0
    (tmp_path / "then.py").write_text("import sys\nwith open('out.jsonl', 'a') as file: file.write(sys.stdin.read())\n")
    talks = [str(folder / "1688-142285-0005.flac"), str(folder / "3005-163389-0003.flac")]
    single = ["--num-speakers=1", "--segmentation=none"]
    assert run_pipeline.main(["identify", *talks, *options, *single, "--then", f"{sys.executable} then.py"]) == 0
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    persons = {row["recording"]: row["person"] and row["person"]["name"] for row in rows}
    assert persons == {"1688-142285-0005.flac": "Anna", "3005-163389-0003.flac": None}
    assert [row["preferences"] for row in rows if row["person"]] == [{"language": "de"}]

    events: list[dict[str, object]] = []
    config = {"embedder": {"backend": "ge2e"}, "segmentation": {"backend": "none"}, "run": {"offline": True}}
    with diarize.Library(library) as people:
        people.identify(talks[:1], events.append, config={**config, "cluster": {"num_speakers": 1}})
    assert [event["preferences"] for event in events] == [{"language": "de"}]

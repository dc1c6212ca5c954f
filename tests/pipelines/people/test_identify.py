"""Names in transcripts, through the commands: a library of tones, recordings of tones."""

from __future__ import annotations

import json
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import run_pipeline
from diarize.audio.reading import read
from diarize.errors import OutputError
from diarize.library.database.records import Enrolment
from diarize.types import Segment
from pipelines.results import outputs
from tests.cheap import SETTINGS, Pitch, write_tones
from tests.library.scoring.test_identification import PLAIN
from tests.library.voices import opened

LOW, HIGH, MIDDLE = 300.0, 2500.0, 900.0
MODEL = Pitch().name


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a calibration for tones, a library, and two recordings of an enrolled and an unknown tone."""
    folder = tmp_path_factory.mktemp("place")
    # one tone with itself 0.8 and more, two tones 0.2 and less
    made = replace(PLAIN, model=MODEL, weights=(-10.0, 20.0, 0.0), bounds=(-8.0, 8.0), bandwidth=(250.0, 8000.0))
    made.save(folder / "tones.json")
    (folder / "settings.toml").write_text(f'[identify]\ncalibration = "{folder / "tones.json"}"\n')
    with opened(folder / "tones.db") as library:
        library.enrol("Lo Wagner", [enrolment(folder, LOW)])
        library.enrol("Mi Dupont", [enrolment(folder, MIDDLE)])
    for name, tones in (("one", [(LOW, 4.0), (HIGH, 4.0)] * 2), ("two", [(HIGH, 4.0), (MIDDLE, 4.0)] * 2)):
        write_tones(folder / "in" / f"{name}.wav", tones)
    return folder


def enrolment(folder: Path, hertz: float) -> Enrolment:
    """What twelve windows of a tone sound like."""
    sound = read(write_tones(folder / f"{hertz:.0f}.wav", [(hertz, 12.0)]), id="a").audios[0]
    vectors = Pitch()(sound, [Segment(0.5 + i, 2.1 + i) for i in range(10)]).vectors
    mean = vectors.sum(axis=0) / np.linalg.norm(vectors.sum(axis=0))
    return Enrolment(f"{hertz:064.0f}", 12.0, {}, mean.astype(np.float32), MODEL, 0.5, 12.5)


def run(place: Path, command: str, *arguments: object, library: str = "tones.db") -> int:
    settings = [option for option in SETTINGS if command == "process" or "asr" not in option]
    shared = ["--config", place / "settings.toml", "--library", place / library, *settings]
    return run_pipeline.main([command, *map(str, (*shared, *arguments))])


def speakers(out: Path, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((out / name / "transcript.json").read_text())["speakers"]
    return found


@pytest.fixture(scope="module")
def finished(place: Path) -> Path:
    assert run(place, "process", place / "in", "--out", place / "out", "-q") == 0
    return place / "out"


def test_the_known_have_names_and_the_unknown_one_label_in_all_recordings(finished: Path) -> None:
    first, second = speakers(finished, "one"), speakers(finished, "two")
    assert [(s["name"], s["link"]) for s in first] == [("Lo Wagner", None), (None, "unknown-1")]
    assert [(s["name"], s["link"]) for s in second] == [(None, "unknown-1"), ("Mi Dupont", None)]


def test_every_decision_is_in_the_transcript(finished: Path) -> None:
    known, unknown = speakers(finished, "one")
    assert known["voice"] == known["candidates"][0]["voice"]
    assert known["candidates"][0]["llr"] > 2.94 > known["candidates"][1]["llr"]
    assert known["reason"].startswith("log10 LR ")
    assert [c["name"] for c in unknown["candidates"]] != []
    assert all(c["llr"] < 2.94 for c in unknown["candidates"])
    assert "1.28 needed" in unknown["reason"]
    stages = json.loads((finished / "one" / "transcript.json").read_text())["provenance"]["stages"]
    assert stages["identify"].startswith("open-set(library=")


def test_exports_and_tables_show_names(finished: Path) -> None:
    text = (finished / "one" / "transcript.txt").read_text()
    assert "Lo Wagner" in text
    assert "unknown-1" in text
    assert "SPEAKER" not in text
    assert ",SPEAKER_02,unknown-1," in (finished / "speakers.csv").read_text()
    (lo, nobody) = json.loads((finished / "one" / "transcript.speakers.json").read_text())["speakers"]
    assert (lo["name"], nobody["link"]) == ("Lo Wagner", "unknown-1")


def test_two_runs_are_the_same_to_the_byte(place: Path, finished: Path) -> None:
    assert run(place, "process", place / "in", "--out", place / "again", "-q", "--workers", "2") == 0
    for path in finished.rglob("*"):
        if path.is_file() and path.name != "provenance.json":
            assert path.read_bytes() == (place / "again" / path.relative_to(finished)).read_bytes(), path.name


def test_names_and_voiceprints_stay_out_of_what_is_said_and_logged(
    place: Path, finished: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(place, "process", place / "in", "--out", place / "loud", "-v") == 0
    said = capfd.readouterr()
    logs = said.out + said.err + (finished / "run.json").read_text() + (finished / "provenance.json").read_text()
    assert "Wagner" not in logs
    assert "strangers" not in logs
    assert not [path.name for path in finished.rglob("*") if path.suffix in (".npz", ".npy")]


def test_two_copies_of_a_recording_have_the_same_strangers(place: Path) -> None:
    folder = place / "copies"
    for name in ("a.wav", "b.wav"):
        write_tones(folder / name, [(HIGH, 4.0), (LOW, 4.0)] * 2)
    assert run(place, "process", folder, "--out", place / "copied", "-q") == 0
    assert [s["link"] for s in speakers(place / "copied", "a")] == ["unknown-1", None]
    assert [s["link"] for s in speakers(place / "copied", "b")] == ["unknown-1", None]


def test_strangers_are_linked_without_a_library_where_that_is_asked_for(place: Path) -> None:
    arguments = ["process", *SETTINGS, "--config", place / "settings.toml", place / "in", "--out", place / "linked"]
    assert run_pipeline.main([*map(str, arguments), "--link", "-q"]) == 0
    assert [s["link"] for s in speakers(place / "linked", "one")] == ["unknown-1", "unknown-2"]
    assert [s["link"] for s in speakers(place / "linked", "two")] == ["unknown-2", "unknown-3"]


def test_each_channel_is_one_person_too(place: Path) -> None:
    path = place / "lines" / "call.wav"
    path.parent.mkdir()
    t = np.arange(16_000 * 6) / 16_000
    lines = [0.3 * np.sin(2 * np.pi * hertz * t) * (t > 0.5) * (t < 5.5) for hertz in (LOW, HIGH)]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((np.stack(lines, axis=1) * 32767).astype("<i2").tobytes())
    assert run(place, "process", path, "--out", place / "call", "--channel", "per-channel", "-q") == 0
    assert [(s["id"], s["name"], s["link"]) for s in speakers(place / "call", "call")] == [
        ("CHANNEL_0", "Lo Wagner", None),
        ("CHANNEL_1", None, "unknown-1"),
    ]


def test_an_end_to_end_diarizer_has_names_too(place: Path) -> None:
    out = place / "end-to-end"
    assert run(place, "process", place / "in", "--out", out, "-q", "--diarizer", "tests.cheap:diarizer") == 0
    assert [s["name"] for s in speakers(out, "one")] == ["Lo Wagner", None]
    stages = json.loads((out / "one" / "transcript.json").read_text())["provenance"]["stages"]
    assert set(stages) == {"diarize", "embed", "identify", "recognize"}


def test_fault_63_a_library_that_cannot_be_used_is_refused_before_any_work(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(place, "process", place / "in", "--out", out, library="none.db") == 2
    assert "none.db" in capsys.readouterr().err
    assert not out.exists()
    (place / "torn.db").write_bytes(b"this is no library, of any kind")
    assert run(place, "process", place / "in", "--out", out, library="torn.db") == 2
    assert not out.exists()


def test_fault_63_an_empty_library_names_nobody_and_says_so(place: Path, tmp_path: Path) -> None:
    with opened(place / "empty.db"):
        pass
    assert run(place, "process", place / "in", "--out", tmp_path / "out", "-q", library="empty.db") == 0
    assert [s["link"] for s in speakers(tmp_path / "out", "one")] == ["unknown-1", "unknown-2"]
    assert any(
        "nobody is enrolled" in note for note in json.loads((tmp_path / "out" / "run.json").read_text())["notes"]
    )


def test_fault_36_names_of_any_kind_are_safe(place: Path, tmp_path: Path) -> None:
    name = 'a\tb\n<script> --> "=cmd()" \u202e\U0001f600 NA'
    with opened(place / "odd.db") as library:
        library.enrol(name, [enrolment(place, LOW)])
    assert run(place, "process", place / "in", "--out", tmp_path / "out", "-q", library="odd.db") == 0
    assert speakers(tmp_path / "out", "one")[0]["name"] == name
    assert "\u202e" not in (tmp_path / "out" / "one" / "transcript.srt").read_text()


def test_fault_37_namesakes_stay_apart(place: Path, tmp_path: Path) -> None:
    with opened(place / "names.db") as library:
        library.enrol("Zoe\u0308", [enrolment(place, LOW)])
        library.enrol("Zo\u00eb", [enrolment(place, HIGH)])
    assert run(place, "process", place / "in", "--out", tmp_path / "out", "-q", library="names.db") == 0
    first, second = speakers(tmp_path / "out", "one")
    assert first["voice"] != second["voice"]
    text = (tmp_path / "out" / "one" / "transcript.txt").read_text()
    assert "(SPEAKER_01)" in text
    assert "(SPEAKER_02)" in text


def test_identify_tells_candidates_and_why(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "identify", place / "in" / "one.wav", "--top", "1") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "one.wav: 2 speakers"
    assert said[1].startswith("  SPEAKER_01, 8.")
    assert said[1].endswith(": Lo Wagner")
    assert "needed" in said[2]
    assert "Lo Wagner:" in said[3] and "(log10 " in said[3] and said[3].endswith("id-0001")
    assert len(said) == 7  # one candidate each


def test_identify_for_programs(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.wav").write_text("this is no recording")
    assert run(place, "identify", place / "in" / "two.wav", tmp_path / "bad.wav", "--json") == 3
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "diarize-identification/1"
    bad, two = found["recordings"]
    assert (bad["recording"], bad["speakers"]) == ("bad.wav", [])
    assert bad["problem"]
    assert [speaker["name"] for speaker in two["speakers"]] == [None, "Mi Dupont"]
    assert two["speakers"][1]["seconds"] == pytest.approx(8, abs=0.5)
    assert run(place, "identify", tmp_path / "bad.wav") == 4


def test_a_transcript_that_cannot_be_rewritten_is_a_row(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(folder: Path, *arguments: object) -> None:
        if folder.name == "two":
            raise OutputError(str(folder), "the disk is full")

    monkeypatch.setattr(outputs, "rewrite", full)
    assert run(place, "process", place / "in", "--out", tmp_path / "out", "-q") == 5
    rows = json.loads((tmp_path / "out" / "run.json").read_text())["recordings"]
    assert [(row["status"], row["stage"]) for row in rows] == [("done", ""), ("failed", "write")]
    assert "the disk is full" in capsys.readouterr().err
    assert speakers(tmp_path / "out", "two")[1]["name"] == "Mi Dupont"  # the transcript is as it was


def test_identify_keeps_its_results_where_it_is_told_to_and_resumes(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(place, "identify", place / "in", "--out", out, "--json") == 0
    first = capsys.readouterr().out
    written = {path: path.stat().st_mtime_ns for path in out.glob("*/transcript.json")}
    assert len(written) == 2
    assert run(place, "identify", place / "in", "--out", out, "--json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads(first)
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/transcript.json")} == written

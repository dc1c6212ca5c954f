"""The command line, as a user meets it: what is written, what is said, and the exit status."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import tomllib
import wave
from pathlib import Path

import pytest

import run_pipeline
from diarize.audio.reading import read
from diarize.formats import transcript_json
from diarize.models.store import Store
from tests.cheap import SETTINGS, write_tones

ROOT = Path(__file__).resolve().parents[1]
TWO = [(300, 3.0), (2500, 3.0), (300, 3.0), (2500, 3.0)]  # two "speakers", by turns


def process(*arguments: object) -> int:
    return run_pipeline.main(["process", *SETTINGS, *map(str, arguments)])  # the last of two options counts


def rows(out: Path) -> dict[str, dict[str, object]]:
    return {row["name"]: row for row in json.loads((out / "run.json").read_text())["recordings"]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over one recording of two speakers."""
    folder = tmp_path_factory.mktemp("finished")
    write_tones(folder / "in" / "talk.wav", TWO)
    assert process(folder / "in", "--out", folder / "out", "-q") == 0
    return folder / "out"


def test_one_command_leaves_every_format_and_the_tables(finished: Path) -> None:
    assert sorted(path.name for path in (finished / "talk").iterdir()) == [
        "provenance.json",
        "transcript.csv",
        "transcript.ctm",
        "transcript.json",
        "transcript.rttm",
        "transcript.seglst.json",
        "transcript.speakers.json",
        "transcript.srt",
        "transcript.stm",
        "transcript.txt",
        "transcript.uem",
        "transcript.vtt",
    ]
    assert sorted(path.name for path in finished.iterdir() if path.is_file()) == [
        "provenance.json",
        "run.json",
        "speakers.csv",
        "timeline.csv",
        "timeline.parquet",
    ]


def test_the_transcript_says_who_said_what_and_how_it_came_to_be(finished: Path) -> None:
    transcript = transcript_json.loads((finished / "talk" / "transcript.json").read_text(), "talk")
    assert [turn.speaker for turn in transcript.turns] == ["SPEAKER_01", "SPEAKER_02", "SPEAKER_01", "SPEAKER_02"]
    assert transcript.duration == pytest.approx(14.5)
    assert all(word.speaker is not None for word in transcript.words)
    assert transcript.provenance.source is not None
    assert transcript.provenance.source.path == "talk.wav"
    assert len(transcript.provenance.source.digest) == 64
    assert set(transcript.provenance.stages) == {"detect", "embed", "cluster", "recognize"}


def test_the_run_is_on_record(finished: Path) -> None:
    run = json.loads((finished / "run.json").read_text())
    assert run["settings"]["vad"]["backend"] == "energy"
    assert run["versions"]["numpy"]
    (row,) = run["recordings"]
    assert (row["status"], row["speakers"], row["turns"]) == ("done", 2, 4)


def test_the_timeline_has_the_columns_that_people_ask_for_first(finished: Path) -> None:
    text = (finished / "talk" / "transcript.csv").read_text(encoding="utf-8-sig")
    columns = ["recording", "start", "end", "duration", "speaker", "name", "text"]
    assert next(csv.reader(io.StringIO(text)))[:7] == columns
    timeline = (finished / "timeline.csv").read_text(encoding="utf-8-sig")
    assert next(csv.reader(io.StringIO(timeline)))[:7] == columns


def test_two_identical_runs_give_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    write_tones(tmp_path / "in" / "talk.wav", TWO)
    assert process(tmp_path / "in", "--out", tmp_path / "out", "-q", "--workers", "2") == 0
    for path in finished.rglob("*"):
        if path.is_file() and path.name != "provenance.json":
            assert (tmp_path / "out" / path.relative_to(finished)).read_bytes() == path.read_bytes(), path.name


def test_one_bad_file_never_stops_the_others(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b", "c"):
        write_tones(tmp_path / "in" / f"{name}.wav", [(300, 2.0 + ord(name) / 100)])
    (tmp_path / "in" / "empty.wav").touch()
    (tmp_path / "in" / "text.mp3").write_text("this is no recording\n" * 50)
    os.mkfifo(tmp_path / "in" / "pipe.wav")
    assert process(tmp_path / "in", "--out", tmp_path / "out") == 3
    found = rows(tmp_path / "out")
    assert {name: row["status"] for name, row in found.items()} == {
        "a.wav": "done",
        "b.wav": "done",
        "c.wav": "done",
        "empty.wav": "failed",
        "pipe.wav": "failed",
        "text.mp3": "failed",
    }
    assert "empty" in str(found["empty.wav"]["reason"])
    assert str(tmp_path) not in (tmp_path / "out" / "run.json").read_text()  # the same in every folder
    assert not (tmp_path / "out" / "empty").exists()
    said = capfd.readouterr()
    assert "3 of 6 done" in said.out
    assert "empty.wav" in said.err


def test_fault_50_a_crash_a_mistake_and_want_of_memory_cost_a_row_each(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "segfault", "b", "mistake", "memory", "c")):
        write_tones(tmp_path / "in" / f"{name}.wav", [(300, 2.0 + number / 10)])
    dying = ["--workers", "2", "--embedder", "tests.cheap:dying_embedder"]
    assert process(tmp_path / "in", "--out", tmp_path / "out", "-q", *dying) == 3
    assert {name: row["status"] for name, row in rows(tmp_path / "out").items()} == {
        "a.wav": "done",
        "b.wav": "done",
        "c.wav": "done",
        "mistake.wav": "failed",
        "memory.wav": "failed",
        "segfault.wav": "crashed",
    }


def test_fault_20_the_same_bytes_under_two_names_are_processed_once_and_written_twice(tmp_path: Path) -> None:
    first = write_tones(tmp_path / "in" / "a.wav", TWO)
    shutil.copy(first, tmp_path / "in" / "b.wav")
    assert process(tmp_path / "in", "--out", tmp_path / "out", "-q") == 0
    a, b = (transcript_json.loads((tmp_path / "out" / x / "transcript.json").read_text(), x) for x in "ab")
    assert a.turns == b.turns
    assert (a.recording, b.recording) == ("a", "b")
    assert "same bytes as a.wav" in " ".join(b.provenance.notes)
    assert (tmp_path / "out" / "b" / "transcript.rttm").read_text().startswith("SPEAKER b 1 ")


@pytest.mark.parametrize("tones", [[(0, 3.0)], [(0, 0.05)]], ids=["silence", "blink"])
def test_fault_21_silence_gives_valid_empty_outputs(tmp_path: Path, tones: list[tuple[float, float]]) -> None:
    write_tones(tmp_path / "in" / "quiet.wav", tones)
    assert process(tmp_path / "in", "--out", tmp_path / "out", "-q") == 0
    folder = tmp_path / "out" / "quiet"
    assert (folder / "transcript.rttm").read_text() == ""
    assert (folder / "transcript.vtt").read_text().startswith("WEBVTT")
    silent = transcript_json.loads((folder / "transcript.json").read_text(), "quiet")
    assert silent.turns == () and "no speech was found" in silent.provenance.notes
    assert (tmp_path / "out" / "timeline.csv").read_text().startswith("recording,")


@pytest.mark.parametrize("seconds", [0.05, 0.5, 5.0])
def test_fault_23_very_short_recordings_are_fine(tmp_path: Path, seconds: float) -> None:
    write_tones(tmp_path / "in" / "short.wav", [(300, seconds)])
    assert process(tmp_path / "in", "--out", tmp_path / "out", "-q") == 0


def test_fault_32_a_speaker_of_less_than_two_seconds_is_fine(tmp_path: Path) -> None:
    write_tones(tmp_path / "in" / "uneven.wav", [(300, 6.0), (2500, 1.0), (300, 6.0)])
    assert process(tmp_path / "in", "--out", tmp_path / "out", "-q") == 0


def test_fault_33_more_speakers_than_there_is_speech_for_are_clamped_and_it_is_said(tmp_path: Path) -> None:
    write_tones(tmp_path / "in" / "one.wav", [(300, 1.0)])
    assert process(tmp_path / "in", "--out", tmp_path / "out", "-q", "--num-speakers", "1000000") == 0
    transcript = transcript_json.loads((tmp_path / "out" / "one" / "transcript.json").read_text(), "one")
    assert len(transcript.speakers) >= 1
    assert "1000000 speakers were requested" in " ".join(transcript.provenance.notes)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--num-speakers", "0"], "--num-speakers must be at least 1, not 0"),
        (["--num-speakers", "-3"], "--num-speakers must be at least 1, not -3"),
        (["--min-speakers", "5", "--max-speakers", "2"], "may not exceed"),
        (["--formats", "rtttm"], "rttm"),
        (["--vad", "silro"], "silero"),
        (["--asr", "wisper:small"], "whisper"),
        (["--channel", "left"], "--channel must be"),
        (["--counts", "nowhere.csv"], "nowhere.csv"),
        (["--transcript", "nowhere.json"], "nowhere.json"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_fault_33_what_cannot_be_is_refused_before_any_work(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], what: str
) -> None:
    write_tones(tmp_path / "in" / "a.wav", TWO)
    assert process(tmp_path / "in", "--out", tmp_path / "out", *arguments) == 2
    assert what in capfd.readouterr().err
    assert not (tmp_path / "out" / "a").exists()


def test_fault_40_outputs_go_nowhere_else(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_tones(tmp_path / "in" / "a.wav", TWO)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert process(tmp_path / "in", "--out", tmp_path / "link") == 2
    assert "link" in capfd.readouterr().err
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").symlink_to(tmp_path / "elsewhere")
    assert process(tmp_path / "in", "--out", tmp_path / "out") == 5
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert process(tmp_path / "in", "--out", tmp_path / "in") == 2
    (tmp_path / "file").touch()
    assert process(tmp_path / "in", "--out", tmp_path / "file") == 2


def test_nothing_to_do_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").touch()
    assert process(tmp_path / "in", "--out", tmp_path / "out") == 4
    assert "1 file skipped" in capfd.readouterr().err


def test_a_file_that_is_not_there_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_tones(tmp_path / "talk.wav", TWO)
    assert process(tmp_path / "talc.wav", "--out", tmp_path / "out", "-q") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith(f"talc.wav: there is no such file or folder. Did you mean {tmp_path / 'talk.wav'}?")
    assert not (tmp_path / "out").exists()


def test_a_missing_model_without_a_network_is_the_environments_fault(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tones(tmp_path / "in" / "a.wav", TWO)
    monkeypatch.setenv("DIARIZE_MODELS", str(tmp_path / "empty"))
    command = ["process", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--offline", "--embedder", "ge2e"]
    assert run_pipeline.main([*command, "--vad", "energy", "--asr", "none"]) == 5
    assert "ge2e" in capfd.readouterr().err


def test_words_from_another_recognizer_are_brought_in(tmp_path: Path) -> None:
    write_tones(tmp_path / "in" / "a.wav", TWO)
    words = [{"word": "hello", "start": 0.7, "end": 1.2}, {"word": "there", "start": 4.5, "end": 5.0, "speaker": "Ben"}]
    segments = [{"start": 0.7, "end": 5.0, "text": "hello there", "words": words}]
    (tmp_path / "a.json").write_text(json.dumps({"language": "en", "segments": segments}))
    assert process(tmp_path / "in", "--out", tmp_path / "out", "-q", "--transcript", tmp_path / "a.json") == 0
    transcript = transcript_json.loads((tmp_path / "out" / "a" / "transcript.json").read_text(), "a")
    assert [(word.text, word.speaker) for word in transcript.words] == [
        ("hello", "SPEAKER_01"),
        ("there", "SPEAKER_02"),
    ]


def test_counts_are_known_per_recording(tmp_path: Path) -> None:
    write_tones(tmp_path / "in" / "a.wav", TWO)
    write_tones(tmp_path / "in" / "b.wav", [*TWO, (300, 1.0)])
    (tmp_path / "counts.csv").write_text("recording,num_speakers\nb,1\n")
    assert process(tmp_path / "in", "--out", tmp_path / "out", "-q", "--counts", tmp_path / "counts.csv") == 0
    assert {name: row["speakers"] for name, row in rows(tmp_path / "out").items()} == {"a.wav": 2, "b.wav": 1}


def test_export_writes_formats_again_without_the_recording(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "talk"
    folder.mkdir()
    shutil.copy(finished / "talk" / "transcript.json", folder)
    assert run_pipeline.main(["export", str(folder), "--formats", "srt,rttm"]) == 0
    for name in ("transcript.srt", "transcript.rttm"):
        assert (folder / name).read_bytes() == (finished / "talk" / name).read_bytes()
    assert run_pipeline.main(["export", str(tmp_path / "nothing"), "--formats", "srt"]) == 4
    (folder / "transcript.srt").unlink()
    assert run_pipeline.main(["export", str(tmp_path), "--formats", "srt"]) == 0  # of all recordings
    assert (folder / "transcript.srt").exists()
    assert run_pipeline.main(["export", str(folder), "--formats", "srx"]) == 2


@pytest.mark.parametrize("part", ["3/2", "x"])
def test_what_is_no_part_of_a_run_is_refused_in_one_line(part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_pipeline.main(["process", "somewhere", "--out", "out", "--shard", part]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: --shard") and "Traceback" not in said


def test_status_is_told_to_programs(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_pipeline.main(["status", str(finished), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["life"] == "finished" and set(told["counts"]) <= {"done", "failed", "crashed"}


def test_settings_show_where_they_come_from(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIARIZE_VAD_PAD", "0.25")
    (tmp_path / "run.toml").write_text("[cluster]\nmax_speakers = 6\n")
    command = ["config", "show", "--origin", "--config", str(tmp_path / "run.toml"), "--min-speakers", "2"]
    assert run_pipeline.main(command) == 0
    shown = capfd.readouterr().out.splitlines()
    assert "cluster.min_speakers = 2    [command line]" in shown
    assert f"cluster.max_speakers = 6    [{tmp_path / 'run.toml'}]" in shown
    assert "vad.pad = 0.25    [DIARIZE_VAD_PAD]" in shown
    assert "turns.gap = 0.2    [default]" in shown


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, str(ROOT / "run_pipeline.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


ASCII_ONLY = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}


@pytest.mark.parametrize(("locale", "id"), [({"LC_ALL": "C"}, "Grüße_日本"), (ASCII_ONLY, "Gr_")])
def test_fault_61_a_terminal_that_knows_ascii_only_gets_ascii(tmp_path: Path, locale: dict[str, str], id: str) -> None:
    write_tones(tmp_path / "in" / "Grüße 日本.wav", TWO)
    done = run("process", tmp_path / "in", "--out", tmp_path / "out", *SETTINGS, env=os.environ | locale)
    assert done.returncode == 0, done.stderr
    (folder,) = (path for path in (tmp_path / "out").iterdir() if path.is_dir())
    assert folder.name.startswith(id)
    assert (folder / "transcript.json").exists()
    if "PYTHONIOENCODING" in locale:
        assert done.stdout.isascii()
        assert folder.name.isascii()


def test_fault_64_a_closed_output_stream_does_not_end_a_run(tmp_path: Path) -> None:
    write_tones(tmp_path / "in" / "a.wav", TWO)
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "run_pipeline.py", "process", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    done = subprocess.run([*command, *SETTINGS], cwd=ROOT, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert (tmp_path / "out" / "run.json").exists()


GUARD = """
import pathlib, socket
def refuse(*args, **kwargs):
    pathlib.Path({mark!r}).write_text(repr(args))
    raise OSError("the network is out of bounds")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
"""
REAL = ["--vad=silero", "--embedder=ge2e"]  # without --offline: nothing may be tried


@pytest.mark.parametrize(
    ("chosen", "recognizer"),
    [(SETTINGS, "clock"), (REAL, "moonshine/"), ([*REAL, "--asr=pocketsphinx"], "pocketsphinx/")],
    ids=["cheap", "real", "pocketsphinx"],
)
def test_the_main_job_opens_no_socket(
    tmp_path: Path, store: Store, moonshine_model: Path, chosen: list[str], recognizer: str
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    for folder in (store.path("silero-vad-v6").parent, store.path("ge2e").parent, moonshine_model):
        (models / folder.name).symlink_to(folder)
    mark, guard = tmp_path / "opened", tmp_path / "site" / "sitecustomize.py"  # it also reaches the worker processes
    guard.parent.mkdir()
    guard.write_text(GUARD.format(mark=str(mark)))
    home = tmp_path / "home"  # native code that reports home leaves its traces there, where Python's guard sees nothing
    home.mkdir()
    environment = os.environ | {"PYTHONPATH": str(guard.parent), "DIARIZE_MODELS": str(models)}
    environment |= {"HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": str(home)}
    spoken = read(ROOT / "examples" / "conversation.flac", id="talk").audios[0].samples[: 12 * 16_000]
    (tmp_path / "in").mkdir()
    with wave.open(str(tmp_path / "in" / "a.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((spoken * 32767).astype("<i2").tobytes())
    done = run("process", tmp_path / "in", "--out", tmp_path / "out", *chosen, env=environment)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 done" in done.stdout.decode()
    transcript = json.loads((tmp_path / "out" / "a" / "transcript.json").read_text())
    assert transcript["provenance"]["stages"]["recognize"].startswith(recognizer)
    assert not mark.exists(), mark.read_text()
    assert list(home.rglob("*")) == []
    connect = "import socket; socket.create_connection(('127.0.0.1', 1), timeout=0.1)"
    subprocess.run([sys.executable, "-c", connect], env=environment, stderr=subprocess.DEVNULL, check=False)
    assert mark.exists()  # the guard guards


def test_recordings_may_stand_behind_options(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    a, b = write_tones(tmp_path / "a.wav", TWO), write_tones(tmp_path / "b.wav", [(300, 2.0)])
    assert run_pipeline.main(["process", str(a), "--out", str(tmp_path / "out"), "-q", *SETTINGS, str(b)]) == 0
    assert set(rows(tmp_path / "out")) == {"a.wav", "b.wav"}
    with pytest.raises(SystemExit) as ended:
        run_pipeline.main(["process", str(a), "--out", str(tmp_path / "out"), "--colour", "red"])
    assert ended.value.code == 2
    assert "--colour: no such option" in capfd.readouterr().err


def test_what_lies_in_the_folder_from_earlier_runs_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        write_tones(tmp_path / f"{name}.wav", TWO)
        assert process(tmp_path / f"{name}.wav", "--out", tmp_path / "out") == 0
    assert "1 recording of earlier runs" in capfd.readouterr().out


def test_the_door_is_installed_as_the_packages_are() -> None:
    """A file that is forced into the wheel is copied by an editable install, and goes stale."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel == {"only-include": ["diarize", "pipelines", Path(run_pipeline.__file__).name]}

"""What people see: nothing cut that they may want to copy, nothing that commands their terminal."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from diarize.config import parse
from diarize.models.registry import REGISTRY
from diarize.models.store import ModelStatus, Store
from pipelines import plan
from pipelines.batch.process import RunReport
from pipelines.cli import console, doctor, run_report
from pipelines.cli.commands.machine import setting_lines
from pipelines.cli.commands.models import model_lines
from pipelines.cli.doctor import doctor_lines
from pipelines.cli.observers import PlainObserver
from pipelines.inputs import settings
from pipelines.results.outcomes import Outcome
from tests.cheap import SETTINGS, write_tones

DONE = Outcome("talk", "talk.wav", "done", duration=83.2, speakers=1, turns=2, words=1)


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_names_that_one_has_to_type_are_whole_on_a_narrow_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for line in model_lines(Store(tmp_path).list()):
        console.say(line)
    listed = capfd.readouterr().out
    assert all(re.search(rf"^{re.escape(name)} ", listed, re.MULTILINE) for name in REGISTRY)
    for part in doctor_lines(doctor.examine(Store(tmp_path)), verbose=True):
        console.say(part)
    told = capfd.readouterr().out
    assert all(f"diarize models pull {name}\n" in told for name in REGISTRY)
    assert "not ready" in told


def test_the_doctor_tells_what_is_needed_first_and_the_rest_shortly(tmp_path: Path, store: Store) -> None:
    told = [part for part in doctor_lines(doctor.examine(Store(tmp_path))) if isinstance(part, str)]
    assert told[0].startswith("not ready")
    assert told[1] == "missing, required:"
    assert "diarize models pull silero-vad-v6" in told[2]
    assert not any("diarize models pull whisper-small" in line for line in told)
    (optional,) = [line for line in told if line.startswith("missing, optional: ")]
    assert "model whisper-small, " in optional
    assert told[-1].endswith("diarize doctor --verbose")
    assert len(told) < 20
    assert next(iter(doctor_lines(doctor.examine(store)))) == "ready: diarize process can run"


def test_a_model_that_its_first_download_pinned_is_shown_as_such() -> None:
    status = ModelStatus(REGISTRY["ge2e"], "present", Path("store"), pinned=True)
    assert "digest fixed by the first download" in next(model_lines([status]))


def test_a_model_is_listed_with_those_whom_its_licence_demands_to_name() -> None:
    status = ModelStatus(REGISTRY["community-1-embedding"], "present", Path("store"))
    *_, last = model_lines([status])
    assert last.startswith("    attribution: pyannote/speaker-diarization-community-1 by pyannoteAI")
    assert len(list(model_lines([ModelStatus(REGISTRY["ge2e"], "missing", Path("store"))]))) == 2


def test_settings_are_shown_with_their_meaning() -> None:
    found = settings.resolve({"cluster.min_speakers": 2}, None, {})
    lines = list(setting_lines(found, origin=False))
    assert lines[lines.index("cluster.min_speakers = 2") + 1] == "    lowest possible number of speakers"
    assert "asr.language = unset" in lines


def test_nothing_that_is_said_commands_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    hostile = "a\x1b]0;mine\x07\x1b[2J\u202eb.wav"
    console.say(f"results: {hostile}\nand more")
    console.say(run_report.summary_table(RunReport((replace(DONE, name=hostile),), (), ())))
    said = capfd.readouterr().out
    assert not {"\x1b", "\x07", "\u202e"} & set(said)
    assert said.splitlines()[1] == "and more"


def test_the_closing_table_adds_up_and_long_runs_show_what_failed(capfd: pytest.CaptureFixture[str]) -> None:
    rows = tuple(replace(DONE, name=f"{i}.wav") for i in range(run_report.MOST_ROWS))
    console.say(
        run_report.summary_table(RunReport((*rows, Outcome("bad", "bad.wav", "failed", reason="is empty")), (), ()))
    )
    said = capfd.readouterr().out
    assert "50 of 51 done" in said
    assert "bad.wav" in said
    assert "7.wav" not in said


def test_one_is_singular() -> None:
    assert run_report.summary_line(DONE) == "done: talk.wav: 0:01:23, 1 speaker, 2 turns, 1 word"


def test_every_stage_that_is_told_has_its_words() -> None:
    everything = {"vad": {"backend": "energy"}, "embedder": {"backend": "tests.cheap:embedder"}}
    everything |= {"asr": {"backend": "tests.cheap:recognizer"}, "segmentation": {"backend": "tests.cheap:embedder"}}
    chosen = plan.make(parse(everything, "test"), Store(Path("nowhere"), offline=True))
    assert set(chosen.stages) == {"segment", "detect", "embed", "cluster", "recognize"}
    assert set(chosen.stages) <= set(run_report.STAGES)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("streams", [">/dev/full", "2>/dev/full", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_fault_64_a_run_outlives_its_streams(tmp_path: Path, streams: str) -> None:
    write_tones(tmp_path / "in" / "a.wav", [(300, 2.0)])
    command = [sys.executable, "run_pipeline.py", "process", *SETTINGS, tmp_path / "in", "--out", tmp_path / "out"]
    shell = ["sh", "-c", f'exec "$@" {streams}', "sh", *map(str, command)]
    done = subprocess.run(shell, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    assert (done.returncode, "Error" in done.stderr) == (0, False)
    assert (tmp_path / "out" / "run.json").exists()


def test_a_table_keeps_its_columns_on_a_terminal_of_20(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    console.say(run_report.summary_table(RunReport((DONE,), (), ())))
    assert "talk.wav" in capfd.readouterr().out


@pytest.mark.parametrize("columns", ["0", "00", "1"])
def test_a_terminal_without_columns_is_told_everything(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    stream = io.StringIO()
    console.say("error: no such folder", stream)
    assert stream.getvalue() == "error: no such folder\n"


LONG = "2031-05-02/meetings of the board/room_four/afternoon session with a long name_second part.flac"


@pytest.mark.parametrize("columns", [80, 120])
def test_at_80_columns_no_word_or_figure_is_broken(
    columns: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    rows = (
        replace(DONE, name=LONG, duration=36000.0, turns=12345, words=123456, lost=12.3, reused=True),
        Outcome("b", "b.wav", "failed", "read", "is a text file, not a recording: it begins with 'this is no'"),
        Outcome("c", "c.wav", "crashed", "embed", "the worker process was killed by signal 9 (SIGKILL)", reused=True),
    )
    report = RunReport(rows, (), ())
    console.say(run_report.summary_table(report))
    text = capfd.readouterr().out
    assert max(map(len, text.splitlines())) <= columns
    assert "…" not in text and {"10:00:00", "12345", "123456", "crashed", "earlier"} <= set(text.split())
    joined = " ".join(line[2 : 2 + (columns - 58)].strip() for line in text.splitlines())
    assert all(word in joined or word in text for word in re.split(r"[ /_]", LONG))
    assert "1 of 3 done (1 from an earlier run)" in " ".join(joined.split())

    lost, failed, crashed = run_report.remarks(report)
    assert lost.startswith(f"lost: {LONG}: 12.3 s") and "\n" not in failed + crashed
    assert failed == "failed: b.wav: read: is a text file, not a recording: it begins with 'this is no'"


def test_messages_are_broken_between_words_and_no_figure_leaves_its_unit() -> None:
    text = "failed: a.wav: embed: a second voice was heard at 7.0 s and 45 % of /a/long/path/that/stays/whole.wav"
    for width in range(20, 110):
        lines = console.wrapped(text, width).split("\n")
        assert " ".join(line.strip() for line in lines) == text
        assert all(
            len(line) <= width or " " not in line.strip() for line in lines if "s and" not in line or len(line) > 9
        )
        assert any("7.0 s" in line for line in lines) and any("45 %" in line for line in lines)
    assert console.wrapped("short", 80) == "short"


def test_names_are_broken_after_a_separator_and_hard_where_there_is_none() -> None:
    assert console.broken("board/room_four", 8) == "board/\nroom_\nfour"
    assert console.broken("anna-maria 2031-05-02", 12) == "anna-maria\n2031-05-02"
    assert console.broken("x" * 25, 10) == "x" * 10 + "\n" + "x" * 10 + "\n" + "x" * 5
    assert console.broken("", 5) == ""
    assert list(console.filled(["a of b done", "ETA 0:00:10", "1 failed"], 26)) == [
        "a of b done, ETA 0:00:10,",
        "1 failed",
    ]


def test_messages_in_a_file_are_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream = io.StringIO()
    console.say("failed: " + "word " * 30, stream)
    assert stream.getvalue().count("\n") == 1


def test_notes_are_pointed_to() -> None:
    plain, noted = DONE, replace(DONE, notes=("words: the file has 2 speakers",))
    assert list(run_report.remarks(RunReport((plain,), (), ()))) == []
    (line,) = run_report.remarks(RunReport((plain, noted, noted), (), ()))
    assert line == "notes: on 2 recordings, in run.json (-v prints them)"
    assert list(run_report.remarks(RunReport((noted,), (), noted.notes))) == []  # of the plan: printed at the start


def test_verbose_prints_notes(capfd: pytest.CaptureFixture[str]) -> None:
    row = replace(DONE, name="a.wav", notes=("two\nlines",))
    PlainObserver(False).recording_finished(row)
    assert "note" not in capfd.readouterr().err
    PlainObserver(True).recording_finished(row)
    assert "note: a.wav: two" in capfd.readouterr().err

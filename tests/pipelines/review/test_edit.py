"""`diarize edit`: corrections in the folder of a recording's results, and what follows from them."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

import run_pipeline
from diarize.corrections.operations import DoesNotFit
from diarize.errors import FormatError, OutputError
from diarize.types import Transcript
from pipelines.results import corrections, integrity, outputs
from pipelines.results.corrections import CORRECTED, LOG, Corrections, Stale, base_path
from tests.corrections.test_operations import transcript

NAMES = ("txt", "rttm", "srt", "csv")
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "out" / "meeting"
    write(path, transcript())
    return path


def write(folder: Path, transcript: Transcript) -> None:
    outputs.write(folder, transcript, NAMES, {})


@dataclass(frozen=True)
class Done:
    status: int
    stdout: str
    stderr: str


def run(*arguments: str) -> Done:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = run_pipeline.main(arguments)
        except SystemExit as error:
            status = int(error.code or 0)
    return Done(status, out.getvalue(), err.getvalue())


def edit(folder: Path, *arguments: str) -> Done:
    return run("edit", str(folder), "--author", "anna", *arguments)


def test_names_turns_and_words_reach_every_export(folder: Path) -> None:
    machine = (folder / "transcript.json").read_bytes()
    done = edit(folder, "--name", "A=Anna", "--turn", "2-3=Bea", "--word", "2.5=too", "--turn", "14-16=new:Max")
    assert done.status == 0, done.stderr
    assert (folder / "transcript.json").read_bytes() == machine
    text = (folder / "transcript.txt").read_text()
    assert "Anna: one" in text and "Bea: too" in text and "Bea: three" in text and "Max: nobody's" in text
    assert " 2.000 1.000 <NA> <NA> B " in (folder / "transcript.rttm").read_text()
    assert "[Bea]: too" in (folder / "transcript.srt").read_text()
    words = json.loads((folder / CORRECTED).read_text())["words"]
    assert [word["probability"] for word in words] == [0.9, None, 0.7, 0.6, 0.5]
    assert [word.get("human", False) for word in words] == [False, True, False, False, True]


def test_the_same_edit_twice_is_the_same_as_once(folder: Path) -> None:
    edit(folder, "--name", "A=Anna", "--word", "2.5=too")
    before = (folder / LOG).read_bytes()
    again = edit(folder, "--name", "A=Anna", "--word", "2.5=too")
    assert again.status == 0 and again.stdout.count("skipped") == 2
    assert (folder / LOG).read_bytes() == before


def test_undo_redo_and_the_list(folder: Path) -> None:
    edit(folder, "--name", "A=Anna", "--merge", "A,B")
    assert "SPEAKER" not in (folder / "transcript.txt").read_text()
    edit(folder, "--undo")
    assert "Bea: three" in (folder / "transcript.txt").read_text()
    edit(folder, "--redo")
    listed = edit(folder, "--undo", "1", "--list").stdout
    assert "A is Anna (undone)" in listed and "B is A" in listed and "1 correction in effect" in listed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--name", "C=x"), "no such speaker"),
        (("--name", "Anna"), "has no ="),
        (("--turn", "3-2=A"), "no start and end"),
        (("--turn", "x=A"), "no start and end"),
        (("--turn", "13-13.5="), "changes nothing"),
        (("--word", "19=x"), "no word within 0.3 s"),
        (("--word", "x=x"), "no time"),
        (("--merge", "A"), "names one speaker"),
        (("--undo",), "no correction to undo"),
        (("--apply", "nowhere.csv"), "nowhere.csv"),
    ],
    ids=str,
)
def test_a_request_that_cannot_be_met_is_said_in_one_line(folder: Path, arguments: tuple[str, ...], says: str) -> None:
    failed = edit(folder, *arguments)
    assert failed.status != 0 and says in failed.stderr and failed.stderr.count("\n") == 1
    assert not (folder / LOG).exists()


def test_names_and_operations_from_files(folder: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.csv"
    names.write_text("speaker,name\nA,Anna Maria\nBea,=cmd()\n")
    assert edit(folder, "--apply", str(names)).status == 0
    assert [s.name for s in outputs.read_corrected(folder).speakers] == ["Anna Maria", "=cmd()"]
    other = tmp_path / "other" / "meeting"
    write(other, transcript())
    assert edit(other, "--apply", str(folder / LOG)).status == 0
    assert outputs.read_corrected(other) == outputs.read_corrected(folder)
    names.write_text("A,b,c\n")
    assert "names.csv:1" in edit(folder, "--apply", str(names)).stderr
    names.write_text('{"op": "explode"}\n')
    assert "names.csv:1" in edit(folder, "--apply", str(names)).stderr


def test_another_result_keeps_the_corrections(folder: Path) -> None:
    edit(folder, "--name", "A=Anna", "--word", "2.5=too")
    shorter = transcript()
    write(folder, Transcript("meeting", 20.0, "en", shorter.speakers, shorter.turns[:2], shorter.words[:1]))
    listed = edit(folder, "--list").stdout
    assert "'two' -> 'too' - DOES NOT FIT: the word 'two' at 2.00 s is not there any more" in listed
    assert "Anna: one" in (folder / "transcript.txt").read_text()
    write(folder, transcript())
    assert "Anna: one too" in (folder / "transcript.txt").read_text()
    assert integrity.check(folder.parent, inputs=False).differences == [
        one for one in integrity.check(folder.parent, inputs=False).differences if one.where.startswith("run.json")
    ]


def test_a_transcript_that_was_changed_by_hand_is_kept(folder: Path) -> None:
    path = folder / "transcript.json"
    path.write_text(path.read_text().replace("Bea", "Beatrix"))
    write(folder, transcript())
    (copy,) = folder.glob("transcript.by-hand-*.json")
    assert "Beatrix" in copy.read_text() and "Beatrix" not in path.read_text()
    write(folder, transcript())
    assert list(folder.glob("transcript.by-hand-*.json")) == [copy]


def differences(folder: Path) -> list[str]:
    report = integrity.check(folder.parent, inputs=False)
    return [f"{one.where} {one.kind}" for one in report.differences if one.where.startswith("meeting")]


def test_verify_sees_every_change_of_the_corrections(folder: Path) -> None:
    edit(folder, "--name", "A=Anna", "--word", "2.5=too")
    assert differences(folder) == []
    log = (folder / LOG).read_text()
    lines = log.splitlines(keepends=True)
    for changed in (log.replace("anna", "eve"), lines[0], "", lines[1], log + "{}\n"):
        (folder / LOG).write_text(changed)
        assert any(f"meeting/{LOG}" in one for one in differences(folder)), changed
    (folder / LOG).unlink()
    assert f"meeting/{LOG} missing" in differences(folder)
    (folder / LOG).write_text(log)
    assert differences(folder) == []
    base = base_path(folder, Corrections(folder).base)
    base.write_text("{}")
    assert differences(folder) == [f"meeting/{base.name} changed"]


def test_two_people_do_not_overwrite_each_other(folder: Path) -> None:
    one, other = Corrections(folder), Corrections(folder)
    one.append({"op": "name_speaker", "speaker": "A", "name": "Anna"}, "anna", after=0)
    with pytest.raises(Stale):
        other.append({"op": "name_speaker", "speaker": "A", "name": "Eve"}, "eve", after=0)
    other.append({"op": "edit_word", "word": "w2000", "text": "too"}, "eve", after=1)
    with pytest.raises(DoesNotFit):
        one.append({"op": "edit_word", "word": "w2000", "text": "too"}, "anna")
    assert [entry.author for entry in Corrections(folder).entries] == ["anna", "eve"]


def test_threads_on_one_log(folder: Path) -> None:
    def write_notes(author: str) -> None:
        mine = Corrections(folder)
        for i in range(20):
            mine.append({"op": "note", "text": f"{author} {i}", "start": None, "end": None}, author)

    threads = [threading.Thread(target=write_notes, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    read = Corrections(folder)
    assert len(read.entries) == 80 and read.problem == ""


def test_a_recording_that_is_processed_again_in_between(folder: Path) -> None:
    mine = Corrections(folder)
    mine.append({"op": "name_speaker", "speaker": "A", "name": "Anna"}, "anna")
    shorter = transcript()
    write(folder, Transcript("meeting", 20.0, "en", shorter.speakers, shorter.turns, shorter.words[:2]))
    with pytest.raises(Stale, match="processed again"):
        mine.append({"op": "delete_word", "word": "w2000"}, "anna", after=1)
    mine.append({"op": "delete_word", "word": "w2000"}, "anna", after=1)
    assert [word.text for word in mine.corrected().words] == ["one"]


WRITER = """
import sys
from pathlib import Path
from pipelines.results.corrections import Corrections
mine = Corrections(Path(sys.argv[1]))
for i in range(10_000):
    entry = mine.append({"op": "note", "text": str(i), "start": None, "end": None}, "anna")
    print(entry.number, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("lines", [1, 7, 40])
def test_a_killed_process_loses_nothing_that_it_reported(folder: Path, lines: int) -> None:
    command = [sys.executable, "-c", WRITER, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        reported = [int(process.stdout.readline()) for _ in range(lines)]
        process.kill()
        reported += [int(line) for line in process.stdout.read().split()]
    read = Corrections(folder)
    assert len(read.entries) >= reported[-1] and read.problem == ""
    assert read.append({"op": "note", "text": "more", "start": 0, "end": 5}, "anna").number == len(read.entries)


def test_a_full_disk_leaves_the_log_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Corrections(folder)
    mine.append({"op": "name_speaker", "speaker": "A", "name": "Anna"}, "anna")
    before = (folder / LOG).read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match="disk is full"):
        mine.append({"op": "edit_word", "word": "w2000", "text": "too"}, "anna")
    monkeypatch.undo()
    assert (folder / LOG).read_bytes() == before
    assert mine.corrected().words[1].text == "two"
    mine.append({"op": "edit_word", "word": "w2000", "text": "too"}, "anna")
    assert [word.text for word in outputs.read_corrected(folder).words][1] == "too"


def test_export_with_and_without_corrections(folder: Path) -> None:
    edit(folder, "--name", "A=Anna")
    (folder.parent / "run.json").write_text("{}")
    assert run("export", str(folder), "--formats", "vtt,json", "--machine").status == 0
    assert "Anna" not in (folder / "transcript.vtt").read_text()
    assert run("export", str(folder.parent), "--formats", "vtt,json").status == 0
    assert "Anna" in (folder / "transcript.vtt").read_text()
    assert "Anna" not in (folder / "transcript.json").read_text()


def test_a_log_that_is_no_log(folder: Path) -> None:
    (folder / LOG).write_text("hello\n")
    with pytest.raises(FormatError, match="not a correction"):
        Corrections(folder)
    assert edit(folder, "--list").status == 4


def test_the_folder_of_a_run_is_refused_with_the_cure(folder: Path) -> None:
    done = edit(folder.parent, "--list")
    assert done.status == 2 and "Name the folder of one recording in it" in done.stderr


def test_undo_needs_a_number_and_an_account_without_name_an_author(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = edit(folder, "--undo", "x")
    assert (
        done.status == 2 and "--undo: x: is not the number of a correction. See the numbers with --list" in done.stderr
    )

    def fail() -> str:
        raise OSError("no account")

    monkeypatch.setattr("getpass.getuser", fail)
    done = run("edit", str(folder), "--name", "A=Anna")
    assert done.status == 2 and "--author NAME" in done.stderr


def test_a_transcript_that_is_being_replaced_is_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a process writes the exports, transcript.json is away for a moment; one that stays away is an error."""
    people = Corrections(folder)
    path, away = folder / "transcript.json", folder / "away"
    path.rename(away)
    timer = threading.Timer(0.3, lambda: away.rename(path))
    timer.start()
    assert people.append({"op": "name_speaker", "speaker": "A", "name": "Anna"}, "anna").number == 1
    timer.join()
    assert people.corrected().speakers[0].name == "Anna"
    path.rename(away)
    monkeypatch.setattr(corrections, "REPLACED", 0.1)
    with pytest.raises(FormatError, match="cannot be read: No such file"):
        people.refresh()


def test_nobody_waits_for_a_folder_that_was_deleted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people = Corrections(folder)
    shutil.rmtree(folder)

    def sleep(seconds: float) -> None:
        raise AssertionError("waited")

    monkeypatch.setattr("time.sleep", sleep)
    with pytest.raises(FormatError, match="cannot be read: No such file"):
        people.refresh()

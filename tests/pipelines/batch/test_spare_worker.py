"""The worker that is begun before anybody knows what it will do."""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path

import pytest

import run_pipeline
from pipelines import results
from pipelines.batch import spare_worker
from pipelines.cli.command_line import FAMILIES, build_parser
from tests.cheap import SETTINGS, write_tones


def test_only_a_run_that_has_work_begins_one_ahead(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert spare_worker.needs_worker(["process", "a.wav", "--out", str(out)])
    assert not spare_worker.needs_worker(["evaluate", "a.wav", "--out", str(out)])
    assert not spare_worker.needs_worker([])
    out.mkdir()
    assert spare_worker.needs_worker(["process", "a.wav", "--out", str(out)])
    (out / results.RUN).write_text("{}")
    for words in (["--out", str(out)], [f"--out={out}"]):
        assert not spare_worker.needs_worker(["process", "a.wav", *words])  # all of it may be done already
        assert spare_worker.needs_worker(["process", "a.wav", "--force", *words])


def test_a_word_of_the_command_line_may_be_anything(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for word in ("x" * 5000, "x" * 300, str(tmp_path / "file"), "a\0b", "", "--initial-prompt=" + "who " * 100):
        assert spare_worker.needs_worker(["process", "a.wav", "--hotwords", word, "--out", str(tmp_path / "out")])


def test_it_is_taken_by_the_run_and_nobody_else_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin, made = spare_worker.start, []

    def counted() -> spare_worker.WorkerProcess:
        made.append(begin())
        return made[-1]

    monkeypatch.setattr(spare_worker, "start", counted)
    write_tones(tmp_path / "in" / "a.wav", [(300, 0.6), (2500, 0.7)])
    assert run_pipeline.main(["process", *SETTINGS, str(tmp_path / "in"), "--out", str(tmp_path / "out"), "-q"]) == 0
    assert len(made) == 1
    assert made[0].process.exitcode == 0  # it ended by itself when there was no more work


def test_one_that_nobody_takes_is_gone_when_the_command_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    begin, made = spare_worker.start, []

    def kept() -> spare_worker.WorkerProcess:
        made.append(begin())
        return made[-1]

    monkeypatch.setattr(spare_worker, "start", kept)
    before = multiprocessing.active_children()
    with pytest.raises(SystemExit):
        run_pipeline.main(["process"])  # refused: no recording, no place for the results
    assert len(made) == 1
    assert made[0].process.exitcode is not None
    assert multiprocessing.active_children() == before


def test_ctrl_c_while_it_is_ended_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(worker: spare_worker.WorkerProcess, patience: float) -> None:
        end(worker, patience)
        raise KeyboardInterrupt

    end = spare_worker.WorkerProcess.kill
    monkeypatch.setattr(spare_worker.WorkerProcess, "kill", interrupted)
    with pytest.raises(SystemExit) as ended, spare_worker.started_early(["process"]):
        raise SystemExit(2)
    assert ended.value.code == 2
    assert not spare_worker._spare


def test_where_no_process_can_be_had_the_command_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> spare_worker.WorkerProcess:
        raise OSError("no process can be had")

    monkeypatch.setattr(spare_worker, "start", refused)
    with spare_worker.started_early(["process", "a.wav"]), pytest.raises(OSError, match="no process can be had"):
        spare_worker.take()


def test_what_a_worker_printed_is_out_when_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import atexit; atexit.register(print, 'last words')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    worker = spare_worker.start()
    worker.pipe.close()  # nobody has work for it
    worker.process.join(60)
    assert worker.process.exitcode == 0
    assert "last words" in capfd.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use cannot be deleted there")
def test_in_a_folder_that_was_deleted_none_is_begun_and_nobody_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a relative --out would be a folder of the root."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with spare_worker.started_early(["process", "a.wav", "--out", "out"]):
        assert not spare_worker._spare
        with pytest.raises(FileNotFoundError):
            Path.cwd()


def test_every_command_is_told_of_by_its_family() -> None:
    for word, family in FAMILIES.items():
        help = build_parser(word).format_help()
        assert f"\n    {word} " in help or f"\n    {word}\n" in help, family
    whole = build_parser().format_help()
    assert all(f"\n    {word}" in whole for word in FAMILIES)
    listed = [
        line.split()[0]
        for line in whole.split("COMMAND\n")[1].splitlines()
        if line.startswith("    ") and line[4] != " "
    ]
    assert sorted(listed) == sorted(FAMILIES)

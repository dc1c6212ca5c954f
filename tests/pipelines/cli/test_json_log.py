"""Watching a run: JSON lines, the table on a terminal, `status`."""

from __future__ import annotations

import io
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from diarize.config import parse
from diarize.errors import ConfigError
from diarize.models.store import Store
from pipelines import plan
from pipelines.batch import lock, status
from pipelines.cli import live, observers, run_report
from pipelines.cli.json_log import JsonLog
from pipelines.inputs.jobs import Job
from pipelines.inputs.recordings import Input
from pipelines.results import journal
from pipelines.results.outcomes import Outcome
from pipelines.results.progress import RunProgress
from tests.cheap import write_tones
from tests.pipelines.inprocess import InProcess

DONE = Outcome("talk", "talk.wav", "done", duration=90.0, speakers=1, turns=2, words=1)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> InProcess:
    return InProcess(monkeypatch)


def events(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_log_tells_each_stage_and_outcome_and_no_name(run: InProcess, tmp_path: Path) -> None:
    write_tones(tmp_path / "in" / "a.wav", [(300, 2.0)])
    (tmp_path / "in" / "text.wav").write_text("this is no recording\n")
    log = tmp_path / "log.jsonl"
    assert run(tmp_path / "in", tmp_path / "out", "--log-json", log) == 3
    found = events(log.read_text())
    assert found[0]["event"] == "planned" and found[0]["recordings"] == 2
    stages = [each["stage"] for each in found if each["event"] == "stage" and each["id"] == "a"]
    assert stages[0] == "read" and stages[-1] == "write"
    ended = {each["id"]: each for each in found if each["event"] == "finished"}
    assert (ended["a"]["outcome"], ended["text"]["outcome"]) == ("done", "failed")
    assert found[-1] == {"event": "ended", "time": found[-1]["time"], "status": 3}
    assert all("time" in each for each in found)
    assert "SPEAKER" not in log.read_text()
    assert run(tmp_path / "in", tmp_path / "out", "--log-json", log, "--log-names") == 3
    assert '"speakers": ["SPEAKER_01"], "kept": true' in log.read_text() or '"SPEAKER_01"' in log.read_text()


def test_the_log_on_the_output_stream_is_all_that_is_there(
    run: InProcess, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_tones(tmp_path / "in" / "a.wav", [(300, 2.0)])
    assert run(tmp_path / "in", tmp_path / "out", "--log-json", "-") == 0
    assert events(capfd.readouterr().out)[-1]["event"] == "ended"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_fault_64_a_full_log_disk_does_not_fail_the_run(
    run: InProcess, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_tones(tmp_path / "in" / "a.wav", [(300, 2.0)])
    assert run(tmp_path / "in", tmp_path / "out", "--log-json", "/dev/full") == 0
    assert "the run continues" in capfd.readouterr().err
    assert run(tmp_path / "in", tmp_path / "out", "--log-json", tmp_path / "no" / "log") == 2


def test_a_log_that_was_lost_is_told_once(tmp_path: Path) -> None:
    told: list[str] = []
    stream = io.StringIO()
    log = JsonLog(stream, tmp_path, on_failure=told.append)
    stream.close()
    log.stage_started("a", "read")
    log.recording_finished(DONE)
    assert len(told) == 1


def test_the_table_on_a_terminal(tmp_path: Path) -> None:
    settings = parse({"vad": {"backend": "energy"}, "embedder": {"backend": "tests.cheap:embedder"}}, "test")
    chosen = plan.make(settings, Store(tmp_path / "models", offline=True), recognize=False)
    jobs = [Job(Input(tmp_path / f"{id}.wav", f"{id}.wav", id), settings.cluster) for id in ("talk", "b\x1b", "c")]
    screen = Console(file=io.StringIO(), width=120, record=True)
    shown = live.LiveObserver(screen)
    shown.fetching("model.onnx", 1_000_000, 2_000_000)
    shown.waiting("waiting for process 1 on tower")
    screen.print(shown.render())
    shown.fetching("model.onnx", 2_000_000, 2_000_000)
    shown.planned(chosen, jobs)
    shown.stage_started("b\x1b", "read")
    shown.stage_progressed("b\x1b", 1.0, 600.0)
    shown.stage_started("b\x1b", "embed")
    shown.stage_progressed("b\x1b", 0.42, 600.0)
    shown.recording_finished(DONE)
    shown.recording_finished(Outcome("c", "c.wav", "failed", "read", "is empty"))
    shown.stopping(1)
    screen.print(shown.render())
    text = screen.export_text()
    assert "1.0 of 2.0 MB" in text and "waiting for process 1" in text
    assert "1 of 3 done, 1 failed" in text and "failed: c.wav: read: is empty" in text
    (line,) = [line for line in text.splitlines() if "computing embeddings" in line]
    assert re.fullmatch(r"b\S* +computing embeddings +42 % +ETA 0:\d\d:\d\d *", line)
    assert "computing embeddings" in text and "\x1b" not in text.replace("\x1b[", "")
    assert "Ctrl-C again" in text


def test_status_tells_a_run_that_was_killed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="there are no results of a run"):
        status.read(tmp_path)
    now = RunProgress(3, {"talk": 100, "b": 100, "c": 100})
    now.recording_finished(DONE)
    now.stage_started("b", "embed")
    run = {"state": "running", "recordings": [{"status": "done"}], "progress": now.as_dict()}
    (tmp_path / "run.json").write_text(json.dumps(run))
    (found,) = status.read(tmp_path)
    assert (found.life, found.waiting) == ("killed", 1)
    told = "\n".join(run_report.status_lines([found]))
    assert "rerun the command to resume" in told and "b: computing embeddings since" in told and "1 waiting" in told


@pytest.mark.parametrize(
    "text",
    [
        "[[[",
        '{"state": "finished"}',
        '{"state": 5, "recordings": []}',
        '{"state": "finished", "recordings": [{"id": "a"}]}',
        '{"state": "running", "recordings": [], "progress": [1]}',
        '{"state": "running", "recordings": [], "progress": {"recordings": NaN, "running": [{"id": 3}]}}',
    ],
)
def test_a_report_that_is_none_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ConfigError, match="is no report of a run"):
        status.read(tmp_path)


def test_whoever_holds_a_folder_says_nothing_to_the_terminal() -> None:
    assert str(lock.Holder("\x1b[31m\ud800", 1, "", "", "", 0)).isprintable()


def test_a_journal_that_cannot_be_read_is_that_of_no_run(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("[1, 2")
    (tmp_path / "provenance.json").write_text('{"failures": {"a": {"name": 1}}}')
    previous = journal.read_previous(tmp_path, None)
    assert (previous.report, previous.failures, previous.ended) == ({}, {}, False)


def test_the_log_has_how_far_each_stage_and_the_run_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    log = JsonLog(stream, tmp_path)
    settings = parse({"vad": {"backend": "energy"}, "embedder": {"backend": "tests.cheap:embedder"}}, "test")
    chosen = plan.make(settings, Store(tmp_path / "models", offline=True), recognize=False)
    path = write_tones(tmp_path / "a.wav", [(300, 2.0)])
    log.planned(chosen, [Job(Input(path, "a.wav", "a"), settings.cluster)])
    log.stage_started("a", "read")
    log.stage_progressed("a", 1.0, 2000.0)
    log.stage_started("a", "embed")
    log.stage_progressed("a", 0.25, 2000.0)  # too soon after the last one
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 5)
    log.stage_progressed("a", 0.5, 2000.0)
    log.stage_progressed("unknown", 0.5, 2000.0)
    found = events(stream.getvalue())
    progress = [each for each in found if each["event"] == "progress"]
    assert [each["stage_share"] for each in progress] == [1.0, 0.5]
    last = progress[-1]
    assert (last["id"], last["stage"], last["audio_done"], last["audio_seconds"]) == ("a", "embed", 1000.0, 2000.0)
    assert 0 < float(str(last["share"])) < 1 and int(str(last["eta"])) >= 0
    assert {"run_share", "run_eta"} <= set(last)


def test_lines_for_a_pipe_say_how_far_a_recording_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shown = observers.PlainObserver(verbose=False)
    shown.stage_started("a", "read")
    shown.stage_progressed("a", 1.0, 2000.0)
    shown.stage_started("a", "embed")
    shown.stage_progressed("a", 0.5, 2000.0)
    assert capfd.readouterr().err == ""  # once a minute
    monkeypatch.setattr(observers, "EVERY", -1.0)
    shown.stage_progressed("a", 0.999, 2000.0)
    assert re.fullmatch(r"a: computing embeddings, 99 % of 0:33:20, ETA 0:\d\d:\d\d\n", capfd.readouterr().err)


def test_status_of_a_running_run_says_how_far_it_is(tmp_path: Path) -> None:
    now = RunProgress(2, {"talk": 100, "b": 100})
    now.recording_finished(replace(DONE, reused=True))
    now.stage_started("b", "read")
    now.stage_progressed("b", 1.0, 600.0)
    now.stage_started("b", "embed")
    now.stage_progressed("b", 0.5, 600.0)
    fields = json.loads(json.dumps(now.as_dict()))
    (tmp_path / "run.json").write_text(json.dumps({"state": "running", "recordings": [], "progress": fields}))
    with lock.Lock(tmp_path, None, False, lambda reason: None):
        (found,) = status.read(tmp_path)
    lines = list(run_report.status_lines([found]))
    assert re.search(r"^  \d+ %, 0:00:0\d elapsed, ETA 0:", lines[2])
    assert re.search(r"b: computing embeddings since \S+, 50 % of 0:10:00, ETA 0:", lines[3])
    del fields["share"], fields["running"][0]["stage_share"]  # of an earlier version
    (tmp_path / "run.json").write_text(json.dumps({"state": "running", "recordings": [], "progress": fields}))
    assert list(run_report.status_lines(status.read(tmp_path)))

"""A case on the disk: acts, the chained log, crashes and a full disk."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from diarize.errors import CaseDamaged, CaseError, ConfigError, OutputError
from pipelines.evidence import facts, folder, log, notes
from pipelines.evidence.folder import Case
from tests.attacks.disk import Disk


def test_each_act_is_a_line_and_a_folder(new_case: Case) -> None:
    case = notes.add(new_case, "remark", "A. Beck", "Received by post.")
    assert [act.action for act in case.acts] == ["new", "note"]
    assert case.acts[1].previous == case.acts[0].hash and case.acts[0].previous == log.START
    assert case.acts[1].operator == "A. Beck" and case.acts[1].time.endswith("+00:00")
    assert sorted(path.name for path in case.folder.iterdir()) == ["0001-new", "0002-note", "log.head", "log.jsonl"]
    assert folder.open_case(case.folder).acts == case.acts
    assert folder.examine(case.folder)[1] == []


def test_a_case_is_never_written_over_another_folder(new_case: Case) -> None:
    with pytest.raises(CaseError, match="exists and is not empty"):
        folder.create(new_case.folder, {})
    with pytest.raises(CaseError, match="is no case"):
        folder.open_case(new_case.folder / "0001-new")
    with pytest.raises(ConfigError, match="a case has a number"):
        facts.CaseFacts(" ")


def test_nothing_is_added_to_a_case_that_was_changed(new_case: Case) -> None:
    path = new_case.folder / "log.jsonl"
    path.write_bytes(path.read_bytes().replace(b"A. Beck", b"B. Beck").replace(b'"new"', b'"old"'))
    with pytest.raises(CaseDamaged, match="was changed"):
        folder.open_case(new_case.folder)


def test_two_commands_do_not_mix(new_case: Case) -> None:
    notes.add(new_case, "remark", "A", "one")
    with pytest.raises(CaseError, match="another command changed the case"):
        notes.add(new_case, "remark", "B", "two")


def test_a_cut_log_is_noticed_by_its_second_copy(new_case: Case) -> None:
    case = notes.add(new_case, "remark", "A", "one")
    lines = (case.folder / "log.jsonl").read_bytes().splitlines(keepends=True)
    (case.folder / "log.jsonl").write_bytes(lines[0])
    assert {problem.where for problem in folder.examine(case.folder)[1]} >= {"log.head", "0002-note"}
    with pytest.raises(CaseDamaged):
        folder.open_case(case.folder)


def test_a_clock_that_was_set_back_is_said(new_case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "now", lambda: datetime(2001, 1, 1, tzinfo=UTC))
    case = notes.add(new_case, "remark", "A", "one")
    assert folder.open_case(case.folder).acts == case.acts  # work goes on
    assert ["the clock went back" in problem.what for problem in folder.examine(case.folder)[1]] == [True]


def test_a_full_disk_in_any_step_leaves_the_case_or_one_more_whole_act(new_case: Case) -> None:
    before = new_case.acts
    for n in range(1, 40):
        disk = Disk(new_case.folder, n=n, lasting=True)
        with pytest.MonkeyPatch.context() as patch:
            disk.install(patch)
            try:
                notes.add(folder.open_case(new_case.folder), "remark", "A", "one")
            except OutputError as error:
                assert "No space left" in str(error)
        case = folder.open_case(new_case.folder)
        assert len(case.acts) - len(before) in (0, 1)
        assert folder.examine(case.folder)[1] == []
        before = case.acts
        if not disk.failed:
            break
    else:
        pytest.fail("no end")
    assert n > 5


def test_a_full_disk_while_a_case_is_opened(tmp_path: Path) -> None:
    for n in range(1, 30):
        disk = Disk(tmp_path / f"case{n}", n=n, lasting=True)
        with pytest.MonkeyPatch.context() as patch:
            disk.install(patch)
            with contextlib.suppress(OutputError):
                folder.create(tmp_path / f"case{n}", facts.CaseFacts("1").as_dict())
        if not disk.failed:
            return
        try:  # the same command again: a new case, or the one that is there
            folder.create(tmp_path / f"case{n}", facts.CaseFacts("1").as_dict())
        except CaseError:
            assert len(folder.open_case(tmp_path / f"case{n}").acts) == 1
    pytest.fail("no end")

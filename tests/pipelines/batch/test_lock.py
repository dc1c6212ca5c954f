"""One run at a time on a folder; a dead one's lock is known for what it is (fault 53)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from diarize.errors import ConfigError, OutputError
from pipelines.batch import lock
from pipelines.batch.lock import Lock
from pipelines.inputs.shards import Shard
from tests.cheap import write_tones
from tests.pipelines.inprocess import InProcess


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "WATCH", 0.4)
    monkeypatch.setattr(lock, "BEAT", 0.1)
    monkeypatch.setattr(lock, "POLL", 0.02)


def another(out: Path, name: str = ".lock", **facts: Any) -> Path:
    """A lock that somebody else holds; by itself a living process of this machine."""
    out.mkdir(exist_ok=True)
    own = json.loads(lock._text("somebody", 0))
    path = out / name
    path.write_text(json.dumps(own | facts))
    return path


def test_fault_53_a_second_run_is_refused_and_told_who_holds_the_folder(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tones(tmp_path / "in" / "a.wav", [(300, 1.0)])
    run = InProcess(monkeypatch)
    held = another(tmp_path / "out", host="far-away")
    assert run(tmp_path / "in", tmp_path / "out") == 2
    said = capfd.readouterr().err
    assert f"process {os.getpid()} on far-away" in said and "--wait" in said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".lock"]
    held.unlink()
    assert run(tmp_path / "in", tmp_path / "out") == 0
    assert not held.exists()


@pytest.mark.parametrize(
    "facts", [{"pid": 2**22 + 1}, {"started": "1"}], ids=["process gone", "its number is another's"]
)
def test_fault_53_a_dead_processs_lock_is_taken_at_once(tmp_path: Path, facts: dict[str, Any]) -> None:
    another(tmp_path / "out", **facts)
    assert lock.running(tmp_path / "out") == {}
    with Lock(tmp_path / "out"):
        assert list(lock.running(tmp_path / "out")) == [".lock"]
    assert list((tmp_path / "out").iterdir()) == []


def test_fault_53_a_killed_runs_lock_is_stale(tmp_path: Path) -> None:
    code = "import os, sys, pathlib, pipelines.batch.lock as l\nwith l.Lock(pathlib.Path(sys.argv[1])): os._exit(9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, cwd=Path(__file__).parents[3])
    assert (tmp_path / ".lock").exists()
    with Lock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_fault_53_where_processes_cannot_be_asked_for_their_count_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "kill", lambda pid, number: pytest.fail("Ctrl-C was sent"))
    (tmp_path / "out").mkdir()
    with Lock(tmp_path / "out"), pytest.raises(ConfigError, match="is writing its results"), Lock(tmp_path / "out"):
        pass
    another(tmp_path / "out")
    with Lock(tmp_path / "out"):
        pass


def test_fault_53_another_machines_lock_is_stale_when_its_count_stands_still(tmp_path: Path) -> None:
    path = another(tmp_path / "out", machine="another boot", host="far-away")
    over = threading.Event()

    def beat() -> None:
        count = 0
        while not over.wait(0.05):
            count += 1
            another(tmp_path / "out", machine="another boot", host="far-away", count=count)

    beating = threading.Thread(target=beat)
    beating.start()
    with pytest.raises(ConfigError, match="far-away"):
        Lock(tmp_path / "out").__enter__()
    over.set()
    beating.join()
    with Lock(tmp_path / "out"):
        holder = lock.read(path)
        assert holder is not None and holder.host != "far-away"


def test_who_waits_gets_the_folder_when_it_is_free(tmp_path: Path) -> None:
    said: list[str] = []

    def hear(text: str) -> None:
        said.append(text)
        threading.Timer(0.1, (tmp_path / ".lock").unlink).start()

    another(tmp_path)
    with Lock(tmp_path, wait=True, on_wait=hear):
        assert "waiting for process" in said[0]
    assert len(said) == 1


def test_parts_of_one_division_work_side_by_side_and_nothing_else_does(tmp_path: Path) -> None:
    with Lock(tmp_path, Shard(1, 3)), Lock(tmp_path, Shard(2, 3)):
        for refused in (Shard(1, 3), Shard(1, 2), None):
            with pytest.raises(ConfigError):
                Lock(tmp_path, refused).__enter__()
    with Lock(tmp_path), pytest.raises(ConfigError):
        Lock(tmp_path, Shard(1, 3)).__enter__()
    assert list(tmp_path.iterdir()) == []


def test_only_one_of_many_that_come_at_once_holds_it(tmp_path: Path) -> None:
    another(tmp_path, pid=2**22 + 1)
    inside: list[int] = []
    most: list[int] = []

    def contend() -> None:
        with Lock(tmp_path, wait=True):
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=contend) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 6
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_was_taken_for_dead_ends(tmp_path: Path) -> None:
    with Lock(tmp_path) as held:
        held.check()
        another(tmp_path)
        held._heartbeat.join(5)
        with pytest.raises(OutputError, match="took this one for dead"):
            held.check()
    assert (tmp_path / ".lock").exists()  # it is the other one's


def test_a_lock_that_was_taken_and_left_meanwhile_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was refused by a file that is gone again must not go on without a lock."""
    real, refused = lock._create, [1, 1]

    def create(path: Path, token: str) -> None:
        if refused:
            refused.pop()
            raise FileExistsError
        real(path, token)

    monkeypatch.setattr(lock, "_create", create)
    with Lock(tmp_path):
        assert list(lock.running(tmp_path)) == [".lock"]
    refused += [1] * lock.ATTEMPTS
    with pytest.raises(OutputError, match="cannot be removed"):
        Lock(tmp_path).__enter__()


def test_a_lock_that_was_taken_since_it_was_found_dead_is_put_back(tmp_path: Path) -> None:
    path = another(tmp_path, machine="another boot", token="new")
    dead = lock.read(another(tmp_path / "dead", token="old"))
    lock._remove(path, dead)
    holder = lock.read(path)
    assert holder is not None and holder.token == "new"
    lock._remove(path, holder)
    assert not path.exists()


def test_a_lock_that_was_away_for_a_moment_is_not_lost(tmp_path: Path) -> None:
    with Lock(tmp_path) as held:
        path, aside = tmp_path / ".lock", tmp_path / "aside"
        for _ in range(30):
            path.rename(aside)
            aside.rename(path)
            held._released.wait(0.01)
        held.check()


def test_a_damaged_lock_holds_nobody_off(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("{")
    with Lock(tmp_path):
        pass


def test_fault_46_an_interrupted_run_leaves_no_lock(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Lock(tmp_path):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []

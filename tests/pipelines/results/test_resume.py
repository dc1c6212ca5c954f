"""Work that is done stays done: by content and settings, not by name; and what is not whole is done again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from diarize import files
from diarize.audio.reading import Recording
from diarize.errors import AudioError
from pipelines import versions
from pipelines.batch import cached_reading, status
from pipelines.inputs.jobs import Job
from pipelines.processes import decoding
from pipelines.results import fingerprint, integrity, outputs
from pipelines.results.outcomes import Outcome
from tests.cheap import write_tones
from tests.pipelines.inprocess import InProcess, contents


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> InProcess:
    return InProcess(monkeypatch)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for number, name in enumerate(("a", "b", "c")):
        write_tones(tmp_path / "in" / f"{name}.wav", [(300, 0.6 + number / 10), (2500, 0.7)])
    shutil.copy(tmp_path / "in" / "a.wav", tmp_path / "in" / "twin.wav")
    return tmp_path


def told(out: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((out / "provenance.json").read_text())
    return found


def test_what_is_done_is_not_done_again(run: InProcess, place: Path) -> None:
    assert run(place / "in", place / "out") == 0
    assert run.processed == ["a", "b", "c"]
    before = contents(place / "out")
    assert run(place / "in", place / "out") == 0
    assert run.processed == []
    assert contents(place / "out") == before
    assert told(place / "out")["kept"] == 4
    assert run(place / "in", place / "out", "--force") == 0
    assert run.processed == ["a", "b", "c"]
    assert contents(place / "out") == before


@pytest.mark.parametrize("options", [(), ("--force",)])
def test_what_is_whole_on_the_disk_when_its_worker_is_stopped_is_done(
    run: InProcess, place: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """Ctrl-C twice between the last rename and the row. With --force nobody can tell new results from older ones."""
    publish = outputs.publish

    def stopped(*given: Any) -> None:
        publish(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(outputs, "publish", stopped)
        run(place / "in", place / "out", *options)
    rows = {row["id"]: row["status"] for row in json.loads((place / "out" / "run.json").read_text())["recordings"]}
    assert rows["a"] == ("interrupted" if options else "done")
    assert {rows[id] for id in ("b", "c")} == {"interrupted"}
    assert run(place / "in", place / "out") == 0
    assert run.processed == ["b", "c"]
    assert run(place / "in", place / "whole") == 0
    assert contents(place / "out") == contents(place / "whole")


def test_what_was_killed_before_it_said_that_it_runs_is_swept_away(run: InProcess, place: Path) -> None:
    assert run(place / "in", place / "out") == 0
    before = contents(place / "out")
    for name in ("..lock.1-0123abcd.part", ".run.json.1-0123abcd.part"):
        (place / "out" / name).touch()
    assert run(place / "in", place / "out") == 0
    assert contents(place / "out") == before
    assert run(place / "in", place / "parts", "--shard", "1/2") == 0
    (place / "parts" / ".run.shard-1-of-2.json.1-0123abcd.part").touch()
    another = place / "parts" / ".run.shard-2-of-2.json.1-0123abcd.part"
    another.touch()
    assert run(place / "in", place / "parts", "--shard", "1/2") == 0
    assert list((place / "parts").glob("*.part")) == [another]


def test_a_file_at_rest_is_not_read_again_one_of_just_now_is(
    run: InProcess, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "RESTING", 3600 * 10**9)  # however slow this machine is, they are of just now
    assert run(place / "in", place / "out") == 0
    read: list[str] = []
    real = files.sha256

    def noted(path: Path) -> str:
        read.extend([path.stem] if path.parent == place / "in" else [])
        return real(path)

    monkeypatch.setattr(files, "sha256", noted)
    assert run(place / "in", place / "out") == 0
    assert sorted(read) == ["a", "b", "c", "twin"]
    read.clear()
    monkeypatch.setattr(fingerprint, "RESTING", -(10**18))  # as if time had passed
    assert run(place / "in", place / "out") == 0
    assert sorted(read) == ["a", "b", "c", "twin"]  # from now on it is known how they look
    read.clear()
    assert run(place / "in", place / "out") == 0
    assert read == []
    os.utime(place / "in" / "b.wav", (1, 1))
    assert run(place / "in", place / "out") == 0
    assert read == ["b"]
    assert run.processed == []


def test_a_changed_file_is_done_again_under_its_name(run: InProcess, place: Path) -> None:
    assert run(place / "in", place / "out") == 0
    write_tones(place / "in" / "b.wav", [(500, 1.1)])
    assert run(place / "in", place / "out") == 0
    assert run.processed == ["b"]
    assert run(place / "in", place / "fresh") == 0
    assert contents(place / "out") == contents(place / "fresh")


def test_files_that_were_renamed_moved_and_swapped_get_their_results_by_copy(run: InProcess, place: Path) -> None:
    assert run(place / "in", place / "out") == 0
    folder = place / "in"
    (folder / "b.wav").rename(folder / "new name.wav")
    (folder / "twin.wav").unlink()
    assert run(folder, place / "out") == 0
    assert run.processed == []
    shutil.rmtree(place / "out" / "b")  # results of a name that is no more stay; a fresh run has none
    shutil.rmtree(place / "out" / "twin")
    assert run(folder, place / "fresh") == 0
    assert contents(place / "out") == contents(place / "fresh")
    (folder / "a.wav").rename(folder / "x")
    (folder / "c.wav").rename(folder / "a.wav")
    (folder / "x").rename(folder / "c.wav")
    assert run(folder, place / "out") == 0
    assert len(run.processed) <= 1  # one of the two results is overwritten before it could be copied
    assert run(folder, place / "swapped") == 0
    assert contents(place / "out") == contents(place / "swapped")


@pytest.mark.parametrize("settled", [-(10**18), fingerprint.RESTING], ids=["at rest", "just written"])
def test_where_recordings_lie_now_is_on_record(
    run: InProcess, place: Path, monkeypatch: pytest.MonkeyPatch, settled: int
) -> None:
    """A folder above them was renamed: the files themselves look as they did."""
    monkeypatch.setattr(fingerprint, "RESTING", settled)
    assert run(place / "in", place / "out") == 0
    (place / "in").rename(place / "moved")
    assert run(place / "moved", place / "out") == 0
    assert run.processed == []
    assert integrity.check(place / "out").differences == []


@pytest.mark.parametrize("option", ["--speech", "--known-turns"])
def test_what_one_file_says_of_two_recordings_is_not_mixed_up(run: InProcess, place: Path, option: str) -> None:
    """Equal bytes of which other things are given are no twins, and swapped ones get no results by copy."""
    lines = [("a", 0.5, "x"), ("b", 0.7, "x"), ("a", 1.6, "y"), ("b", 1.7, "x"), ("c", 0.5, "x"), ("twin", 1.6, "x")]
    given = place / "given.rttm"
    given.write_text("".join(f"SPEAKER {id} 1 {at} 0.5 <NA> <NA> {who} <NA> <NA>\n" for id, at, who in lines))
    assert run(place / "in", place / "out", option, given) == 0
    assert run.processed == ["a", "b", "c", "twin"]
    for old, new in (("a", "aside"), ("b", "a"), ("aside", "b")):
        (place / "in" / f"{old}.wav").rename(place / "in" / f"{new}.wav")
    assert run(place / "in", place / "out", option, given) == 0
    assert run(place / "in", place / "anew", option, given) == 0
    assert contents(place / "out") == contents(place / "anew")


def test_fault_20_the_remaining_one_of_two_equal_files_is_as_if_it_had_been_alone(run: InProcess, place: Path) -> None:
    assert run(place / "in", place / "out") == 0
    (place / "in" / "a.wav").unlink()
    shutil.rmtree(place / "out" / "a")
    assert run(place / "in", place / "out") == 0
    assert run.processed == []
    assert run(place / "in", place / "fresh") == 0
    assert contents(place / "out") == contents(place / "fresh")


@pytest.mark.parametrize("name", ["transcript.json", "transcript.rttm", "provenance.json"])
@pytest.mark.parametrize("what", ["gone", "cut", "changed"])
def test_fault_47_what_is_not_whole_is_done_again(run: InProcess, place: Path, name: str, what: str) -> None:
    assert run(place / "in", place / "out") == 0
    before = contents(place / "out")
    path = place / "out" / "b" / name
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] if what == "cut" else data.replace(b"b", b"d", 1))
    if what == "gone":
        path.unlink()
    assert run(place / "in", place / "out") == 0
    if name != "provenance.json" or what != "changed":
        assert run.processed == ["b"]
    assert contents(place / "out") == before


@pytest.mark.parametrize(
    ("key", "value"), [("input", {"size": [], "looks": {}}), ("fingerprint", []), ("files", []), ("row", None)]
)
def test_fault_47_a_record_that_is_none_is_made_again(run: InProcess, place: Path, key: str, value: object) -> None:
    assert run(place / "in", place / "out") == 0
    before = contents(place / "out")
    record = place / "out" / "c" / "provenance.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {key: value}))
    assert run(place / "in", place / "out") == 0
    assert run.processed == ["c"]
    assert contents(place / "out") == before


def test_fault_54_other_settings_are_refused_and_said(
    run: InProcess, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(place / "in", place / "out") == 0
    before = contents(place / "out")
    assert run(place / "in", place / "out", "--max-speakers", 3, "--workers", 2) == 2
    said = capfd.readouterr().err
    assert "cluster.max_speakers is " in said and "3 now" in said and "--force" in said and "workers" not in said
    assert contents(place / "out") == before
    assert run(place / "in", place / "out", "--max-speakers", 3, "--force") == 0
    assert run(place / "in", place / "fresh", "--max-speakers", 3) == 0
    assert contents(place / "out") == contents(place / "fresh")


def test_fault_56_a_count_of_one_recording_redoes_that_one(run: InProcess, place: Path) -> None:
    assert run(place / "in", place / "out") == 0
    (place / "counts.csv").write_text("recording,num_speakers\nb,1\n")
    assert run(place / "in", place / "out", "--counts", place / "counts.csv") == 0
    assert run.processed == ["b"]


def test_fault_56_other_code_of_the_same_version_redoes_all(
    run: InProcess, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(place / "in", place / "out") == 0
    monkeypatch.setattr(versions, "_versions", lambda: ((versions.OWN, "0+another"),))
    monkeypatch.setattr(cached_reading, "LIBRARIES", ())
    assert run(place / "in", place / "out") == 0
    assert run.processed == ["a", "b", "c"]
    found = json.loads((place / "out" / "a" / "transcript.json").read_text())
    assert found["provenance"]["versions"] == {versions.OWN: "0+another"}


def test_a_fault_of_the_bytes_stands_until_they_change_or_it_is_asked_for(run: InProcess, place: Path) -> None:
    (place / "in" / "text.wav").write_text("this is no recording\n")
    assert run(place / "in", place / "out") == 3
    before = contents(place / "out")
    assert run(place / "in", place / "out") == 3
    assert run.processed == []
    assert contents(place / "out") == before
    assert run(place / "in", place / "out", "--retry-failed") == 3
    assert run.processed == ["text"]
    write_tones(place / "in" / "text.wav", [(300, 1.0)])
    assert run(place / "in", place / "out") == 0
    assert run.processed == ["text"]


def test_what_may_have_been_the_machines_fault_is_tried_again(run: InProcess, place: Path) -> None:
    def fail(job: Job) -> Outcome | None:
        item = job.input
        return Outcome(item.id, item.name, "failed", "embed", "MemoryError: ") if item.id == "b" else None

    run.before = fail
    assert run(place / "in", place / "out") == 3
    run.before = lambda job: None
    assert run(place / "in", place / "out") == 0
    assert run.processed == ["b"]


@pytest.mark.parametrize("cause", [OSError(5, "Input/output error"), TimeoutError()])
def test_fault_19_a_share_that_was_gone_is_tried_again(
    run: InProcess, place: Path, monkeypatch: pytest.MonkeyPatch, cause: OSError
) -> None:
    real = decoding.read

    def gone(path: Path, **how: Any) -> Recording:
        if path.stem == "b":
            raise AudioError(str(path), "cannot be read", "Try again.") from cause
        return real(path, **how)

    monkeypatch.setattr(decoding, "read", gone)
    assert run(place / "in", place / "out") == 3
    monkeypatch.setattr(decoding, "read", real)
    assert run(place / "in", place / "out") == 0
    assert run.processed == ["b"]
    assert run(place / "in", place / "fresh") == 0
    assert contents(place / "out") == contents(place / "fresh")


def test_fault_52_a_recording_that_ends_its_workers_is_tried_a_few_times_over_all_runs(
    run: InProcess, place: Path
) -> None:
    def crash(job: Job) -> Outcome | None:
        item = job.input
        return Outcome(item.id, item.name, "crashed", "embed", "died", tries=2) if item.id == "b" else None

    run.before = crash
    for processed in (["a", "b", "c"], ["b"], [], []):
        assert run(place / "in", place / "out") == 3
        assert run.processed == processed
    assert run(place / "in", place / "out", "--retry-failed") == 3
    assert run.processed == ["b"]


def test_given_words_that_may_not_be_read_are_refused_before_any_work(
    run: InProcess, place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = place / "words"
    words.mkdir()
    for name in ("a", "b", "c", "twin"):
        (words / f"{name}.json").write_text("[]")
    real = files.sha256

    def refused(path: Path) -> str:
        if path == words / "b.json":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(files, "sha256", refused)
    assert run(place / "in", place / "out", "--transcript", words) == 2
    said = capfd.readouterr().err
    assert "--transcript" in said and "b.json" in said and "Change its rights" in said
    assert not (place / "out").exists()


def test_run_json_says_where_a_run_is_while_it_goes_on(run: InProcess, place: Path) -> None:
    seen: list[status.RunStatus] = []

    def look(job: Job) -> Outcome | None:
        seen.extend(status.read(place / "out"))
        return None

    run.before = look
    assert run(place / "in", place / "out") == 0
    assert [each.life for each in seen] == ["running"] * 3
    assert seen[0].holder is not None and seen[0].holder.pid == os.getpid()
    assert seen[0].waiting + len(seen[0].progress["running"]) == 4
    (after,) = status.read(place / "out")
    assert (after.life, after.counts, after.waiting) == ("finished", {"done": 4}, 0)


def test_fault_55_no_result_depends_on_the_clock(run: InProcess, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(place / "in", place / "out") == 0
    real = os.stat(place / "in")  # noqa: PTH116 - before time is changed
    assert real.st_mtime > 1e9
    clock = iter(range(10**9, 0, -(10**5)))
    monkeypatch.setattr("time.time", lambda: float(next(clock)))
    monkeypatch.setattr("time.time_ns", lambda: next(clock) * 10**9)
    assert run(place / "in", place / "fresh") == 0
    assert contents(place / "out") == contents(place / "fresh")
    assert run(place / "in", place / "fresh") == 0
    assert run.processed == []

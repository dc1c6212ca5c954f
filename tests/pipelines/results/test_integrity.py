"""verify OUT: any byte that is not as the run left it is found, and nothing else is said to differ."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import run_pipeline
from pipelines.results import integrity, tables
from tests.cheap import SETTINGS, write_tones
from tests.pipelines.inprocess import InProcess

NAMES = ("a", "b")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over two recordings: `in` and `out` in this folder."""
    place = tmp_path_factory.mktemp("run")
    for number, name in enumerate(NAMES):
        write_tones(place / "in" / f"{name}.wav", [(300, 2.0 + number), (2500, 2.0)])
    assert run_pipeline.main(["process", str(place / "in"), "--out", str(place / "out"), *SETTINGS, "-q"]) == 0
    return place


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """The same, to be spoilt. The inputs stay where they were."""
    shutil.copytree(finished / "out", tmp_path / "out")
    return tmp_path / "out"


def differences(out: Path, **how: Any) -> set[tuple[str, str]]:
    return {(each.where, each.kind) for each in integrity.check(out, **how).differences}


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\n")


def change(path: Path, edit: Callable[[Any], Any]) -> None:
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


def rehash(folder: Path) -> None:
    """What somebody does who changes a file and its record."""

    def digests(record: Any) -> None:
        record["files"] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in record["files"]}

    change(folder / "provenance.json", digests)


def test_a_run_is_as_it_was_left(finished: Path, run: Path) -> None:
    found = integrity.check(run)
    assert found.differences == []
    assert found.status == 0
    assert (found.recordings, found.inputs) == (2, 2)
    assert found.results == 2 * 11 + 3  # eleven exports each, three tables
    assert found.seal == integrity.check(finished / "out").seal


def test_parts_of_a_run_are_verified_too(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, out = InProcess(monkeypatch), tmp_path / "parts"
    for index in (1, 2, 3):  # one of them has no recording
        assert run(finished / "in", out, "--shard", f"{index}/3") == 0
    assert integrity.check(out).differences == []
    assert integrity.check(out).recordings == len(NAMES)
    part = next(path for path in out.glob("run.shard-*.json") if json.loads(path.read_text())["recordings"])
    change(part, lambda value: value["recordings"][0].update(turns=99))
    append(out / part.name.replace("run", "speakers").replace("json", "csv"))
    (out / "timeline.shard-1-of-3.parquet").unlink()
    (out / "run.shard-9-of-3.json").write_text("{}")
    assert differences(out) == {
        (part.name, "changed"),
        (part.name.replace("run", "speakers").replace("json", "csv"), "changed"),
        ("timeline.shard-1-of-3.parquet", "missing"),
        ("run.shard-9-of-3.json", "extra"),
    }


def test_the_seal_is_what_sha256sum_says(run: Path) -> None:
    command = "sha256sum */provenance.json | LC_ALL=C sort | sha256sum"
    said = subprocess.run(["bash", "-c", command], cwd=run, capture_output=True, text=True, check=True).stdout
    assert said.split()[0] == integrity.seal(run)


def test_every_file_is_watched(run: Path) -> None:
    """One byte more in any file of any recording, and in any table, is found; the seal does not move by itself."""
    watched = [path for path in run.rglob("*") if path.is_file() and path.parent != run]
    for path in [*watched, *(run / name for name in tables.NAMES)]:
        content = path.read_bytes()
        append(path)
        where = path.relative_to(run).as_posix()
        assert differences(run) or where.endswith("provenance.json"), where
        if where.endswith("provenance.json"):  # another line end says the same, but the seal is over its bytes
            assert (".", "changed") in differences(run, expect=integrity.seal(run.parent / "out")[:-1] + "x")
        path.write_bytes(content)
    assert differences(run) == set()


def test_missing_changed_and_extra_files_are_told_apart(run: Path) -> None:
    (run / "a" / "transcript.srt").unlink()
    append(run / "a" / "transcript.txt")
    (run / "a" / "notes.txt").touch()
    (run / "letter.pdf").touch()
    (run / "timeline.csv").unlink()
    append(run / "speakers.csv")
    assert differences(run) == {
        ("a/transcript.srt", "missing"),
        ("a/transcript.txt", "changed"),
        ("a/notes.txt", "extra"),
        ("letter.pdf", "extra"),
        ("timeline.csv", "missing"),
        ("speakers.csv", "changed"),
    }


def test_an_export_that_is_changed_with_its_record_is_not_what_the_transcript_gives(run: Path) -> None:
    append(run / "a" / "transcript.txt")
    before = integrity.seal(run)
    rehash(run / "a")
    assert differences(run) == {("a/transcript.txt", "changed")}
    assert differences(run, expect=before) == {("a/transcript.txt", "changed"), (".", "changed")}


def test_a_transcript_that_is_changed_contradicts_its_exports_and_tables(run: Path) -> None:
    path = run / "a" / "transcript.json"
    path.write_text(path.read_text().replace('"SPEAKER_01"', '"SPEAKER_09"'))
    found = differences(run)
    assert ("a/transcript.json", "changed") in found
    assert {("a/transcript.rttm", "changed"), ("timeline.csv", "changed"), ("speakers.csv", "changed")} <= found


def test_only_the_seal_knows_of_a_change_to_everything(run: Path) -> None:
    """Without a secret, whoever can write everything can make it agree; what was noted down elsewhere cannot be."""
    noted = integrity.seal(run)
    edited = (run / "a" / "transcript.json").read_text().replace("SPEAKER_01", "SPEAKER_09")
    (run / "a" / "transcript.json").write_text(edited)
    every = "txt,srt,vtt,rttm,uem,csv,ctm,stm,seglst,speakers"
    assert run_pipeline.main(["export", str(run / "a"), "--formats", every]) == 0
    rehash(run / "a")
    from pipelines.results import outputs, tables

    tables.write(run, [outputs.read(run / name) for name in NAMES])
    assert differences(run) == set()
    assert differences(run, expect=noted) == {(".", "changed")}
    assert differences(run, expect=f" {integrity.seal(run).upper()}\n") == set()


def test_inputs_are_hashed_where_they_were(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "in", tmp_path / "in")
    given = [str(tmp_path / "in"), "--out", str(tmp_path / "out"), *SETTINGS, "-q"]
    assert run_pipeline.main(["process", *given]) == 0
    append(tmp_path / "in" / "a.wav")
    (tmp_path / "in" / "b.wav").unlink()
    gone = {(str(tmp_path / "in" / "a.wav"), "changed"), (str(tmp_path / "in" / "b.wav"), "missing")}
    assert differences(tmp_path / "out") == gone
    assert differences(tmp_path / "out", inputs=False) == set()


def test_an_export_made_later_is_no_difference_unless_it_is_wrong(finished: Path, tmp_path: Path) -> None:
    given = [str(finished / "in"), "--out", str(tmp_path), *SETTINGS, "--formats", "txt", "-q"]
    assert run_pipeline.main(["process", *given]) == 0
    assert run_pipeline.main(["export", str(tmp_path / "a"), "--formats", "srt"]) == 0
    found = integrity.check(tmp_path)
    assert found.differences == []
    assert any("a/transcript.srt: exported after the run" in note for note in found.notes)
    append(tmp_path / "a" / "transcript.srt")
    assert differences(tmp_path) == {("a/transcript.srt", "extra")}


@pytest.mark.parametrize(("key", "value"), [("speakers", 7), ("name", "c.wav"), ("digest", "0"), ("duration", 1)])
def test_a_row_that_says_other_than_its_transcript(run: Path, key: str, value: object) -> None:
    change(run / "run.json", lambda report: report["recordings"][0].update({key: value}))
    assert differences(run) == {("run.json", "changed")}


def test_a_recording_that_is_gone(run: Path) -> None:
    shutil.rmtree(run / "a")
    assert differences(run) == {("a", "missing")}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"files": 3}',
        b'{"files": {"a": 3}}',
        b'{"files": {"../../in/a.wav": "0"}}',
    ],
    ids=["empty", "list", "nothing", "no-text", "deep", "number", "no-digest", "elsewhere"],
)
def test_a_record_that_is_none_is_a_difference_and_no_failure(run: Path, content: bytes) -> None:
    (run / "a" / "provenance.json").write_bytes(content)
    assert ("a/provenance.json", "changed") in differences(run)
    (run / "run.json").write_bytes(content)
    assert ("run.json", "changed") in differences(run)
    (run / "b" / "transcript.json").write_bytes(content)
    assert ("b/transcript.json", "changed") in differences(run)


def test_nothing_that_never_ends_is_opened(run: Path) -> None:
    (run / "a" / "transcript.json").unlink()
    os.mkfifo(run / "a" / "transcript.json")
    (run / "b" / "transcript.txt").unlink()
    (run / "b" / "transcript.txt").symlink_to("/dev/zero")
    assert {("a/transcript.json", "changed"), ("b/transcript.txt", "changed")} <= differences(run)


def test_nothing_is_written_there(run: Path) -> None:
    def state() -> dict[Path, int]:
        return {path: path.lstat().st_mtime_ns for path in [run, *run.rglob("*")]}

    before = state()
    append(run / "a" / "transcript.txt")
    before[run / "a" / "transcript.txt"] = (run / "a" / "transcript.txt").stat().st_mtime_ns
    integrity.check(run)
    assert state() == before


def test_the_command(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_pipeline.main(["verify", str(run)]) == 0
    seal = capfd.readouterr().out.splitlines()[-1].removeprefix("seal: ")
    assert run_pipeline.main(["verify", str(run), "--expect", seal, "--no-inputs"]) == 0
    assert "inputs left out" in capfd.readouterr().out
    append(run / "a" / "transcript.txt")
    assert run_pipeline.main(["verify", str(run)]) == 6
    said = capfd.readouterr().out
    assert said.startswith("changed: a/transcript.txt: sha256 ")
    assert "1 difference" in said
    assert run_pipeline.main(["verify", str(run), "--json"]) == 6
    made = json.loads(capfd.readouterr().out)
    assert made["schema"] == "diarize-integrity/1"
    assert [each["where"] for each in made["differences"]] == ["a/transcript.txt"]


def test_what_is_no_folder_of_results_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_pipeline.main(["verify", str(tmp_path)]) == 2
    assert "is not a folder of results" in capfd.readouterr().err
    one = write_tones(tmp_path / "one.wav", [(300, 1.0)])
    assert run_pipeline.main(["verify", str(one)]) == 2
    assert "2 needed" in capfd.readouterr().err


def test_a_folder_that_may_not_be_read_is_a_difference(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.iterdir

    def refused(path: Path) -> Any:
        if path.name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "iterdir", refused)
    assert differences(run) == {("b", "changed")}

"""A disk that is full, forbidden, broken, or loses its power: nothing half-written under a final name, ever."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

import run_pipeline
from diarize import files
from diarize.errors import OutputError
from diarize.types import Transcript
from pipelines.batch import worker_pool
from pipelines.batch.worker import Worker
from pipelines.inputs.jobs import Job
from pipelines.results import integrity, outputs, tables
from pipelines.results.outcomes import Outcome
from tests.attacks.disk import Disk, after_power_loss, recorded
from tests.cheap import SETTINGS, write_tones
from tests.formats.samples import MEETING

CODES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)
SPEAKERS = [(300, 2.0), (2500, 2.0)]


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    write_tones(tmp_path / "in" / "a.wav", SPEAKERS)
    write_tones(tmp_path / "in" / "b.wav", [*SPEAKERS, (300, 1.0)])
    return tmp_path / "in"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recordings are worked on in this process, where the disk can be made to fail."""

    def run(jobs: Sequence[Job], plan: Any, out: Path, *more: Any, **other: Any) -> Iterator[Outcome]:
        worker = Worker(plan, out)
        for job in jobs:
            yield worker(job)

    monkeypatch.setattr(worker_pool, "run", run)


def process(recordings: Path, out: Path, *more: str) -> int:
    given = [*SETTINGS, "--formats=txt,rttm", "-q", *more]
    return run_pipeline.main(["process", str(recordings), "--out", str(out), *given])


def results(out: Path) -> dict[str, bytes]:
    """What lies there under final names and is the same in each run of the same command."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and not path.name.startswith(".") and path.name != "provenance.json"
    }


def whole(out: Path, names: Iterable[str]) -> None:
    """The run's own files are of the recordings that were done, so they differ; but each can be read to its end."""
    for name in names:
        if name.endswith(".json"):
            json.loads((out / name).read_text())
        elif name in ("timeline.csv", "speakers.csv"):
            tables.read(out / name)
        elif name.endswith(".parquet"):
            pyarrow.parquet.read_table(out / name)


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from-then-on"])
def test_fault_48_whatever_write_fails_nothing_is_half_written(
    recordings: Path, tmp_path: Path, here: None, lasting: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    assert process(recordings, tmp_path / "good") == 0
    good = results(tmp_path / "good")
    out, n, untouched = tmp_path / "out", 0, False
    while not untouched:
        n += 3 if lasting else 1
        shutil.rmtree(out, ignore_errors=True)
        disk = Disk(out, n, CODES[n % len(CODES)], lasting)
        capfd.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            disk.install(patch)
            status = process(recordings, out)
        untouched = not disk.failed
        said = capfd.readouterr().err
        left = results(out) if out.exists() else {}
        assert all(content == good[name] for name, content in left.items() if "/" in name), disk.failed
        whole(out, left)
        for folder in {name.partition("/")[0] for name in left if name.endswith("/transcript.json")}:
            assert {name for name in good if name.startswith(f"{folder}/")} <= set(left), disk.failed
        if untouched:
            assert status == 0
            break
        assert status == 5, disk.failed
        assert os.strerror(disk.code) in said, disk.failed
        assert str(out) in said, disk.failed
        assert "Traceback" not in said
        assert any(cure in said for cure in ("run the same command again", "choose another", "Choose another"))
        assert process(recordings, out) == 0, disk.failed
        assert results(out) == good, disk.failed
        assert not list(out.rglob("*.part")), disk.failed
        assert integrity.check(out).differences == [], disk.failed
    assert n > 50


def test_fault_48_a_full_disk_leaves_a_former_result_whole(recordings: Path, tmp_path: Path, here: None) -> None:
    """Until all of the new result is on the disk nothing of the old one is touched."""
    old = write(tmp_path / "out" / "staff-meeting", MEETING)
    longer = replace(MEETING, duration=99.0)
    n = 0
    while True:
        n += 1
        disk = Disk(tmp_path / "out", n, lasting=True)
        with pytest.MonkeyPatch.context() as patch:
            disk.install(patch)
            try:
                write(tmp_path / "out" / "staff-meeting", longer)
                break
            except OutputError as error:
                assert error.cure
        left = results(tmp_path / "out")
        if disk.failed[0].split()[0] in ("create", "write", "flush"):
            assert left == old
        write(tmp_path / "out" / "staff-meeting", MEETING)
    assert results(tmp_path / "out") != old


def write(folder: Path, transcript: Transcript, names: Sequence[str] = ("txt", "rttm")) -> dict[str, bytes]:
    outputs.write(folder, transcript, names, {})
    return results(folder.parent)


MOUNTED = """
mount -t tmpfs -o size={size}k none {place} || exit 77
cd {root} && {before} {python} run_pipeline.py process {recordings} --out {out} {settings} -q; echo "status $?"
find {out} -mindepth 2 -type f ! -name '.*' ! -name provenance.json | xargs -r sha256sum
"""


def on_a_small_disk(
    place: Path, size: int, recordings: Path, out: Path, before: str = ""
) -> subprocess.CompletedProcess[str]:
    """The command, with a file system of so many kilobytes at `place`, in a mount space of its own."""
    place.mkdir()
    script = MOUNTED.format(
        size=size,
        place=place,
        root=Path(__file__).resolve().parents[2],
        before=before,
        python=sys.executable,
        recordings=recordings,
        out=out,
        settings=" ".join(SETTINGS),
    )
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    ran = subprocess.run(["unshare", "-m", "bash", "-c", script], capture_output=True, text=True)
    if ran.returncode == 77:
        pytest.skip("no file system may be mounted here")
    return ran


@pytest.mark.skipif(sys.platform != "linux", reason="mount spaces are Linux's")
@pytest.mark.parametrize("size", [8, 64, 100])  # kilobytes: nothing fits; one recording; both, and no table
def test_fault_48_a_disk_that_is_truly_full(recordings: Path, tmp_path: Path, size: int) -> None:
    good, out = tmp_path / "good", tmp_path / "small"
    ran = on_a_small_disk(out, size, recordings, out)
    assert "status 5" in ran.stdout, ran
    assert "The disk is full: free some space and run the same command again." in ran.stderr
    assert run_pipeline.main(["process", str(recordings), "--out", str(good), *SETTINGS, "-q"]) == 0
    for digest, path in (line.split("  ", 1) for line in ran.stdout.splitlines() if "  " in line):
        assert files.sha256(good / Path(path).relative_to(out)) == digest, path


@pytest.mark.skipif(sys.platform != "linux", reason="mount spaces are Linux's")
def test_fault_48_no_room_for_the_samples_of_a_long_recording(tmp_path: Path) -> None:
    """Their folder is TMPDIR; ten minutes at 16 kHz are 38 MB."""
    write_tones(tmp_path / "in" / "long.wav", [(300, 620.0)], rate=4000)
    scratch = tmp_path / "scratch"
    ran = on_a_small_disk(scratch, 2000, tmp_path / "in", tmp_path / "out", f"TMPDIR={scratch} DIARIZE_RUN_CACHE=none")
    assert "status 5" in ran.stdout, ran
    assert "has no room for the samples of a long recording" in ran.stderr
    assert "TMPDIR" in ran.stderr
    assert not list((tmp_path / "out").rglob("transcript.*"))


def test_fault_47_a_loss_of_power_leaves_no_half_result(
    recordings: Path, tmp_path: Path, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each step of a run: whatever was not flushed may be lost, and what bears a final name is whole."""
    out = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch:
        steps = recorded(tmp_path, patch)
        assert process(recordings, out) == 0
    good = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    chance = random.Random(47)
    seen = 0
    for n in range(len(steps) + 1):
        for _ in range(20):
            left = after_power_loss(steps[:n], {}, chance)
            final = {path: content for path, content in left.items() if not path.name.startswith(".")}
            for path, content in final.items():
                if path.name in ("run.json", "provenance.json"):
                    json.loads(content)
                else:
                    assert content == good[path], (n, path)
            for path in final:
                if path.name == "transcript.json":
                    seen += 1
                    assert {p for p in good if p.parent == path.parent and not p.name.startswith(".")} <= set(final)
    assert seen > 100
    assert {path for path in after_power_loss(steps, {}, chance) if not path.name.startswith(".")} >= {
        path for path in good if not path.name.startswith(".")
    }


def test_fault_47_a_loss_of_power_never_mixes_two_results(tmp_path: Path) -> None:
    folder = tmp_path / "staff-meeting"
    write(folder, MEETING, ("txt", "rttm", "srt"))
    old = {path: path.read_bytes() for path in folder.iterdir()}
    newer = replace(MEETING, duration=99.0, turns=MEETING.turns[:-1], words=MEETING.words[:3])
    with pytest.MonkeyPatch.context() as patch:
        steps = recorded(tmp_path, patch)
        write(folder, newer, ("txt", "rttm"))
    new = {path: path.read_bytes() for path in folder.iterdir()}
    assert set(old) - set(new) == {folder / "transcript.srt"}  # an export of the former result would contradict
    chance, seen = random.Random(47), set()
    for n in range(len(steps) + 1):
        for _ in range(100):
            left = after_power_loss(steps[:n], old, chance)
            final = {path: content for path, content in left.items() if not path.name.startswith(".")}
            assert all(content in (old.get(path), new.get(path)) for path, content in final.items())
            if folder / "transcript.json" in final:
                assert final in (old, new), n
            seen.add("old" if final == old else "new" if final == new else "unfinished")
    assert seen == {"old", "new", "unfinished"}


def test_what_a_killed_process_left_is_taken_away(tmp_path: Path) -> None:
    part = tmp_path / "staff-meeting" / ".transcript.txt.4711-0123abcd.part"
    mine = tmp_path / "staff-meeting" / ".notes.part"
    part.parent.mkdir()
    part.touch()
    mine.touch()
    write(part.parent, MEETING)
    assert not part.exists()
    assert mine.exists()

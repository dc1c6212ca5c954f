"""Parts of a run: disjoint, together the whole, and joined they are what one run would have written."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarize.errors import AudioError, ConfigError
from pipelines.batch import merge
from pipelines.inputs import shards
from pipelines.inputs.recordings import Input
from pipelines.inputs.shards import Shard
from tests.cheap import write_tones
from tests.pipelines.inprocess import InProcess, contents


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=12), st.integers(1, 7))
def test_parts_are_disjoint_and_together_the_whole(contents: list[bytes], count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        items = []
        for number, data in enumerate(contents):
            path = Path(folder) / f"{number}.wav"
            path.write_bytes(data)
            items.append(Input(path, path.name, str(number)))
        parts = [[item for item in items if Shard(index, count).holds(item)] for index in range(1, count + 1)]
        assert sorted(item.id for part in parts for item in part) == sorted(item.id for item in items)
        for item in items:  # of equal bytes, under another name
            moved = Path(folder) / f"moved-{item.id}.mp3"
            shutil.copy(item.path, moved)
            assert shards.content_number(Input(moved, moved.name)) == shards.content_number(item)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 3 * shards.EDGE), st.integers(0, 255))
def test_what_decides_are_size_and_both_ends(size: int, byte: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.wav"
        path.write_bytes(bytes([byte]) * size)
        item = Input(path, "a.wav")
        before = shards.content_number(item)
        path.write_bytes(bytes([byte]) * (size + 1))
        assert shards.content_number(item) != before


def test_what_cannot_be_read_is_in_one_part_by_its_name(tmp_path: Path) -> None:
    gone = Input(tmp_path / "gone.wav", "gone.wav", problem=AudioError("gone.wav", "is not there"))
    assert sum(Shard(index, 5).holds(gone) for index in range(1, 6)) == 1
    assert shards.content_number(Input(tmp_path, "folder")) == shards.content_number(Input(tmp_path / "x", "folder"))


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "a/b", "-1/4", "1/2/3", "1/100001"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--shard"):
        shards.parse(text)


def test_names_of_the_files_of_a_part() -> None:
    assert shards.file_name("run.json", None) == "run.json"
    assert shards.file_name("run.json", shards.parse("2/4")) == "run.shard-2-of-4.json"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> InProcess:
    return InProcess(monkeypatch)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for number in range(5):
        write_tones(tmp_path / "in" / f"{number}.wav", [(300, 0.6 + number / 10), (2500, 0.7)])
    shutil.copy(tmp_path / "in" / "3.wav", tmp_path / "in" / "twin.wav")
    (tmp_path / "in" / "text.wav").write_text("this is no recording\n")
    (tmp_path / "in" / "notes.txt").touch()
    return tmp_path


def test_parts_joined_are_what_one_run_writes(run: InProcess, place: Path) -> None:
    assert run(place / "in", place / "whole") == 3
    each = [place / f"out{index}" for index in (1, 2, 3)]
    for index, out in enumerate(each, 1):
        assert run(place / "in", place / "shared", "--shard", f"{index}/3") in (0, 3)
        assert run(place / "in", out, "--shard", f"{index}/3") in (0, 3)
    assert merge.merge([place / "shared"], place / "shared") == 7
    assert merge.merge(each, place / "joined") == 7
    assert contents(place / "shared") == contents(place / "whole")
    assert contents(place / "joined") == contents(place / "whole")


def test_parts_that_do_not_make_a_whole_are_refused(run: InProcess, place: Path) -> None:
    out = place / "out"
    with pytest.raises(ConfigError, match="no part of a run"):
        merge.merge([place], place / "joined")
    run(place / "in", out, "--shard", "1/3")
    run(place / "in", out, "--shard", "3/3")
    with pytest.raises(ConfigError, match="2/3: these parts are missing"):
        merge.merge([out], out)
    run(place / "in", place / "again", "--shard", "1/3")
    with pytest.raises(ConfigError, match="exists twice"):
        merge.merge([out, place / "again"], place / "joined")
    run(place / "in", place / "other", "--shard", "2/3", "--max-speakers", 2)
    with pytest.raises(ConfigError, match="has other settings"):
        merge.merge([out, place / "other"], place / "joined")
    (place / "in" / "0.wav").rename(place / "in" / "00.wav")
    run(place / "in", place / "renamed", "--shard", "2/3")
    with pytest.raises(ConfigError, match="has other inputs"):
        merge.merge([out, place / "renamed"], place / "joined")


def test_an_empty_part_is_no_failure(run: InProcess, tmp_path: Path) -> None:
    write_tones(tmp_path / "in" / "a.wav", [(300, 1.0)])
    found = [run(tmp_path / "in", tmp_path / "out", "--shard", f"{index}/2") for index in (1, 2)]
    assert found == [0, 0]
    assert merge.merge([tmp_path / "out"], tmp_path / "out") == 1

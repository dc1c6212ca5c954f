"""`diarize cache`: what a person is told, and what is left."""

from __future__ import annotations

from pathlib import Path

import pytest

import run_pipeline
from diarize.cache.store import Cache
from pipelines.cli.commands.cache import size


def filled(folder: Path) -> Cache:
    cache = Cache(folder, 10**9)
    for i in range(4):
        cache.put(str(i), b"x" * 250_000)
    return cache


def test_what_is_kept_is_told_pruned_and_cleared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = filled(tmp_path / "stages")
    option = ["--cache", str(cache.folder)]
    assert run_pipeline.main(["cache", "status", *option]) == 0
    assert f"{cache.folder}: 4 entries, 1.0 MB" in capsys.readouterr().out
    assert run_pipeline.main(["cache", "prune", *option]) == 0
    assert cache.status().entries == 4
    assert run_pipeline.main(["cache", "prune", "--max-size", "600 kB", *option]) == 0
    assert cache.status().entries == 2
    assert run_pipeline.main(["cache", "clear", *option]) == 0
    assert cache.status().entries == 0
    assert "0 entries" in capsys.readouterr().out
    cache.put("one", b"x")
    assert run_pipeline.main(["cache", "status", *option]) == 0
    assert "1 entry, 0.0 MB" in capsys.readouterr().out


def test_without_a_folder_there_is_nothing_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_pipeline.main(["cache", "status", "--cache", "none"]) == 2
    assert "no cache folder is set" in capsys.readouterr().err
    assert run_pipeline.main(["cache", "status", "--cache", str(tmp_path / "new")]) == 0
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").touch()
    assert run_pipeline.main(["cache", "status", "--cache", str(tmp_path / "file")]) == 5


def test_sizes_are_read_as_people_write_them() -> None:
    assert [size(text) for text in ("5GB", "1.5 G", "300M", "12 kB", "7")] == [
        5 * 10**9,
        15 * 10**8,
        3 * 10**8,
        12_000,
        7,
    ]
    for text in ("", "5XB", "-1GB", "GB", "1e9"):
        with pytest.raises(ValueError, match="is no size"):
            size(text)


def test_a_run_that_is_refused_leaves_no_cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.wav").touch()
    words = ["process", str(tmp_path / "a.wav"), "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "new")]
    assert run_pipeline.main([*words, "--counts", str(tmp_path / "nothing.csv")]) == 2
    assert "nothing.csv" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()

"""What the main job refuses before any work, and which words go to which recording."""

from __future__ import annotations

from pathlib import Path

import pytest

from diarize.config import Config
from diarize.errors import ConfigError
from diarize.models.store import Store
from pipelines.batch import process
from pipelines.batch.process import ProcessRequest
from pipelines.batch.run import RunObserver
from pipelines.inputs.recordings import Input, assign_ids

INPUTS = assign_ids([Input(Path(name), name) for name in ("a/x.wav", "b/x.wav", "y.wav")])


def words(folder: Path, *found: Input) -> list[str | None]:
    jobs = process._jobs(found, ProcessRequest((), Path(), words=folder), Config())
    return [None if job.words is None else job.words.name for job in jobs]


def test_a_transcript_is_found_by_id_or_by_name(tmp_path: Path) -> None:
    for name in ("a--x.json", "b--x.srt", "x.json", "y.words.json"):
        (tmp_path / name).touch()
    (tmp_path / "y").mkdir()  # as the results of an earlier run
    assert words(tmp_path, *INPUTS) == ["a--x.json", "b--x.srt", "y.words.json"]


def test_a_transcript_is_never_given_to_two_recordings(tmp_path: Path) -> None:
    for name in ("x.json", "y.json"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=r"x.json may be of a/x.wav and of b/x.wav. .*b--x.json"):
        words(tmp_path, *INPUTS)
    assert words(tmp_path, INPUTS[0], INPUTS[2]) == ["x.json", "y.json"]


def test_a_transcript_must_be_there_for_each_recording(tmp_path: Path) -> None:
    (tmp_path / "y.json").touch()
    (tmp_path / "y.srt").touch()
    with pytest.raises(ConfigError, match=r"no file for a/x\.wav"):
        words(tmp_path, INPUTS[0])
    with pytest.raises(ConfigError, match=r"2 files for y\.wav"):
        words(tmp_path, INPUTS[2])
    with pytest.raises(ConfigError, match="no such file"):
        words(tmp_path / ("n" * 300), INPUTS[2])


def test_fault_40_a_place_that_cannot_be_looked_at_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").touch()
    request = ProcessRequest((tmp_path / "in", Path("n" * 300)), tmp_path / ("n" * 300))
    with pytest.raises(ConfigError, match="cannot be accessed: File name too long"):
        process.process(request, Config(), Store(offline=True), RunObserver())

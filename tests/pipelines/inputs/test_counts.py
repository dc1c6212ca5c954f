"""Speaker counts known per recording."""

from __future__ import annotations

from pathlib import Path

import pytest

from diarize.config import ClusterConfig
from diarize.errors import ConfigError
from pipelines.inputs import counts
from pipelines.inputs.recordings import Input, assign_ids

INPUTS = assign_ids([Input(Path(name), name) for name in ("a.wav", "day1/b.wav", "day2/b.wav")])


def configs(path: Path) -> list[ClusterConfig]:
    return counts.apply(counts.read(path), INPUTS, ClusterConfig(max_speakers=9), str(path))


def test_csv(tmp_path: Path) -> None:
    file = tmp_path / "counts.csv"
    file.write_text("recording,num_speakers,max_speakers\na.wav,2,\nday2/b,,4\n")
    found = configs(file)
    assert [c.num_speakers for c in found] == [2, None, None]
    assert [c.max_speakers for c in found] == [9, 9, 4]


def test_toml(tmp_path: Path) -> None:
    file = tmp_path / "counts.toml"
    file.write_text('[a]\nnum_speakers = 3\n["day1--b"]\nmin_speakers = 2\n')
    found = configs(file)
    assert [c.num_speakers for c in found] == [3, None, None]
    assert [c.min_speakers for c in found] == [1, 2, 1]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("recording,num_speakers\nb.wav,2\n", "several"),
        ("recording,num_speakers\nc.wav,2\n", "no such recording"),
        ("recording,num_speakers\na.wav,two\n", 'must be a whole number, not "two"'),
        ("recording,num_speakers\na.wav,0\n", "must be at least 1, not 0"),
        ("recording,num_speakers\na.wav,2.5\n", "a whole number"),
        ("recording,min_speakers\na.wav,10\n", "may not exceed"),
        ("recording,speakers\na.wav,2\n", "the columns are"),
        ("file,num_speakers\na.wav,2\n", "the columns are"),
        ("recording,num_speakers\na.wav\n", "line 2"),
        ("recording,num_speakers\na.wav,2,3\n", "line 2"),
        ("recording,num_speakers\na.wav,2\na.wav,3\n", "twice"),
        ("", "the columns are"),
    ],
)
def test_fault_33_a_wrong_line_is_refused_with_the_file_and_the_value(tmp_path: Path, text: str, what: str) -> None:
    file = tmp_path / "counts.csv"
    file.write_text(text)
    with pytest.raises(ConfigError, match=what) as caught:
        configs(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "[a]\nspeakers = 2\n",
        "a = 2\n",
        "[a]\nnum_speakers = -1\n",
        "[a\n",
        f"[a]\nnum_speakers = 1{'0' * 5000}\n",
        f"[a]\nnum_speakers = 0x1{'0' * 5000}\n",
        f"a = {'[' * 5000}",
    ],
    ids=lambda text: text[:20],
)
def test_a_wrong_table_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "counts.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"counts\.toml"):
        configs(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.csv"):
        configs(tmp_path / "gone.csv")

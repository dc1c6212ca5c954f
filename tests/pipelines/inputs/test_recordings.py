"""Which files are recordings, and what they are called."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.inputs import recordings
from pipelines.inputs.recordings import LONGEST, Input


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def ids(*names: str) -> list[str]:
    return [item.id for item in recordings.assign_ids([Input(Path(name), name) for name in names])]


def test_folders_are_searched_at_any_depth_and_other_files_are_passed_over(tmp_path: Path) -> None:
    for name in ("a.wav", "deep/er/b.MP3", "notes.txt", ".hidden.wav", ".git/c.wav", "video.mkv"):
        touch(tmp_path / name)
    found = recordings.find([tmp_path])
    assert [item.name for item in found.inputs] == ["a.wav", "deep/er/b.MP3", "video.mkv"]
    assert [item.id for item in found.inputs] == ["a", "deep--er--b", "video"]
    assert found.skipped == ("notes.txt",)


def test_a_file_named_by_itself_is_taken_whatever_it_is_called(tmp_path: Path) -> None:
    assert [item.name for item in recordings.find([touch(tmp_path / "notes.txt")]).inputs] == ["notes.txt"]


def test_patterns_choose_and_leave_out(tmp_path: Path) -> None:
    for name in ("day1/a.wav", "day1/b.wav", "day2/a.wav"):
        touch(tmp_path / name)
    assert [i.name for i in recordings.find([tmp_path], match=["day1/*"]).inputs] == ["day1/a.wav", "day1/b.wav"]
    assert [i.name for i in recordings.find([tmp_path], ignore=["a.wav"]).inputs] == ["day1/b.wav"]


def test_a_file_named_twice_is_one_input(tmp_path: Path) -> None:
    file = touch(tmp_path / "a.wav")
    assert len(recordings.find([file, tmp_path, file]).inputs) == 1


def test_fault_05_links_that_lead_nowhere_or_out_are_rows_and_are_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "in"
    outside = touch(tmp_path / "out.wav")
    touch(root / "real.wav")
    (root / "nowhere.wav").symlink_to(root / "gone.wav")
    (root / "circle.wav").symlink_to(root / "circle.wav")
    (root / "outside.wav").symlink_to(outside)
    (root / "inside.wav").symlink_to(root / "real.wav")
    (root / "loop").symlink_to(root)
    problems = {item.name: str(item.problem) if item.problem else "" for item in recordings.find([root]).inputs}
    assert set(problems) == {"real.wav", "nowhere.wav", "circle.wav", "outside.wav", "inside.wav"}
    assert problems["real.wav"] == problems["inside.wav"] == ""
    assert "without a target" in problems["nowhere.wav"]
    assert "circle" in problems["circle.wav"]
    assert "outside of the folder" in problems["outside.wav"]
    assert recordings.find([root / "outside.wav"]).inputs[0].problem is None


def test_fault_04_finding_does_not_open_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    assert [item.name for item in recordings.find([tmp_path]).inputs] == ["pipe.wav"]


def test_fault_62_a_folder_that_cannot_be_read_is_a_row_whatever_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "closed/a.wav")
    scandir = os.scandir

    def guarded(folder: Path) -> object:
        if folder.name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", guarded)
    (item,) = recordings.find([tmp_path], match=["*.wav"]).inputs
    assert "Permission denied" in str(item.problem)
    assert recordings.find([tmp_path], ignore=["closed"]).inputs == ()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_fault_62_a_folder_that_may_not_be_read_is_a_row(tmp_path: Path) -> None:
    touch(tmp_path / "closed/a.wav")
    (tmp_path / "closed").chmod(0)
    try:
        (item,) = recordings.find([tmp_path]).inputs
        assert "cannot be read" in str(item.problem)
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_fault_39_names_that_fall_together_get_ids_of_their_own() -> None:
    names = ("a/x.wav", "a/x.mp3", "a--x.wav", "A/X.wav", "b/x.wav")
    found = ids(*names)
    assert len({id.casefold() for id in found}) == len(names)
    assert found[4] == "b--x"
    assert ids(*reversed(names)) == list(reversed(found))


def test_fault_39_the_same_name_below_two_folders(tmp_path: Path) -> None:
    touch(tmp_path / "one/x.wav")
    touch(tmp_path / "two/x.wav")
    found = recordings.find([tmp_path / "one", tmp_path / "two"]).inputs
    assert len({item.id for item in found}) == 2


@pytest.mark.parametrize(
    "name",
    [
        "-rf.wav",
        "--out.wav",
        "$(rm -rf ~).wav",
        "a\nb.wav",
        "CON.wav",
        "nul",
        "a. .wav",
        "..wav",
        "x" * 250 + ".wav",
        "é" * 120 + ".wav",
        "run.json.wav",
        os.fsdecode(b"\xff\xfe.wav"),
        "a\x1b[31m.wav",
        "a\u202eb.wav",
        " .wav",
        "a:b.wav",
    ],
)
def test_fault_38_odd_names_become_safe_ids(name: str) -> None:
    (id,) = ids(name)
    assert len(id.encode()) <= LONGEST
    assert id == id.strip(" .") and not id.startswith("-") and id.isprintable()
    assert not set(id) & set('/\\:*?"<>|$()\n ')
    assert id.split(".")[0].casefold() not in recordings.RESERVED
    assert id.casefold() not in recordings.RUN_FILES


def test_fault_38_the_two_spellings_of_a_letter_are_two_files_with_two_ids() -> None:
    composed, decomposed = "café.wav", unicodedata.normalize("NFD", "café.wav")
    found = ids(composed, decomposed)
    assert len({unicodedata.normalize("NFC", id) for id in found}) == 2


@given(st.lists(st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=40), unique=True, max_size=8))
def test_fault_38_ids_are_unique_and_safe_whatever_the_names(names: list[str]) -> None:
    names = [name for name in names if name not in (".", "..")]
    found = ids(*names)
    assert len({id.casefold() for id in found}) == len(names)
    assert all(id and "/" not in id and id not in (".", "..") and id.isprintable() for id in found)


def test_plain_names_stay_as_they_are() -> None:
    assert ids("dev2-phone.flac", "Meeting_01.wav", "日本語.mp3", "my talk.wav") == [
        "dev2-phone",
        "Meeting_01",
        "日本語",
        "my_talk",
    ]

"""The folder of a review server: swept when its process was killed, and nothing else in the temporary directory."""

from __future__ import annotations

import errno
import os
import signal
import tempfile
from pathlib import Path

import pytest

from pipelines.review import scratch
from tests.pipelines.review.serving import serving, write_recording, write_results

pytestmark = pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="folders are swept where links are not followed")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary directory, of this process and of those that it starts."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def leave(path: Path, mode: int = 0o700) -> Path:
    path.mkdir()
    (path / "sound.opus").write_bytes(b"OggS")
    path.chmod(mode)
    return path


def test_what_a_killed_server_left_is_removed_by_the_next_one(temporary: Path, tmp_path: Path) -> None:
    folder = write_results(tmp_path / "out" / "meeting", write_recording(tmp_path / "meeting.wav", 2.0))
    with serving(folder) as killed:
        killed.process.send_signal(signal.SIGKILL)
        killed.process.wait(60)
    (left,) = temporary.glob("diarize-review-*")
    with serving(folder) as first:
        (own,) = temporary.glob("diarize-review-*")
        assert own != left and str(first.process.pid) in own.name
        with serving(folder):  # a server that lives keeps its folder
            assert len(list(temporary.glob("diarize-review-*"))) == 2 and own.is_dir()
    assert list(temporary.glob("diarize-review-*")) == []


def test_a_folder_in_use_stays_until_its_end(temporary: Path) -> None:
    with scratch.folder() as path:
        scratch.sweep()
        assert path.is_dir() and path.stat().st_mode & 0o777 == 0o700
        (path / "sound.opus").write_bytes(b"OggS")
    assert list(temporary.iterdir()) == []


def test_only_folders_of_servers_are_removed_and_no_link_is_followed(temporary: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("precious")
    left = leave(temporary / "diarize-review-12-abcdefgh")
    (left / "link").symlink_to(precious)
    (left / "file").symlink_to(precious / "file")
    link = temporary / "diarize-review-13-abcdefgh"
    link.symlink_to(precious)
    pipe = temporary / "diarize-review-14-abcdefgh"
    os.mkfifo(pipe)
    file = temporary / "diarize-review-15-abcdefgh"
    file.write_text("a file")
    others = [
        leave(temporary / "diarize-review-16-abcdefgh", 0o755),  # not as a server makes it
        leave(temporary / "diarize-review-notes"),
        leave(temporary / "diarize-review-17-abcdefgh.bak"),
    ]
    scratch.sweep()
    assert not left.exists() and (precious / "file").read_text() == "precious"
    assert link.is_symlink() and pipe.exists() and file.exists() and all(each.is_dir() for each in others)


def test_a_folder_of_another_user_stays(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = leave(temporary / "diarize-review-12-abcdefgh")
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    scratch.sweep()
    assert other.is_dir()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF])
def test_without_locks_a_server_starts_and_nothing_is_swept(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As on some network file systems."""
    left = leave(temporary / "diarize-review-12-abcdefgh")

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    scratch.sweep()
    with scratch.folder() as path:
        assert path.is_dir() and set(temporary.iterdir()) == {left, path}
    assert list(temporary.iterdir()) == [left]


@pytest.mark.parametrize("number", [errno.EIO, errno.EWOULDBLOCK])
def test_a_folder_that_cannot_be_locked_is_removed(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(OSError, match=r"Input/output|no folder could be made"), scratch.folder():
        pass
    assert list(temporary.iterdir()) == []


def test_a_folder_that_is_swept_before_it_is_locked_is_made_again(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = tempfile.mkdtemp
    swept: list[str] = []

    def make_and_sweep(**options: str) -> str:
        path = make(**options)
        if not swept:
            swept.append(path)
            scratch.sweep()
        return path

    monkeypatch.setattr(tempfile, "mkdtemp", make_and_sweep)
    with scratch.folder() as path:
        assert path.is_dir() and str(path) != swept[0]

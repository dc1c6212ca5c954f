"""Folders of uploads: those of killed processes are removed, those of living ones stay."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.service.work.uploads import UploadFolder
from tests.pipelines.service.servers import ROOT, running, settings_in

fcntl = pytest.importorskip("fcntl", reason="this system has no flock: nothing is removed")
CODE = (
    "import sys; from pathlib import Path; from pipelines.service.work.uploads import UploadFolder; "
    "folder = UploadFolder(Path(sys.argv[1])); (folder.path / 'sound').write_bytes(b'half a voice'); "
    "print(folder.path, flush=True); sys.stdin.read()"
)


def killed(parent: Path) -> Path:
    """The folder that a killed process leaves."""
    command = [sys.executable, "-c", CODE, str(parent)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        path = Path(process.stdout.readline().strip())
        process.send_signal(signal.SIGKILL)
    assert (path / "sound").is_file()
    return path


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    living = UploadFolder(tmp_path)
    (living.path / "sound").write_bytes(b"a voice")
    (tmp_path / "uploads-file").write_bytes(b"no folder")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "uploads-link").symlink_to(tmp_path / "elsewhere")
    left = killed(tmp_path)
    new = UploadFolder(tmp_path)
    assert not left.exists()
    assert (living.path / "sound").is_file() and new.path.is_dir() and new.path != living.path
    assert (tmp_path / "uploads-file").is_file() and (tmp_path / "elsewhere").is_dir()
    living.remove()
    new.remove()
    assert not list(tmp_path.glob("uploads-*/"))[1:]  # the link


def test_a_service_removes_it_at_its_start(tmp_path: Path) -> None:
    left = killed(tmp_path)
    with running(settings_in(tmp_path)) as service:
        assert not left.exists() and service.service.uploads.is_dir()
    assert not list(tmp_path.glob("uploads-*"))


def test_without_locks_nothing_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = killed(tmp_path)

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    folder = UploadFolder(tmp_path)
    assert folder.path.is_dir() and left.is_dir()
    folder.remove()
    assert not folder.path.exists() and left.is_dir()

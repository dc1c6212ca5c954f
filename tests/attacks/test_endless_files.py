"""Files beside the recordings that are devices or pipes: they may have no end, and are refused before they are read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from diarize import config, files
from diarize.config import Config
from diarize.errors import DiarizeError, FormatError, PassphraseError
from diarize.formats import transcript_json, words
from diarize.library import portable
from diarize.library.database import encryption
from diarize.library.scoring import calibration
from diarize.library.store import Library
from pipelines.evaluation import files as evaluation_files
from pipelines.inputs import counts
from pipelines.inputs.annotations import attach
from pipelines.inputs.jobs import Job
from pipelines.inputs.recordings import Input, assign_ids
from pipelines.people import trials

ZERO = Path("/dev/zero")
JOB = Job(assign_ids([Input(Path("y.wav"), "y.wav")])[0], Config().cluster)

READERS: dict[str, Callable[[Path], Any]] = {
    "--config": config.read,
    "--counts": counts.read,
    "--transcript": lambda path: attach([JOB], path, None, (), Config()),
    "--speech": lambda path: attach([JOB], None, path, (), Config()),
    "--known-turns": lambda path: attach([JOB], None, None, (path,), Config()),
    "--calibration": calibration.load,
    "--reference": evaluation_files.read,
    "--uem": evaluation_files.read_uem,
    "score-trials": trials.read,
    "speakers import": lambda path: portable.read(cast(Library, None), path),  # refused before that is asked
    "words": words.read,
    "export": transcript_json.read,
}


@pytest.mark.parametrize("option", READERS)
@pytest.mark.parametrize("suffix", [".toml", ".rttm", ""])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, option: str, suffix: str) -> None:
    path = tmp_path / f"pipe{suffix}"
    os.mkfifo(path)
    with pytest.raises(DiarizeError, match=r"pipe.*[Ss]ave its content in a file, and name|not one of the files"):
        READERS[option](path)


@pytest.mark.skipif(not ZERO.exists(), reason="no device without end here")
@pytest.mark.parametrize("option", [option for option in READERS if option not in ("--reference", "--uem")])
def test_a_device_without_end_is_refused(option: str) -> None:
    with pytest.raises(DiarizeError, match=r"/dev/zero.*[Ss]ave its content in a file, and name"):
        READERS[option](ZERO)


def test_a_file_that_is_read_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\r\nall of it\0")
    (tmp_path / "link").symlink_to("a")
    assert files.read(tmp_path / "link") == b"\r\nall of it\0"
    with pytest.raises(FormatError, match="cannot be read: Is a directory"):
        files.read(tmp_path)
    with pytest.raises(FormatError, match="cannot be read: No such file"):
        files.read(tmp_path / "nothing")


@pytest.mark.skipif(not ZERO.exists(), reason="no device without end here")
def test_a_passphrase_is_a_first_line_of_some_length() -> None:
    """Its file may be a pipe, as keepers of passphrases give them."""
    with pytest.raises(PassphraseError, match="too long for a passphrase: more than"):
        encryption.passphrase_of({}, ZERO)
    behind, before = os.pipe()
    os.write(before, "grüß dich\nand more\n".encode())
    assert encryption.passphrase_of({}, Path(f"/dev/fd/{behind}")) == "grüß dich"
    os.close(before)
    os.close(behind)

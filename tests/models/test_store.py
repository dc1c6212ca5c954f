"""What is in the store is what was meant, whatever the disk or a stranger does."""

from __future__ import annotations

import ast
import json
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

import diarize.models
from diarize.errors import ConfigError, ModelDamaged, ModelMissing, ModelUnavailable
from diarize.models.registry import ModelFile
from diarize.models.store import Store, default_folder
from pipelines.cli.commands import models
from tests.models.toys import CONFIG, TINY, WEIGHTS, Hub, known, names, pair, sha, store_of


def test_the_folder_comes_from_the_environment_or_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DIARIZE_MODELS", str(tmp_path / "here"))
    assert Store().folder == tmp_path / "here"
    assert not (tmp_path / "here").exists()  # making a store touches nothing
    monkeypatch.setenv("DIARIZE_MODELS", "")
    assert default_folder().parts[-2:] == ("diarize-pipeline", "models")
    monkeypatch.setenv("DIARIZE_MODELS", "relative")
    assert default_folder() == Path.cwd() / "relative"


def test_fault_60_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIARIZE_MODELS", raising=False)
    monkeypatch.setattr("platformdirs.user_data_dir", lambda name: f"~nobody-of-that-name/{name}")
    with pytest.raises(ConfigError, match="Set DIARIZE_MODELS"):
        Store()


def test_fault_60_working_folder_deleted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setenv("DIARIZE_MODELS", "relative")
    with pytest.raises(ConfigError, match="Set DIARIZE_MODELS to the full path"):
        Store()
    monkeypatch.setenv("DIARIZE_MODELS", str(tmp_path / "store"))
    assert Store().list()[0].state == "missing"


def test_fault_60_a_store_that_cannot_be_written(tmp_path: Path, hub: Hub) -> None:
    hub.answers[TINY] = WEIGHTS
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelUnavailable, match=r"cannot be written \(Not a directory\)\. Set DIARIZE_MODELS"):
        store_of(tmp_path / "file" / "store", known()).pull("tiny")


def test_fault_60_read_only_home(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.answers[TINY] = WEIGHTS

    def denied(self: Path, *args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", denied)
    with pytest.raises(ModelUnavailable, match=r"cannot be written \(Permission denied\)\. Set DIARIZE_MODELS"):
        store_of(tmp_path / "store", known()).pull("tiny")


def test_fault_60_a_read_only_store_works(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.answers[TINY] = WEIGHTS
    store = store_of(tmp_path, known())
    path = store.pull("tiny")
    (tmp_path / "tiny" / "verified.json").unlink()

    def denied(*args: object) -> None:
        raise diarize.errors.OutputError("verified.json", "read-only")

    monkeypatch.setattr("diarize.files.write", denied)
    assert store.path("tiny") == path
    assert names(tmp_path / "tiny") == ["tiny.onnx"]


def test_fault_60_umask_077_is_kept(tmp_path: Path, hub: Hub) -> None:
    hub.answers[TINY] = WEIGHTS
    before = os.umask(0o077)
    try:
        path = store_of(tmp_path / "store", known()).pull("tiny")
    finally:
        os.umask(before)
    assert path.read_bytes() == WEIGHTS
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_a_pulled_model_is_found_whole(tmp_path: Path, hub: Hub) -> None:
    hub.answers[TINY] = WEIGHTS
    hub.answers |= {"/lab/pair/resolve/v1/model.bin": WEIGHTS, "/lab/pair/resolve/v1/config.json": CONFIG}
    store = store_of(tmp_path, known(), pair())
    assert store.find("tiny") is None
    with pytest.raises(ModelMissing, match="diarize models pull tiny"):
        store.path("tiny")
    told: list[tuple[str, int, int | None]] = []
    assert store.pull("tiny", lambda *step: told.append(step)) == tmp_path / "tiny" / "tiny.onnx"
    assert told[0] == ("tiny.onnx", 0, len(WEIGHTS))
    assert told[-1] == ("tiny.onnx", len(WEIGHTS), len(WEIGHTS))
    assert store.pull("pair") == store.path("pair") == store.find("pair") == tmp_path / "pair"
    assert store.digest("tiny") == sha(WEIGHTS)
    assert store.digest("pair") == sha("\n".join(sorted([sha(WEIGHTS), sha(CONFIG)])).encode())
    assert [status.state for status in store.list()] == ["present", "present"]
    assert names(tmp_path) == ["pair", "tiny"]
    assert len(hub.asked) == 3


def test_what_is_there_is_not_fetched_again(tmp_path: Path, hub: Hub) -> None:
    hub.answers[TINY] = WEIGHTS
    store = store_of(tmp_path, known())
    store.pull("tiny")
    store.pull("tiny")
    assert len(hub.asked) == 1
    store.pull("tiny", force=True)
    assert len(hub.asked) == 2


def test_fault_59_damaged_and_truncated_files_are_refused(tmp_path: Path, hub: Hub) -> None:
    hub.answers[TINY] = WEIGHTS
    store = store_of(tmp_path, known())
    path = store.pull("tiny")
    path.write_bytes(WEIGHTS[:-1])
    with pytest.raises(ModelDamaged, match="diarize models pull tiny --force"):
        store.path("tiny")
    with pytest.raises(ModelDamaged):
        store.find("tiny")
    with pytest.raises(ModelDamaged):  # nothing is replaced without being asked
        store.pull("tiny")
    assert [status.state for status in store.verify()] == ["damaged"]
    assert store.pull("tiny", force=True).read_bytes() == WEIGHTS
    assert names(tmp_path) == ["tiny"]


def test_fault_59_a_missing_part_is_a_missing_model(tmp_path: Path, hub: Hub) -> None:
    hub.answers |= {"/lab/pair/resolve/v1/model.bin": WEIGHTS, "/lab/pair/resolve/v1/config.json": CONFIG}
    store = store_of(tmp_path, pair())
    (store.pull("pair") / "config.json").unlink()
    with pytest.raises(ModelMissing):
        store.path("pair")
    assert (store.pull("pair") / "config.json").read_bytes() == CONFIG


def test_a_file_is_hashed_once_and_verified_always(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.answers[TINY] = WEIGHTS
    store = store_of(tmp_path, known())
    path = store.pull("tiny")
    hashed: list[Path] = []
    real = diarize.files.sha256

    def watched(place: Path) -> str:
        hashed.append(place)
        return real(place)

    monkeypatch.setattr("diarize.files.sha256", watched)
    store.path("tiny")
    store.digest("tiny")
    assert hashed == []
    store.verify()
    assert hashed == [path]
    times = path.stat()
    path.write_bytes(b"x" * len(WEIGHTS))  # the same size and, below, the same time: only hashing can tell
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert [status.state for status in store.verify()] == ["damaged"]


@pytest.mark.parametrize("note", ["", "[]", '{"tiny.onnx": 3}', '{"tiny.onnx": []}', '{"tiny.onnx": [1, 2, 3]}', "\0"])
def test_a_damaged_note_of_what_was_hashed_is_made_again(tmp_path: Path, hub: Hub, note: str) -> None:
    hub.answers[TINY] = WEIGHTS
    store = store_of(tmp_path, known())
    path = store.pull("tiny")
    (tmp_path / "tiny" / "verified.json").write_text(note)
    assert store.path("tiny") == path
    assert json.loads((tmp_path / "tiny" / "verified.json").read_text())["tiny.onnx"][3] == sha(WEIGHTS)


def test_the_first_download_pins_visibly_and_the_second_must_agree(tmp_path: Path, hub: Hub) -> None:
    hub.answers |= {"/lab/pair/resolve/v1/model.bin": WEIGHTS, "/lab/pair/resolve/v1/config.json": CONFIG}
    store = store_of(tmp_path, pair(pinned=False))
    (pulled,) = models.pull(store, ["pair"])
    assert pulled.pins == (("config.json", sha(CONFIG)), ("model.bin", sha(WEIGHTS)))
    assert store.list()[0].pinned
    hub.answers["/lab/pair/resolve/v1/model.bin"] = b"a new version"
    with pytest.raises(ModelDamaged) as caught:
        store.pull("pair", force=True)
    assert caught.value.expected == sha(WEIGHTS)
    assert store.path("pair") == tmp_path / "pair"  # what was there is still there
    (tmp_path / "pair" / "config.json").write_bytes(b"{}")
    with pytest.raises(ModelDamaged):
        store.path("pair")


def test_files_that_nobody_pinned_are_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "tiny.onnx").write_bytes(WEIGHTS)
    with pytest.raises(ModelDamaged, match="no digest yet"):
        store_of(tmp_path, known(pinned=False)).path("tiny")


def test_an_interrupted_pull_leaves_nothing(tmp_path: Path, hub: Hub) -> None:
    hub.answers |= {"/lab/pair/resolve/v1/model.bin": WEIGHTS, "/lab/pair/resolve/v1/config.json": CONFIG}
    store = store_of(tmp_path, pair())

    def interrupt(file: str, done: int, total: int | None) -> None:
        if file == "config.json" and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.pull("pair", interrupt)
    assert names(tmp_path) == []


def test_a_killed_pull_is_swept_up_a_day_later(tmp_path: Path, hub: Hub) -> None:
    hub.answers[TINY] = WEIGHTS
    old, new = tmp_path / ".tiny.1-aa.part", tmp_path / ".tiny.2-bb.part"
    for folder in (old, new):
        folder.mkdir()
        (folder / "tiny.onnx").write_bytes(b"half")
    os.utime(old, (0, 0))
    store = store_of(tmp_path, known())
    assert store.find("tiny") is None
    store.pull("tiny")
    assert names(tmp_path) == [".tiny.2-bb.part", "tiny"]


def test_many_pulls_at_once_agree(tmp_path: Path, hub: Hub) -> None:
    hub.answers[TINY] = WEIGHTS
    stores = [store_of(tmp_path, known()) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda store: store.pull("tiny", force=True), stores))
    assert set(paths) == {tmp_path / "tiny" / "tiny.onnx"}
    assert names(tmp_path) == ["tiny"]
    assert paths[0].read_bytes() == WEIGHTS


def test_fault_58_the_store_never_unpickles() -> None:
    for path in Path(diarize.models.__path__[0]).glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {
            name.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        }
        called = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not imported & {
            "pickle",
            "_pickle",
            "cPickle",
            "shelve",
            "marshal",
            "dill",
            "joblib",
            "torch",
            "numpy.lib",
        }
        assert not called & {"eval", "exec", "compile", "__import__"}


def test_fault_58_notes_planted_by_a_stranger_are_only_data(tmp_path: Path, hub: Hub) -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "trace"),)

    hub.answers[TINY] = WEIGHTS
    store = store_of(tmp_path, known())
    path = store.pull("tiny")
    for name in ("verified.json", "pins.json"):
        (tmp_path / "tiny" / name).write_bytes(pickle.dumps(Attack()))
    assert store.path("tiny") == path
    assert [status.state for status in store.verify()] == ["present"]
    assert not (tmp_path / "trace").exists()


def test_a_changed_registry_is_obeyed_at_once(tmp_path: Path, hub: Hub) -> None:
    hub.answers[TINY] = WEIGHTS
    one = known()
    store_of(tmp_path, one).pull("tiny")
    newer = replace(one, files=(ModelFile("tiny.onnx", sha(b"newer"), 5),))
    with pytest.raises(ModelDamaged):
        store_of(tmp_path, newer).path("tiny")

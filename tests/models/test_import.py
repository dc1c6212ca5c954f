"""Import goes by bytes, not by names; recipes go on where one model cannot be had."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from diarize.errors import ConfigError, ModelDamaged, UnknownModel
from diarize.models.registry import REGISTRY
from diarize.models.store import Store
from pipelines.cli import doctor
from pipelines.cli.commands import models
from tests.models.toys import CONFIG, TINY, WEIGHTS, Hub, known, names, pair, sha, store_of


def test_import_recognises_bytes_not_names(tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    (stick / "deep" / "er").mkdir(parents=True)
    (stick / "deep" / "er" / "renamed.dat").write_bytes(WEIGHTS)
    (stick / "config (1).json").write_bytes(CONFIG)
    (stick / "stranger.onnx").write_bytes(b"who knows")
    (stick / "notes.txt").write_text("not a model")
    os.mkfifo(stick / "pipe.onnx")
    (stick / "loop").symlink_to(stick)
    (stick / "dangling.onnx").symlink_to(stick / "nowhere")
    store = store_of(tmp_path / "store", known(), pair(), offline=True)
    found = store.import_folder(stick)
    assert [(one.model, one.path.name, bool(one.problem)) for one in found] == [
        ("tiny", "renamed.dat", False),
        ("pair", "renamed.dat", False),
        (None, "stranger.onnx", True),
    ]
    assert [status.state for status in store.verify()] == ["present", "present"]
    assert store.path("tiny").read_bytes() == WEIGHTS
    assert (stick / "deep" / "er" / "renamed.dat").exists()
    assert store.import_folder(stick) == found  # again: nothing changes


def test_import_tells_what_is_not_complete(tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "model.bin").write_bytes(WEIGHTS)
    (one,) = store_of(tmp_path / "store", pair()).import_folder(stick)
    assert one.model is None
    assert one.problem == "pair is not complete: config.json missing"
    assert names(tmp_path / "store") == []


def test_import_of_a_folder_whose_digests_nobody_knows_pins_it(tmp_path: Path) -> None:
    stick = tmp_path / "stick" / "pair"
    stick.mkdir(parents=True)
    (stick / "model.bin").write_bytes(WEIGHTS)
    (stick / "config.json").write_bytes(CONFIG)
    (tmp_path / "stick" / "other").mkdir()
    (tmp_path / "stick" / "other" / "model.bin").write_bytes(b"another model")
    store = store_of(tmp_path / "store", pair(pinned=False))
    (one,) = store.import_folder(tmp_path / "stick")
    assert (one.model, one.pinned) == ("pair", True)
    assert (store.path("pair") / "model.bin").read_bytes() == WEIGHTS
    (store.path("pair") / "model.bin").write_bytes(b"damaged")
    (stick / "model.bin").write_bytes(b"a new version")
    with pytest.raises(ModelDamaged):
        store.import_folder(tmp_path / "stick")


def test_import_takes_a_cache_of_links(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "hub" / "blobs", tmp_path / "hub" / "snapshots" / "v1"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for name, data in (("model.bin", WEIGHTS), ("config.json", CONFIG)):
        (blobs / sha(data)).write_bytes(data)
        (snapshot / name).symlink_to(blobs / sha(data))
    store = store_of(tmp_path / "store", pair())
    assert [one.model for one in store.import_folder(snapshot)] == ["pair"]
    assert not (store.path("pair") / "model.bin").is_symlink()


def test_import_replaces_what_is_damaged(tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "tiny.onnx").write_bytes(WEIGHTS)
    store = store_of(tmp_path / "store", known())
    store.import_folder(stick)
    (tmp_path / "store" / "tiny" / "tiny.onnx").write_bytes(b"damaged")
    assert [one.model for one in store.import_folder(stick)] == ["tiny"]
    assert store.path("tiny").read_bytes() == WEIGHTS


def test_import_of_what_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a folder"):
        store_of(tmp_path / "store").import_folder(tmp_path / "nowhere")


def test_one_model_that_cannot_be_had_does_not_stop_the_others(tmp_path: Path, hub: Hub) -> None:
    hub.answers[TINY] = WEIGHTS
    store = store_of(tmp_path, known("gone", "hf:lab/gone"), known())
    gone, tiny = models.pull(store, ["gone", "tiny", "gone"])
    assert gone.path is None
    assert "moved or removed" in gone.problem
    assert tiny.path == store.path("tiny")
    assert tiny.problem == ""
    assert store.folder == tmp_path
    assert [status.state for status in store.list()] == ["missing", "present"]
    assert [status.state for status in store.verify()] == ["present"]


def test_an_unknown_name_stops_a_pull_before_it_begins(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(UnknownModel):
        list(models.pull(store_of(tmp_path, known()), ["tiny", "tinny"]))
    assert hub.asked == []


def test_what_the_main_job_needs_is_in_the_registry() -> None:
    assert all(name in REGISTRY for name in doctor.NEEDED)


def test_what_is_only_welcome_may_be_missing(tmp_path: Path) -> None:
    found = {pulled.name: pulled for pulled in models.pull(Store(tmp_path, offline=True))}
    assert set(found) == {*doctor.NEEDED, *doctor.RECOMMENDED}
    assert all(found[name].needed for name in doctor.NEEDED)
    assert not any(found[name].needed for name in doctor.RECOMMENDED)
    asked = list(models.pull(Store(tmp_path, offline=True), doctor.RECOMMENDED))
    assert [pulled.name for pulled in asked] == list(doctor.RECOMMENDED)
    for pulled in asked:
        assert pulled.needed  # whoever asks for it by name is told that it failed
        assert pulled.problem

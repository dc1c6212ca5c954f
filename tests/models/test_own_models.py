"""Models that a user trained or exported: added to the store, used by name like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from diarize.config import parse
from diarize.errors import ModelDamaged, ModelRefused, ModelUnavailable, UnknownBackend
from diarize.models.registry import ENTRY, REGISTRY, ModelEntry, ModelFile, own_entries
from diarize.models.store import Store
from pipelines import plan
from tests.models.toys import WEIGHTS, sha


def own(name: str = "my-voices", data: bytes = WEIGHTS) -> ModelEntry:
    file = ModelFile("model.onnx", sha(data), len(data))
    return ModelEntry(name, "embedder", (), (file,), "CC0-1.0", {"num_mel_bins": 40}, "trained by a test")


def test_an_own_model_is_used_by_name(tmp_path: Path) -> None:
    store = Store(tmp_path, offline=True)
    assert "my-voices" not in store.registry
    folder = store.add(own(), {"model.onnx": WEIGHTS, "card.md": b"# my-voices\n"})
    assert (folder / "card.md").read_bytes() == b"# my-voices\n"
    for each in (store, Store(tmp_path, offline=True)):
        assert each.path("my-voices") == tmp_path / "my-voices" / "model.onnx"
        assert each.registry["my-voices"] == own()
        assert [status.state for status in each.list() if status.entry.name == "my-voices"] == ["present"]
    config = parse({"embedder": {"backend": "my-voices"}, "vad": {"backend": "energy"}}, "test")
    planned = plan.make(config, store, recognize=False)
    assert planned.embed is not None and planned.embed.options["format"] == {"num_mel_bins": 40}
    assert planned.models["my-voices"] == sha(WEIGHTS)
    assert planned.licences["my-voices"] == "CC0-1.0"
    with pytest.raises(UnknownBackend, match="Did you mean 'my-voices'"):
        plan.make(parse({"embedder": {"backend": "my-voice"}, "vad": {"backend": "energy"}}, "test"), store)


def test_a_name_that_is_not_free_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path, offline=True)
    with pytest.raises(ModelRefused, match="a known model has this name"):
        store.add(own(next(iter(REGISTRY))), {"model.onnx": WEIGHTS})
    for name in ("auto", "../up", "a b", "", "x.onnx", "My"):
        with pytest.raises(ModelRefused):
            store.add(own(name), {"model.onnx": WEIGHTS})
    store.add(own(), {"model.onnx": WEIGHTS})
    with pytest.raises(ModelRefused, match="--force"):
        store.add(own(data=b"other"), {"model.onnx": b"other"})
    store.add(own(data=b"other"), {"model.onnx": b"other"}, replace=True)
    assert store.path("my-voices").read_bytes() == b"other"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my-voices"]


def test_a_damaged_own_model_is_noticed_and_a_damaged_entry_passed_over(tmp_path: Path) -> None:
    store = Store(tmp_path, offline=True)
    folder = store.add(own(), {"model.onnx": WEIGHTS})
    with pytest.raises(ModelUnavailable, match="a model of your own"):
        store.pull("my-voices", force=True)
    (folder / "model.onnx").write_bytes(WEIGHTS[:-1])
    with pytest.raises(ModelDamaged):
        store.path("my-voices")
    entry = (folder / ENTRY).read_text()
    for text in (entry[:-20], "[]", entry.replace("model.onnx", "../model.onnx"), entry.replace("my-voices", "ge2e")):
        (folder / ENTRY).write_text(text)
        assert own_entries(tmp_path) == {}

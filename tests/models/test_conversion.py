"""The tensors of a published checkpoint become an archive of the pinned digest; nothing else is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diarize.errors import ModelUnavailable, SourceDamaged
from diarize.models import conversion
from diarize.models.registry import REGISTRY
from diarize.models.store import Store
from tests.models.toys import Hub, sha
from tests.shared import SHARED, needs_shared

ENTRY = REGISTRY["speechidentity"]
ADDRESS = "/model/data-00000-of-00001"


def checkpoint(arrays: dict[str, np.ndarray]) -> bytes:
    """The data file of a checkpoint with these tensors, and with others of the optimizer behind them."""
    data = bytearray(3_000_000)
    for name, (start, _) in conversion.SPEECHIDENTITY.items():
        content = arrays[name].tobytes()
        data[start : start + len(content)] = content
    return bytes(data)


def store_of(folder: Path, hub: Hub) -> Store:
    entry = replace(ENTRY, sources=(f"tensors:speechidentity@{hub.address}{ADDRESS}",))
    return Store(folder, registry={entry.name: entry})


def test_tensors_lie_beside_each_other() -> None:
    ends = {start + 4 * int(np.prod(shape)) for start, shape in conversion.SPEECHIDENTITY.values()}
    starts = {start for start, _ in conversion.SPEECHIDENTITY.values()}
    assert len(starts) == 14 and max(ends) == 2_564_632
    assert starts - ends == {0, 131_608}  # 24 bytes of the optimizer lie between the linear layer and the rest


@needs_shared
def test_the_published_checkpoint_becomes_the_pinned_archive(tmp_path: Path, hub: Hub) -> None:
    with np.load(SHARED / "models" / "speechidentity" / "speech_id_110_weights.npz") as archive:
        hub.answers[ADDRESS] = checkpoint(dict(archive))
    path = store_of(tmp_path, hub).pull("speechidentity")
    assert sha(path.read_bytes()) == ENTRY.files[0].sha256


def test_another_checkpoint_is_not_stored(tmp_path: Path, hub: Hub) -> None:
    hub.answers[ADDRESS] = bytes(3_000_000)
    store = store_of(tmp_path, hub)
    with pytest.raises(SourceDamaged, match="models import FOLDER"):
        store.pull("speechidentity")
    assert store.find("speechidentity") is None


def test_a_short_checkpoint_is_named(tmp_path: Path, hub: Hub) -> None:
    hub.answers[ADDRESS] = bytes(1000)
    with pytest.raises(ModelUnavailable, match="the checkpoint ends at byte 1000"):
        store_of(tmp_path, hub).pull("speechidentity")


def test_a_file_may_have_a_source_of_its_own(tmp_path: Path, hub: Hub) -> None:
    files = (ENTRY.files[0].__class__("a"), ENTRY.files[0].__class__("b", source=f"{hub.address}/elsewhere/b"))
    entry = replace(ENTRY, name="two", sources=(f"{hub.address}/a",), files=files)
    hub.answers |= {"/a": b"first", "/elsewhere/b": b"second"}
    folder = Store(tmp_path, registry={"two": entry}).pull("two")
    assert [(folder / name).read_bytes() for name in "ab"] == [b"first", b"second"]

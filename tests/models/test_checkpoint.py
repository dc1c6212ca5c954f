"""The checkpoint reader: equal to torch on what torch writes, deaf to what a hostile file asks for."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diarize.errors import ModelRefused
from diarize.models.checkpoint import read_archive, read_tensors

torch = pytest.importorskip("torch")


def saved(path: Path, value: Any) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=False)
    return path


def hostile(path: Path, program: bytes) -> Path:
    """A file that is right up to the object, which is `program`."""
    head = io.BytesIO()
    for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        pickle.dump(value, head, protocol=2)
    path.write_bytes(head.getvalue() + program + pickle.dumps([], protocol=2))
    return path


def test_it_reads_what_torch_reads_bit_for_bit(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(12, generator=generator)
    state = {
        "lstm": torch.randn(8, 3, generator=generator),
        "part of a storage": shared[4:],
        "whole storage": shared,
        "scalar": torch.tensor(2.5),
        "none": torch.zeros(0, 4),
        "not finite": torch.tensor([float("nan"), float("inf"), -0.0]),
        "parameter": torch.nn.Linear(3, 2).state_dict()["weight"],
    }
    path = saved(tmp_path / "a.pt", {"step": 7, "rate": 0.5, "model_state": state})
    tensors = read_tensors(path)
    assert list(tensors) == list(state)
    for name, value in torch.load(path, weights_only=True)["model_state"].items():
        assert tensors[name].shape == tuple(value.shape)
        assert tensors[name].dtype.name == "float32"
        assert tensors[name].tobytes() == value.numpy().tobytes()
        assert not tensors[name].flags.writeable


def test_a_state_dict_of_a_module_has_version_marks_that_are_dropped(tmp_path: Path) -> None:
    module = torch.nn.LSTM(4, 3, num_layers=2)
    tensors = read_tensors(saved(tmp_path / "a.pt", {"model_state": module.state_dict()}))
    assert {name: value.shape for name, value in tensors.items()} == {
        name: tuple(value.shape) for name, value in module.state_dict().items()
    }


class Calls:
    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    "attack",
    [
        lambda trace: Calls(os.system, f"touch {trace}"),
        lambda trace: Calls(builtins.eval, f"open({str(trace)!r}, 'w')"),
        lambda trace: Calls(builtins.exec, f"open({str(trace)!r}, 'w')"),
        lambda trace: Calls(open, str(trace), "w"),
        lambda trace: Calls(getattr, Calls(__import__, "os"), "system"),
        lambda trace: {"model_state": {"a": Calls(os.mkdir, str(trace))}},
    ],
)
def test_a_hostile_pickle_is_refused_and_never_runs(
    tmp_path: Path, attack: Callable[[Path], Any], protocol: int
) -> None:
    trace = tmp_path / "trace"
    program = pickle.dumps(attack(trace), protocol=protocol)
    with pytest.raises(ModelRefused, match="checkpoint"):
        read_tensors(hostile(tmp_path / "a.pt", program))
    assert not trace.exists()


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02cposix\nsystem\nq\x00.",  # a name alone
        b"\x80\x02ccollections\nOrderedDict\n)R(U\x01aU\x01bub.",  # opcodes of other protocols
        b"\x80\x02ccollections\nOrderedDict\nX\x01\x00\x00\x00a\x85R.",  # an allowed name with arguments of its own
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",  # a tensor of nothing
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}b.",  # state laid on a name
        b"\x80\x02ctorch\nFloatStorage\n)R.",  # a storage that is called
        b"\x80\x02cbuiltins\ngetattr\nccollections\nOrderedDict\nX\x04\x00\x00\x00copy\x86R.",
        b"\x80\x02i__builtin__\neval\n.",
        b"\x80\x02X\x01\x00\x00\x00aQ.",  # a persistent id that is no storage
        b"\x80\x02}" + b")" + b"\x85" * 200_000 + b"K\x01s.",  # a key so deep that hashing it would overflow
        b"\x80\x02X\xff\xff\xff\x7fabc.",  # a text of 2 GB
        b"\x80\x02h\x07.",  # a memory that was never set
        b"\x80\x02.",  # nothing on the stack
        b"\x80\x02}",  # no end
        b"",
    ],
)
def test_programs_beyond_the_allow_list_are_refused(tmp_path: Path, program: bytes) -> None:
    with pytest.raises(ModelRefused):
        read_tensors(hostile(tmp_path / "a.pt", program))


def test_every_truncation_is_an_error_of_ours(tmp_path: Path) -> None:
    whole = saved(tmp_path / "a.pt", {"model_state": {"a": torch.ones(5), "b": torch.zeros(2, 2)}}).read_bytes()
    cut = tmp_path / "cut.pt"
    for length in range(len(whole)):
        cut.write_bytes(whole[:length])
        with pytest.raises(ModelRefused):
            read_tensors(cut)


def test_every_flipped_byte_gives_tensors_or_an_error_of_ours(tmp_path: Path) -> None:
    whole = saved(tmp_path / "a.pt", {"model_state": {"a": torch.ones(5)}}).read_bytes()
    flipped = tmp_path / "flipped.pt"
    refused = 0
    for place in range(len(whole)):
        flipped.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read_tensors(flipped)
        except ModelRefused:
            refused += 1
    assert 0 < refused <= len(whole)


@pytest.mark.parametrize(
    ("offset", "shape", "strides", "complaint"),
    [
        (1, (2, 2), (2, 1), None),
        (0, (6,), (1,), "beyond its storage"),
        (3, (3,), (1,), "beyond its storage"),
        (0, (10**30,), (1,), "beyond its storage"),
        (-1, (1,), (1,), "an offset"),
        (0, (5, 10**9), (0, 0), "contiguous"),
        (0, (2, 2), (1, 2), "contiguous"),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(
    tmp_path: Path, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], complaint: str | None
) -> None:
    storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0kX\x03\0\0\0cpuK\x05NtQ"
    numbers = b"".join(pickle.dumps(part, protocol=2)[2:-1] for part in (offset, shape, strides))
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + numbers + b"\x89NtR"
    path = hostile(tmp_path / "a.pt", b"\x80\x02}X\x0b\0\0\0model_state}X\x01\0\0\0a" + tensor + b"ss.")
    keys = pickle.dumps([], protocol=2)
    path.write_bytes(
        path.read_bytes().removesuffix(keys) + pickle.dumps(["k"], protocol=2) + struct.pack("<q5f", 5, *range(5))
    )
    if complaint is None:
        assert read_tensors(path)["a"].tolist() == [[1.0, 2.0], [3.0, 4.0]]
        return
    with pytest.raises(ModelRefused, match=complaint):
        read_tensors(path)


def test_other_kinds_of_numbers_and_layouts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="DoubleStorage"):
        read_tensors(saved(tmp_path / "double.pt", {"model_state": {"a": torch.ones(2, dtype=torch.float64)}}))
    torch.save({"model_state": {"a": torch.ones(2)}}, tmp_path / "zip.pt")
    with pytest.raises(ModelRefused):
        read_tensors(tmp_path / "zip.pt")
    with pytest.raises(ModelRefused, match="no part 'other'"):
        read_tensors(saved(tmp_path / "a.pt", {"model_state": {}}), part="other")
    with pytest.raises(OSError):
        read_tensors(tmp_path / "absent.pt")


def test_a_storage_may_not_claim_more_than_is_there(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", {"model_state": {"a": torch.ones(5)}})
    data = bytearray(path.read_bytes())
    data[-28:-20] = struct.pack("<q", 1 << 40)
    path.write_bytes(data)
    with pytest.raises(ModelRefused, match="truncated"):
        read_tensors(path)


def test_the_zip_layout_is_read_bit_for_bit(tmp_path: Path) -> None:
    module = torch.nn.BatchNorm1d(5)
    path = tmp_path / "a.pth"
    shared = torch.randn(12)
    torch.save({**module.state_dict(), "part": shared[4:].reshape(2, 4), "whole": shared}, path)
    tensors = read_archive(path)
    assert "num_batches_tracked" not in tensors  # of integers
    for name, value in torch.load(path, weights_only=True).items():
        if value.dtype == torch.float32:
            assert tensors[name].tobytes() == value.numpy().tobytes() and not tensors[name].flags.writeable


@pytest.mark.parametrize("change", ["program", "short", "compressed", "no program", "text"])
def test_other_archives_are_refused(tmp_path: Path, change: str) -> None:
    right, path, trace = tmp_path / "a.pth", tmp_path / "b.pth", tmp_path / "trace"
    torch.save({"x": torch.randn(3)}, right)
    kind = zipfile.ZIP_DEFLATED if change == "compressed" else zipfile.ZIP_STORED
    with zipfile.ZipFile(right) as source, zipfile.ZipFile(path, "w", kind) as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("data.pkl"):
                if change == "no program":
                    continue
                content = pickle.dumps(Calls(os.system, f"touch {trace}"), 2) if change == "program" else content
            if change == "short" and "/data/" in name:
                content = content[:-4]
            target.writestr(name, content)
    if change == "text":
        path.write_text("no archive")
    with pytest.raises(ModelRefused, match="cannot be read as a checkpoint"):
        read_archive(path)
    assert not trace.exists()

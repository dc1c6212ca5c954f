"""Tensors out of a PyTorch checkpoint, without PyTorch and without the pickle module.

Today's layout (`torch/serialization.py`, `_save`), which `read_archive` reads, is a zip archive without compression. It
has one pickle, that of the object (`NAME/data.pkl`), and the raw memory of each storage (`NAME/data/KEY`).

The old layout (`_legacy_load`), which `read_tensors` reads, is a series of pickles followed by raw memory:

    magic number, protocol version, system description, the object, the list of storage keys      five pickles
    for each key: count of elements (int64, little endian), then that many elements               raw bytes

A pickle is a program, and Python's own unpickler lets it call any function. Here a small interpreter runs it instead,
as in `torch.load(weights_only=True)`. Its safety comes from an allow-list:

- it knows the opcodes in such files, and refuses all others before any effect;
- a global is only a constant: `collections.OrderedDict`, `torch._utils._rebuild_tensor_v2`, `torch.FloatStorage` and
  `torch.LongStorage` are accepted, and no name is imported or looked up; tensors of integers are left out;
- the call opcode builds a dict or the description of a tensor, and nothing else;
- the state opcode is accepted for a dict alone, and its argument is dropped.

Lengths in the file are checked against its size, so that a small file cannot request much memory. The model store also
compares the file's digest with the pinned one before it is read.
"""

from __future__ import annotations

import io
import math
import pickletools
import zipfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarize.errors import ModelRefused

_MAGIC = 0x1950A86A20F9469CFC6C  # torch.serialization.MAGIC_NUMBER
_PROTOCOL = 1001  # torch.serialization.PROTOCOL_VERSION
_MARK = object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}  # opcode -> the value that it pushes
_CONTAINERS: dict[str, type] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}


class _Global(Enum):
    """The only names that a checkpoint may use; they are constants and are never called."""

    ORDERED_DICT = "collections OrderedDict"
    REBUILD = "torch._utils _rebuild_tensor_v2"
    FLOAT = "torch FloatStorage"
    LONG = "torch LongStorage"


@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    count: int  # elements
    is_float: bool = True  # else 64-bit integers, which are not read


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: _Storage
    offset: int  # elements
    shape: tuple[int, ...]


def read_tensors(path: Path, part: str = "model_state") -> dict[str, NDArray[np.float32]]:
    """The float32 tensors under the key `part` of the checkpoint at `path`, by name: read-only, C-contiguous.

    Raises ModelRefused if the file is not a checkpoint, is truncated, or holds anything outside the allow-list;
    OSError if it cannot be read.
    """
    file = io.BytesIO(path.read_bytes())
    try:
        if _run_pickle(file) != _MAGIC or _run_pickle(file) != _PROTOCOL:
            raise ValueError("it is not a PyTorch checkpoint of the old layout")
        system = _run_pickle(file)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise ValueError("it was written by a big-endian machine")
        content, keys = _run_pickle(file), _run_pickle(file)
        state = content.get(part) if isinstance(content, dict) else None
        if not isinstance(state, dict):
            raise ValueError(f"it has no part {part!r}")
        tensors = {name: value for name, value in state.items() if isinstance(value, _Tensor) and isinstance(name, str)}
        if not all(value.storage.is_float for value in tensors.values()):
            raise ValueError("only float32 storages are allowed")
        counts = {value.storage.key: value.storage.count for value in tensors.values()}
        storages = _read_storages(file, keys, counts)
        return {name: _view(value, storages) for name, value in tensors.items()}
    except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
        raise ModelRefused(str(path), f"it cannot be read as a checkpoint: {error}") from error


def read_archive(path: Path) -> dict[str, NDArray[np.float32]]:
    """The float32 tensors of a state dict in the zip layout, by name: read-only, C-contiguous.

    Raises ModelRefused if the file is not such a checkpoint, is truncated, or holds anything outside the allow-list;
    OSError if it cannot be read.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            members = {member.filename: member for member in archive.infolist()}
            if any(member.compress_type != zipfile.ZIP_STORED for member in members.values()):
                raise ValueError("it is compressed, which such a file never is")  # a small file could fill the memory
            programs = [name for name in members if name.endswith("/data.pkl")]
            if len(programs) != 1:
                raise ValueError("it has no data.pkl")
            folder = programs[0].removesuffix("data.pkl")
            if folder + "byteorder" in members and archive.read(folder + "byteorder") != b"little":
                raise ValueError("it was written by a big-endian machine")
            state = _run_pickle(io.BytesIO(archive.read(programs[0])))
            if not isinstance(state, dict):
                raise ValueError("its object is not a state dict")
            tensors = {name: value for name, value in state.items() if isinstance(value, _Tensor)}
            floats = {name: value for name, value in tensors.items() if value.storage.is_float}
            storages: dict[str, NDArray[np.float32]] = {}
            for storage in {value.storage for value in floats.values()}:
                content = archive.read(f"{folder}data/{storage.key}")
                if len(content) != 4 * storage.count:
                    raise ValueError(f"storage {storage.key!r} has {len(content)} bytes, not {4 * storage.count}")
                storages[storage.key] = np.frombuffer(content, dtype="<f4").astype(np.float32)
                storages[storage.key].setflags(write=False)
            return {str(name): _view(value, storages) for name, value in floats.items()}
    except (ValueError, LookupError, TypeError, OverflowError, zipfile.BadZipFile, RuntimeError, EOFError) as error:
        raise ModelRefused(str(path), f"it cannot be read as a checkpoint: {error}") from error


def _read_storages(file: io.BytesIO, keys: Any, counts: dict[str, int]) -> dict[str, NDArray[np.float32]]:
    """The raw memory behind each key. All keys are float32: no other storage passes the allow-list."""
    if not isinstance(keys, list):
        raise ValueError("the storage keys are not a list")
    memory = file.getbuffer()
    storages: dict[str, NDArray[np.float32]] = {}
    for key in keys:
        if type(key) is not str:
            raise ValueError("the key of a storage is not a string")
        start = file.tell()
        count = int.from_bytes(memory[start : start + 8], "little", signed=True)
        end = start + 8 + 4 * count
        if count < 0 or start + 8 > len(memory) or end > len(memory):
            raise ValueError(f"storage {key!r} is truncated")
        if counts.get(key, count) != count:
            raise ValueError(f"storage {key!r} has {count} elements, {counts[key]} were declared")
        storages[key] = np.frombuffer(memory[start + 8 : end], dtype="<f4").astype(np.float32)  # a copy is aligned
        storages[key].setflags(write=False)
        file.seek(end)
    return storages


def _view(tensor: _Tensor, storages: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    size = math.prod(tensor.shape)
    flat = storages[tensor.storage.key][tensor.offset : tensor.offset + size]
    if len(flat) != size:
        raise ValueError("a tensor is beyond its storage")
    return flat.reshape(tensor.shape)


def _run_pickle(file: io.BytesIO) -> Any:
    """Run one pickle of `file` to its end; returns its value. The opcodes are documented in `pickletools`."""
    stack: list[Any] = []
    memory: dict[Any, Any] = {}
    for opcode, argument, _ in pickletools.genops(file):
        match opcode.name:
            case "STOP":
                return stack.pop()
            case "PROTO":
                if argument != 2:
                    raise ValueError(f"pickle protocol {argument} is not used by such files")

            # Values are pushed.
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append(_CONSTANTS[opcode.name])
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE":
                stack.append(argument)
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_TUPLE":
                stack.append(_CONTAINERS[opcode.name]())
            case "MARK":
                stack.append(_MARK)
            case "BINPUT" | "LONG_BINPUT":
                memory[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memory[argument])

            # Values at the top go into a container below them.
            case "TUPLE":
                stack.append(tuple(_above_mark(stack)))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "APPEND" | "APPENDS":
                items = [stack.pop()] if opcode.name == "APPEND" else _above_mark(stack)
                _top(stack, list).extend(items)
            case "SETITEM" | "SETITEMS":
                items = [stack.pop(), stack.pop()][::-1] if opcode.name == "SETITEM" else _above_mark(stack)
                _update(_top(stack, dict), items)

            # Names and calls: nothing beyond the allow-list.
            case "GLOBAL":
                stack.append(_Global(argument))
            case "BINPERSID":
                stack.append(_make_storage(stack.pop()))
            case "REDUCE":
                arguments, name = stack.pop(), stack.pop()
                stack.append(_call(name, arguments))
            case "BUILD":
                stack.pop()  # the version numbers that torch attaches to a state dict
                _top(stack, dict)
            case other:
                raise ValueError(f"the pickle opcode {other} is not allowed")
    raise ValueError("a pickle has no end")


def _above_mark(stack: list[Any]) -> list[Any]:
    items: list[Any] = []
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]


def _top(stack: list[Any], kind: type) -> Any:
    """The last value, which must be a `kind`."""
    if type(stack[-1]) is not kind:
        raise ValueError(f"expected a {kind.__name__}, got a {type(stack[-1]).__name__}")
    return stack[-1]


def _update(target: dict[Any, Any], items: list[Any]) -> None:
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) not in (str, int):  # the hash of a deeply nested tuple overflows the C stack
            raise ValueError("a key of a dict is neither a string nor an integer")
        target[key] = value


def _make_storage(key: Any) -> _Storage:
    """A persistent id: ("storage", type, key, device, count), in the old layout with None. The device is ignored."""
    kind, storage, name, _, count, *view = key
    if kind != "storage" or storage not in (_Global.FLOAT, _Global.LONG) or view not in ([], [None]):
        raise ValueError("only whole storages of float32 and int64 are allowed")
    if not isinstance(name, str) or type(count) is not int:
        raise ValueError("the key of a storage is not a string, or its size not an integer")
    return _Storage(name, count, storage is _Global.FLOAT)


def _call(name: Any, arguments: Any) -> dict[Any, Any] | _Tensor:
    """The call opcode: an (ordered) dict, or a tensor from (storage, offset, shape, strides, grad, hooks)."""
    if name is _Global.ORDERED_DICT and arguments == ():
        return {}
    if name is not _Global.REBUILD:
        raise ValueError("a call of anything but OrderedDict and _rebuild_tensor_v2 is not allowed")
    storage, offset, shape, strides = arguments[:4]
    if not isinstance(storage, _Storage) or not all(type(n) is int and n >= 0 for n in (offset, *shape, *strides)):
        raise ValueError("a tensor needs a storage, an offset, a shape and strides")
    contiguous = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    if any(stride != expected for stride, expected, size in zip(strides, contiguous, shape, strict=True) if size > 1):
        raise ValueError("only contiguous tensors are allowed")
    return _Tensor(storage, offset, tuple(shape))

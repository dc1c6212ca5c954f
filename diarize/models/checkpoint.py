"""Tensors out of a PyTorch checkpoint of the old layout, without PyTorch and without the pickle module.

Such a file is a row of pickles followed by raw memory (`torch/serialization.py`, `_legacy_load`):

    magic number, protocol version, system description, the object, the list of storage keys      five pickles
    for each key: count of elements (int64, little endian), then that many elements               raw bytes

A pickle is a program, and Python's own unpickler runs it with every function of the interpreter in reach. Here a small
machine of its own runs it instead, as `torch.load(weights_only=True)` does. Its safety rests on an allow-list:

- it knows the opcodes that such files hold, and refuses all others before any effect;
- a global is a mere mark: only `collections.OrderedDict`, `torch._utils._rebuild_tensor_v2` and `torch.FloatStorage`
  are accepted, and no name is ever imported or looked up;
- the call opcode builds a dict or a tensor's description, and can do nothing else;
- the state opcode is accepted on a dict alone, and what it carries is dropped.

Lengths in the file are checked against the bytes that are there, so that a small file cannot claim a large memory. The
model store compares the file's digest with the pinned one before anybody reads it: this is the second lock.
"""

from __future__ import annotations

import io
import math
import pickletools
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


class _Global(Enum):
    """The only names that a checkpoint may mention; they stand for themselves and are never called."""

    ORDERED_DICT = "collections OrderedDict"
    REBUILD = "torch._utils _rebuild_tensor_v2"
    FLOAT = "torch FloatStorage"


@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    count: int  # elements


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: _Storage
    offset: int  # elements
    shape: tuple[int, ...]


def read_tensors(path: Path, part: str = "model_state") -> dict[str, NDArray[np.float32]]:
    """The float32 tensors under the key `part` of the checkpoint at `path`, by name: read-only, C-contiguous.

    Raises ModelRefused where the file is no such checkpoint, is cut short, or holds anything beyond the allow-list;
    OSError where it cannot be read.
    """
    file = io.BytesIO(path.read_bytes())
    try:
        if _run(file) != _MAGIC or _run(file) != _PROTOCOL:
            raise ValueError("it is not a PyTorch checkpoint of the old layout")
        system = _run(file)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise ValueError("it was written by a big-endian machine")
        whole, keys = _run(file), _run(file)
        state = whole.get(part) if isinstance(whole, dict) else None
        if not isinstance(state, dict):
            raise ValueError(f"it has no part {part!r}")
        tensors = {name: value for name, value in state.items() if isinstance(value, _Tensor) and isinstance(name, str)}
        counts = {value.storage.key: value.storage.count for value in tensors.values()}
        storages = _storages(file, keys, counts)
        return {name: _array(value, storages) for name, value in tensors.items()}
    except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
        raise ModelRefused(str(path), f"it cannot be read as a checkpoint: {error}") from error


def _storages(file: io.BytesIO, keys: Any, counts: dict[str, int]) -> dict[str, NDArray[np.float32]]:
    """The raw memory behind each key. All keys are float32: no other storage passes the allow-list."""
    if not isinstance(keys, list):
        raise ValueError("the list of storages is no list")
    memory = file.getbuffer()
    storages: dict[str, NDArray[np.float32]] = {}
    for key in keys:
        if type(key) is not str:
            raise ValueError("a storage's key is a text")
        start = file.tell()
        count = int.from_bytes(memory[start : start + 8], "little", signed=True)
        end = start + 8 + 4 * count
        if count < 0 or start + 8 > len(memory) or end > len(memory):
            raise ValueError(f"storage {key!r} is cut short")
        if counts.get(key, count) != count:
            raise ValueError(f"storage {key!r} has {count} elements, {counts[key]} were declared")
        storages[key] = np.frombuffer(memory[start + 8 : end], dtype="<f4").astype(np.float32)  # a copy is aligned
        storages[key].setflags(write=False)
        file.seek(end)
    return storages


def _array(tensor: _Tensor, storages: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    size = math.prod(tensor.shape)
    flat = storages[tensor.storage.key][tensor.offset : tensor.offset + size]
    if len(flat) != size:
        raise ValueError("a tensor reaches beyond its storage")
    return flat.reshape(tensor.shape)


def _run(file: io.BytesIO) -> Any:
    """Run one pickle program of `file` to its end, and give its value."""
    stack: list[Any] = []
    memory: dict[Any, Any] = {}
    for opcode, argument, _ in pickletools.genops(file):
        match opcode.name:
            case "STOP":
                return stack.pop()
            case "PROTO":
                if argument != 2:
                    raise ValueError(f"pickle protocol {argument} is not used by such files")
            case "NONE":
                stack.append(None)
            case "NEWTRUE":
                stack.append(True)
            case "NEWFALSE":
                stack.append(False)
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE":
                stack.append(argument)
            case "BINPUT" | "LONG_BINPUT":
                memory[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memory[argument])
            case "MARK":
                stack.append(_MARK)
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE":
                stack.append(tuple(_above_mark(stack)))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "APPEND":
                item = stack.pop()
                _last(stack, list).append(item)
            case "APPENDS":
                items = _above_mark(stack)
                _last(stack, list).extend(items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _update(_last(stack, dict), [key, value])
            case "SETITEMS":
                items = _above_mark(stack)
                _update(_last(stack, dict), items)
            case "GLOBAL":
                stack.append(_Global(argument))
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case "REDUCE":
                arguments, name = stack.pop(), stack.pop()
                stack.append(_build(name, arguments))
            case "BUILD":
                stack.pop()  # the version marks that torch leaves on a state dict
                _last(stack, dict)
            case name:
                raise ValueError(f"the pickle opcode {name} is not allowed")
    raise ValueError("a pickle has no end")


def _above_mark(stack: list[Any]) -> list[Any]:
    items: list[Any] = []
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]


def _last(stack: list[Any], kind: type) -> Any:
    if type(stack[-1]) is not kind:
        raise ValueError(f"a {kind.__name__} was expected, {type(stack[-1]).__name__} found")
    return stack[-1]


def _update(target: dict[Any, Any], items: list[Any]) -> None:
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) not in (str, int):  # hashing a tuple nested a million deep would end the process
            raise ValueError("a dict's keys are texts or whole numbers")
        target[key] = value


def _storage(key: Any) -> _Storage:
    """A persistent id: ("storage", type, key, device, count, None). Its device is of no interest: memory is memory."""
    kind, storage, name, _, count, view = key
    if kind != "storage" or storage is not _Global.FLOAT or view is not None:
        raise ValueError("only whole float32 storages are allowed")
    if not isinstance(name, str) or type(count) is not int:
        raise ValueError("a storage has a text as its key and a whole number as its size")
    return _Storage(name, count)


def _build(name: Any, arguments: Any) -> dict[Any, Any] | _Tensor:
    """What the call opcode can make: an (ordered) dict, or a tensor (storage, offset, shape, strides, grad, hooks)."""
    if name is _Global.ORDERED_DICT and arguments == ():
        return {}
    if name is not _Global.REBUILD:
        raise ValueError("a call of anything but OrderedDict and _rebuild_tensor_v2 is not allowed")
    storage, offset, shape, strides = arguments[:4]
    if not isinstance(storage, _Storage) or not all(type(n) is int and n >= 0 for n in (offset, *shape, *strides)):
        raise ValueError("a tensor is a storage, an offset, a shape and strides")
    contiguous = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    if any(step != due for step, due, size in zip(strides, contiguous, shape, strict=True) if size > 1):
        raise ValueError("only contiguous tensors are allowed")
    return _Tensor(storage, offset, tuple(shape))

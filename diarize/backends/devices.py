"""What each model runtime can compute on. Importing a runtime is the only honest test of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True, slots=True)
class Device:
    """One runtime: whether it sees a CUDA device, or why it cannot be imported."""

    runtime: str
    cuda: bool
    problem: str = ""


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def found() -> tuple[Device, ...]:
    """The runtimes that are installed, each imported and asked."""
    asked = {"onnxruntime": _onnxruntime, "ctranslate2": _ctranslate2, "torch": _torch}
    return tuple(_ask(name, sees_cuda) for name, sees_cuda in asked.items() if find_spec(name) is not None)


def _ask(name: str, sees_cuda: Callable[[], bool]) -> Device:
    try:
        return Device(name, sees_cuda())
    except Exception as error:  # a native library that does not load may raise anything
        return Device(name, False, f"{type(error).__name__}: {error}")


def _onnxruntime() -> bool:
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def _ctranslate2() -> bool:
    import ctranslate2

    return int(ctranslate2.get_cuda_device_count()) > 0


def _torch() -> bool:
    import torch

    return bool(torch.cuda.is_available())

"""Devices: what each model runtime can compute on, and what to do when a GPU has too little memory."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TypeVar

from diarize.errors import DeviceMissing

_NAMES = {"onnxruntime": "ONNX Runtime", "ctranslate2": "CTranslate2", "torch": "PyTorch"}

Result = TypeVar("Result")

# Texts of the runtimes' errors. ONNX Runtime: its arena (bfc_arena.cc), and CUDA, cuDNN and cuBLAS called by it;
# CTranslate2 and PyTorch: those of CUDA.
_OUT_OF_MEMORY = (
    "failed to allocate memory",
    "out of memory",
    "cudnn_status_alloc_failed",
    "cublas_status_alloc_failed",
    "std::bad_alloc",
)


@dataclass(frozen=True, slots=True)
class Device:
    """One runtime: whether it sees a CUDA device, or why it cannot be imported."""

    runtime: str
    cuda: bool
    problem: str = ""


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def probe_runtimes() -> tuple[Device, ...]:
    """The installed runtimes. Imports each: nothing less shows whether it works."""
    probes = {"onnxruntime": _onnxruntime_sees_cuda, "ctranslate2": _ctranslate2_sees_cuda, "torch": _torch_sees_cuda}
    return tuple(_probe(name, sees_cuda) for name, sees_cuda in probes.items() if find_spec(name) is not None)


def _probe(name: str, sees_cuda: Callable[[], bool]) -> Device:
    try:
        return Device(name, sees_cuda())
    except Exception as error:  # a native library that does not load may raise anything
        return Device(name, False, f"{type(error).__name__}: {error}")


def _onnxruntime_sees_cuda() -> bool:
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def _ctranslate2_sees_cuda() -> bool:
    import ctranslate2

    return int(ctranslate2.get_cuda_device_count()) > 0


def _torch_sees_cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def require_cuda(runtime: str) -> None:
    """Raises DeviceMissing where onnxruntime, ctranslate2 or torch sees no CUDA device."""
    probes = {"onnxruntime": _onnxruntime_sees_cuda, "ctranslate2": _ctranslate2_sees_cuda, "torch": _torch_sees_cuda}
    if find_spec(runtime) is not None and _probe(runtime, probes[runtime]).cuda:
        return
    cure = "Install onnxruntime-gpu, or use --device cpu" if runtime == "onnxruntime" else "Use --device cpu"
    raise DeviceMissing(f"--device cuda is not possible here: {_NAMES[runtime]} sees no CUDA device", cure)


def release_memory() -> None:
    """Free the memory of models that are no longer used, also PyTorch's on a GPU."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of a runtime (each has its own classes) means that there was too little memory."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in _OUT_OF_MEMORY)


class MemoryFallback:
    """Runs a model's work in smaller batches if the GPU's memory is too small, and on the CPU if one item is too much.

    The smaller batch, or the CPU, is used for all later work too; `notes` report it. Threads may share an instance.
    """

    def __init__(self, model: str, on_gpu: bool, move_to_cpu: Callable[[], None] | None) -> None:
        """`model`: its name in notes. `move_to_cpu` is None if the model must stay on its device."""
        self._model, self._on_gpu, self._move_to_cpu = model, on_gpu, move_to_cpu
        self._batch: int | None = None  # None: all items at once
        self._moved = False
        self._lock = threading.Lock()

    @property
    def notes(self) -> tuple[str, ...]:
        if self._moved:
            return (f"{self._model} was moved to the CPU: the GPU had too little memory",)
        if self._batch is not None:
            return (f"{self._model} ran in batches of {self._batch}: the GPU had too little memory for more",)
        return ()

    def run(self, work: Callable[[int, int], Result], count: int) -> Iterator[Result]:
        """`work(first, end)` for consecutive ranges that cover 0 .. count, each as long as the memory allows.

        Raises what `work` raises; also for lack of memory, if it is not the GPU's or no smaller batch is left.
        """
        first = 0
        while first < count:
            batch, on_gpu = self._batch, self._on_gpu
            end = count if batch is None else min(first + batch, count)
            try:
                result = work(first, end)
            except Exception as error:  # each runtime raises its own; all others are raised again
                if not (on_gpu and is_out_of_memory(error) and self._reduce(end - first)):
                    raise
                continue
            yield result
            first = end

    def _reduce(self, failed: int) -> bool:
        """Use less memory than a batch of `failed` items needs; False if that is impossible."""
        with self._lock:
            if self._moved:  # another thread moved it in the meantime
                return True
            if failed > 1:
                self._batch = min(self._batch or failed, failed // 2)
                return True
            if self._move_to_cpu is None:
                return False
            self._move_to_cpu()
            self._moved, self._on_gpu, self._batch = True, False, None
            return True

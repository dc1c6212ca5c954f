"""A GPU whose memory does not suffice: work goes on by halves, and where one at a time is too much, on the CPU.

What is learned is kept: the next recording is not tried with more. `notes` says what was done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

Result = TypeVar("Result")

# What the runtimes say. ONNX Runtime: its arena (bfc_arena.cc), and CUDA, cuDNN and cuBLAS called by it; CTranslate2
# and PyTorch: CUDA's own words.
_WANTING = (
    "failed to allocate memory",
    "out of memory",
    "cudnn_status_alloc_failed",
    "cublas_status_alloc_failed",
    "std::bad_alloc",
)


def out_of_memory(error: BaseException) -> bool:
    """Whether a runtime's error (of which each has a class of its own) says that memory was wanting."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(words in said for words in _WANTING)


class Shrinking:
    """How much of its work a model does at once. Threads may share one."""

    def __init__(self, what: str, on_gpu: bool, leave: Callable[[], None] | None) -> None:
        """`what` the notes call the model. `leave` moves it to the CPU; None where it may not go there."""
        self._what, self._on_gpu, self._leave = what, on_gpu, leave
        self._most: int | None = None
        self._left = False
        self._lock = threading.Lock()

    @property
    def notes(self) -> tuple[str, ...]:
        if self._left:
            return (f"{self._what} went on on the CPU, as the memory of the GPU did not suffice",)
        if self._most is not None:
            return (f"{self._what} ran in batches of {self._most}, as the memory of the GPU did not suffice for more",)
        return ()

    def do(self, work: Callable[[int, int], Result], count: int) -> Iterator[Result]:
        """`work(first, end)` for stretches that make up 0 .. count, as long ones as there is room for.

        Raises what `work` raises, also for want of memory, where it is not the GPU's or nothing is left to be tried.
        """
        first = 0
        while first < count:
            most, on_gpu = self._most, self._on_gpu
            end = count if most is None else min(first + most, count)
            try:
                result = work(first, end)
            except Exception as error:
                if not (on_gpu and out_of_memory(error) and self._shrink(end - first)):
                    raise
                continue
            yield result
            first = end

    def _shrink(self, tried: int) -> bool:
        """Make do with less than was tried on the GPU; False where that cannot be."""
        with self._lock:
            if self._left:  # another thread has moved it meanwhile
                return True
            if tried > 1:
                self._most = min(self._most or tried, tried // 2)
                return True
            if self._leave is None:
                return False
            self._leave()
            self._left, self._on_gpu, self._most = True, False, None
            return True

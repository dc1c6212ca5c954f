"""Fault 49 on a GPU: batches by halves, then the CPU, and notes that say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from diarize.backends.devices import MemoryFallback, is_out_of_memory
from diarize.backends.onnx_sessions import FallbackSession, notes, on_cuda

ORT = (
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv node. "
    "Status Message: bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool) "
    "Failed to allocate memory for requested buffer of size 939524096"
)
CTRANSLATE2 = "CUDA failed with error out of memory"


def ort_error() -> Exception:
    """ONNX Runtime's own, which is no RuntimeError."""
    state = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state", reason="ONNX Runtime is not installed")
    return state.RuntimeException(ORT)  # type: ignore[no-any-return]


class Session:
    """Doubles its input, where there is room for so many rows at once."""

    def __init__(self, room: int, provider: str, asked: list[int]) -> None:
        self._room, self._provider, self._asked = room, provider, asked

    def get_providers(self) -> list[str]:
        return [self._provider]

    def run(self, names: Sequence[str] | None, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        (rows,) = {len(value) for value in inputs.values()}
        self._asked.append(rows)
        if rows > self._room:
            raise ort_error()
        return [2 * inputs["x"]]


def fallback(room: int, cpu: bool = True) -> tuple[FallbackSession, list[int]]:
    asked: list[int] = []
    gpu = Session(room, "CUDAExecutionProvider", asked)
    return FallbackSession(
        lambda: gpu, (lambda: Session(99, "CPUExecutionProvider", asked)) if cpu else None, "the net"
    ), asked


X = np.arange(20.0).reshape(10, 2)


def test_the_errors_of_the_runtimes_are_known() -> None:
    torch = pytest.importorskip("torch")
    assert is_out_of_memory(ort_error())
    assert is_out_of_memory(RuntimeError(CTRANSLATE2))
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("CUDA failed with error invalid device ordinal"))


def test_fault_49_batches_are_halved_until_there_is_room_and_stay_so() -> None:
    session, asked = fallback(3)
    assert notes(session) == ()
    for _ in range(2):
        np.testing.assert_array_equal(session.run(None, {"x": X})[0], 2 * X)
    assert asked == [10, 5, *[2] * 10]
    assert on_cuda(session)
    assert notes(session, session) == ("the net ran in batches of 2: the GPU had too little memory for more",)


def test_fault_49_where_one_is_too_much_the_cpu_goes_on_with_whole_batches() -> None:
    session, asked = fallback(0)
    for _ in range(2):
        np.testing.assert_array_equal(session.run(None, {"x": X})[0], 2 * X)
    assert asked == [10, 5, 2, 1, 10, 10]
    assert not on_cuda(session)
    assert notes(session) == ("the net was moved to the CPU: the GPU had too little memory",)


def test_fault_49_a_model_that_does_not_fit_is_opened_on_the_cpu() -> None:
    def no_room() -> Any:
        raise ort_error()

    session = FallbackSession(no_room, lambda: Session(99, "CPUExecutionProvider", []), "the net")
    assert not on_cuda(session)
    assert len(session.notes) == 1
    with pytest.raises(Exception, match="Failed to allocate"):
        FallbackSession(no_room, None, "the net")


def test_a_gpu_asked_for_by_name_is_not_left() -> None:
    session, asked = fallback(0, cpu=False)
    with pytest.raises(Exception, match="Failed to allocate"):
        session.run(None, {"x": X})
    assert asked == [10, 5, 2, 1]


def test_other_errors_and_want_of_memory_on_the_cpu_are_raised() -> None:
    def work(first: int, end: int) -> None:
        raise RuntimeError(CTRANSLATE2)

    with pytest.raises(RuntimeError):
        list(MemoryFallback("the net", False, None).run(work, 8))

    def wrong(first: int, end: int) -> None:
        raise ValueError("a mistake")

    with pytest.raises(ValueError, match="a mistake"):
        list(MemoryFallback("the net", True, None).run(wrong, 8))


def test_nothing_to_do_is_done() -> None:
    assert list(MemoryFallback("the net", True, None).run(lambda first, end: (first, end), 0)) == []

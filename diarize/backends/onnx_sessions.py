"""ONNX Runtime sessions, and work shared among threads without a result that depends on how many there are.

Every session computes with one thread of its own. Work is made parallel over blocks instead, each computed whole by one
thread, so that no sum is ever split in a way that depends on the machine. It is also the faster way for the small
networks used here (docs/embeddings.md has figures).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from diarize.backends import devices
from diarize.errors import BackendError

Item = TypeVar("Item")
Result = TypeVar("Result")


def open_session(model: Path | bytes, device: str = "cpu") -> Any:
    """An InferenceSession for a file or a serialized graph.

    `device`: cpu, cuda, or auto (cuda where this ONNX Runtime has it). Raises BackendError where cuda is asked for and
    cannot be used.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; warnings about unused initializers are of no use to anybody
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device == "cuda" and not has_cuda:
        raise BackendError("This ONNX Runtime has no CUDA. Install onnxruntime-gpu, or use --device cpu.")
    providers = ["CUDAExecutionProvider"] if has_cuda and device != "cpu" else []
    source = model if isinstance(model, bytes) else str(model)
    session = onnxruntime.InferenceSession(source, options, providers=[*providers, "CPUExecutionProvider"])
    if device == "cuda" and not on_cuda(session):  # it goes on without a word where a library of CUDA is missing
        raise BackendError("ONNX Runtime cannot use CUDA here: a driver or library is missing. Use --device cpu.")
    return session


def on_cuda(session: Any) -> bool:
    """Whether a session computes on a GPU, whose sums differ in the last bits: part of a backend's identity."""
    return "CUDAExecutionProvider" in session.get_providers()


def workers(threads: int) -> int:
    """How many threads to work with; 0 means one for every core that this process may use."""
    return threads if threads > 0 else devices.cores()


def ordered(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """`map` over `threads` threads: results come in the order of `items`, never more than threads + 1 of them waiting.

    (`Executor.map` takes all items at once, which for a long recording are all its samples.)
    """
    if threads == 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

"""ONNX Runtime sessions, and work shared among threads without a result that depends on how many there are.

Every session computes with one thread of its own. Work is made parallel over blocks instead, each computed whole by one
thread, so that no sum is ever split in a way that depends on the machine. It is also the faster way for the small
networks used here (docs/embeddings.md has figures).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from diarize.errors import ConfigError

Item = TypeVar("Item")
Result = TypeVar("Result")


def open_session(model: Path | bytes, device: str = "cpu") -> Any:
    """An InferenceSession for a file or a serialized graph.

    `device`: cpu, cuda, or auto (cuda where this ONNX Runtime has it). Raises ConfigError where cuda is asked for and
    is not there.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; warnings about unused initializers are of no use to anybody
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device == "cuda" and not has_cuda:
        raise ConfigError(
            "run", "device", "this ONNX Runtime has no CUDA", "Install onnxruntime-gpu, or set the device to cpu."
        )
    providers = ["CUDAExecutionProvider"] if has_cuda and device != "cpu" else []
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=[*providers, "CPUExecutionProvider"])


def workers(threads: int) -> int:
    """How many threads to work with; 0 means one for every core that this process may use."""
    if threads > 0:
        return threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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

"""ONNX Runtime sessions, and work shared among threads without a result that depends on how many there are.

Every session computes with one thread of its own. Work is made parallel over blocks instead, each computed whole by one
thread, so that no sum is ever split in a way that depends on the machine. It is also the faster way for the small
networks used here (docs/method/embeddings.md has figures).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from diarize.backends import devices
from diarize.backends.shrinking import Shrinking
from diarize.errors import BackendError

Item = TypeVar("Item")
Result = TypeVar("Result")


def open_session(model: Path | bytes, device: str = "cpu", called: str = "a model") -> Any:
    """An InferenceSession for a file or a serialized graph; on a GPU, one that makes do with its memory.

    `device`: cpu, cuda, or auto (cuda where this ONNX Runtime has it). `called`: what notes call the model. Raises
    BackendError where cuda is asked for and cannot be used.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; warnings about unused initializers are of no use to anybody
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device == "cuda" and not has_cuda:
        raise BackendError("This ONNX Runtime has no CUDA. Install onnxruntime-gpu, or use --device cpu.")
    source = model if isinstance(model, bytes) else str(model)

    def opened(*providers: str) -> Any:
        return onnxruntime.InferenceSession(source, options, providers=[*providers, "CPUExecutionProvider"])

    if device == "cpu" or not has_cuda:
        return opened()
    session = FallbackSession(lambda: opened("CUDAExecutionProvider"), None if device == "cuda" else opened, called)
    if device == "cuda" and not on_cuda(session):  # it goes on without a word where a library of CUDA is missing
        raise BackendError("ONNX Runtime cannot use CUDA here: a driver or library is missing. Use --device cpu.")
    return session


class FallbackSession:
    """An InferenceSession on a GPU that makes do with the memory that there is (shrinking.py).

    The first dimension of all inputs and outputs counts what is computed at once; where inputs differ in it, their work
    cannot be divided.
    """

    def __init__(self, open_gpu: Callable[[], Any], open_cpu: Callable[[], Any] | None, called: str) -> None:
        """`open_cpu` is None where the work has to stay on the GPU."""
        self._session: Any = None
        self._open_gpu, self._open_cpu = open_gpu, open_cpu
        self._shrinking = Shrinking(called, True, None if open_cpu is None else self._leave)
        for _ in self._shrinking.do(self._open, 1):  # also the weights need room
            pass

    @property
    def notes(self) -> tuple[str, ...]:
        return self._shrinking.notes

    def run(self, names: Sequence[str] | None, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """As InferenceSession.run."""
        lengths = {len(value) for value in inputs.values()}
        count = lengths.pop() if len(lengths) == 1 else 1

        def work(first: int, end: int) -> list[NDArray[Any]]:
            whole = end - first == count
            given = inputs if whole else {name: value[first:end] for name, value in inputs.items()}
            found: list[NDArray[Any]] = self._session.run(names, given)
            return found

        pieces = list(self._shrinking.do(work, count))
        return pieces[0] if len(pieces) == 1 else [np.concatenate(parts) for parts in zip(*pieces, strict=True)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def _open(self, first: int, end: int) -> None:
        if self._session is None:
            self._session = self._open_gpu()

    def _leave(self) -> None:
        assert self._open_cpu is not None
        self._session = self._open_cpu()


def notes(*sessions: Any) -> tuple[str, ...]:
    """What is to be said of how sessions ran, each thing once."""
    return tuple(dict.fromkeys(note for session in sessions for note in getattr(session, "notes", ())))


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

"""ONNX Runtime: sessions, and work in threads whose result does not depend on their number.

Every session computes with one thread of its own. Work is made parallel over blocks instead, each computed by one
thread, so that no sum is ever split in a way that depends on the machine. This is also faster for the small networks
used here (docs/method/embeddings.md has figures).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from diarize.audio import excerpts
from diarize.backends import devices
from diarize.errors import AudioError, BackendError, DeviceMissing, ModelRefused
from diarize.types import Audio, Samples

Item = TypeVar("Item")
Result = TypeVar("Result")


def open_session(model: Path | bytes, device: str = "cpu", called: str = "a model") -> Any:
    """An InferenceSession for a file or a serialized graph; on a GPU, a `FallbackSession`.

    `device`: cpu, cuda, or auto (cuda if this ONNX Runtime has it). `called`: the model's name in notes. Raises
    DeviceMissing if `device` is cuda and cannot be used.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only; its warnings about unused initializers help nobody
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device == "cuda" and not has_cuda:
        raise DeviceMissing("This ONNX Runtime has no CUDA", "Install onnxruntime-gpu, or use --device cpu")
    source = model if isinstance(model, bytes) else str(model)

    def open_on(*providers: str) -> Any:
        return onnxruntime.InferenceSession(source, options, providers=[*providers, "CPUExecutionProvider"])

    if device == "cpu" or not has_cuda:
        return open_on()
    session = FallbackSession(lambda: open_on("CUDAExecutionProvider"), None if device == "cuda" else open_on, called)
    if device == "cuda" and not on_cuda(session):  # ONNX Runtime uses the CPU silently if a library of CUDA is missing
        raise DeviceMissing("ONNX Runtime cannot use CUDA here: a driver or library is missing")
    return session


@contextmanager
def refuse_other_models(model: Path, problem: str, cure: str = "") -> Iterator[None]:
    """Errors of the block as ModelRefused with `problem` and `cure`; BackendError and ModelRefused stay as they are."""
    try:
        yield
    except (BackendError, ModelRefused):
        raise
    except Exception as error:  # onnx and ONNX Runtime raise many kinds for bytes that are no such model
        raise ModelRefused(str(model), f"{problem}: {' '.join(str(error).split()).rstrip('.')}", cure) from error


class FallbackSession:
    """An InferenceSession on a GPU with little memory (`devices.MemoryFallback`).

    The first dimension of all inputs and outputs counts the items computed at once; inputs that differ in it are not
    divided.
    """

    def __init__(self, open_gpu: Callable[[], Any], open_cpu: Callable[[], Any] | None, called: str) -> None:
        """`open_cpu` is None if the work must stay on the GPU."""
        self._session: Any = None
        self._open_gpu, self._open_cpu = open_gpu, open_cpu
        self._fallback = devices.MemoryFallback(called, True, None if open_cpu is None else self._move_to_cpu)
        for _ in self._fallback.run(self._open, 1):  # the weights need memory, too
            pass

    @property
    def notes(self) -> tuple[str, ...]:
        return self._fallback.notes

    def run(self, names: Sequence[str] | None, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """As InferenceSession.run."""
        lengths = {len(value) for value in inputs.values()}
        count = lengths.pop() if len(lengths) == 1 else 1

        def run_batch(first: int, end: int) -> list[NDArray[Any]]:
            whole = end - first == count
            batch = inputs if whole else {name: value[first:end] for name, value in inputs.items()}
            outputs: list[NDArray[Any]] = self._session.run(names, batch)
            return outputs

        batches = list(self._fallback.run(run_batch, count))
        return batches[0] if len(batches) == 1 else [np.concatenate(parts) for parts in zip(*batches, strict=True)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def _open(self, first: int, end: int) -> None:
        if self._session is None:
            self._session = self._open_gpu()

    def _move_to_cpu(self) -> None:
        assert self._open_cpu is not None
        self._session = self._open_cpu()


def notes(*sessions: Any) -> tuple[str, ...]:
    """What sessions report about how they ran, each note once."""
    return tuple(dict.fromkeys(note for session in sessions for note in getattr(session, "notes", ())))


def on_cuda(session: Any) -> bool:
    """Whether a session computes on a GPU, whose sums differ in the last bits: part of a backend's identity."""
    return "CUDAExecutionProvider" in session.get_providers()


def check_rate(audio: Audio, rate: int, model: str) -> None:
    """Raises AudioError if `audio` is not at `rate` Hz."""
    if audio.rate != rate:
        raise AudioError(audio.id, f"{model} needs {rate} Hz, this is {audio.rate} Hz", "Resample it first.")


def count_threads(threads: int) -> int:
    """The number of threads to use; 0 means one for each core that this process may use."""
    return threads if threads > 0 else devices.cores()


def map_in_order(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int, samples: Samples | None = None
) -> Iterator[Result]:
    """`map` in `threads` threads: results in the order of `items`, at most threads + 1 of them waiting.

    (`Executor.map` takes all items at once: for a long recording, all its samples.) Memory pages of `samples`, which
    the work reads, are released after each result.
    """

    def release() -> None:
        if samples is not None:
            excerpts.release(samples)

    remaining = iter(items)
    first = [] if threads == 1 else list(islice(remaining, 2))
    if threads == 1 or len(first) < 2:  # one item needs no thread, whose start may take as long as the work
        for item in chain(first, remaining):
            yield work(item)
            release()
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in chain(first, remaining):
                waiting.append(pool.submit(work, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
                    release()
            while waiting:
                yield waiting.popleft().result()
                release()
        finally:
            for future in waiting:
                future.cancel()

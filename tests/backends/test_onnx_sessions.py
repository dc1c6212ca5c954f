"""ONNX Runtime as it is used here: silent towards its makers, ordered whatever the threads, honest about devices."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from diarize.backends import onnx_sessions
from diarize.errors import BackendError
from diarize.models.store import Store

OPEN = """
import sys
from pathlib import Path
from diarize.backends import onnx_sessions
onnx_sessions.open_session(Path(sys.argv[1]))
"""


def test_the_runtime_leaves_no_trace_and_tells_nobody(tmp_path: Path, store: Store) -> None:
    """Where its telemetry is on, it keeps a device id, a database and a session file in these folders."""
    clean = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    places = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", OPEN, str(store.path("silero-vad-v6"))]
    subprocess.run(command, env=clean | places, check=True, cwd=Path(__file__).parents[2])
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_results_come_in_the_order_of_the_items_and_few_wait(threads: int) -> None:
    lock, working, most = threading.Lock(), [0], [0]

    def work(item: int) -> int:
        with lock:
            working[0] += 1
            most[0] = max(most[0], working[0])
        with lock:
            working[0] -= 1
        return item * item

    assert list(onnx_sessions.map_in_order(work, range(50), threads)) == [i * i for i in range(50)]
    assert most[0] <= threads


def test_an_error_in_a_thread_reaches_the_caller() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        return item

    with pytest.raises(ValueError, match="three"):
        list(onnx_sessions.map_in_order(work, range(10), 2))


def test_zero_threads_are_as_many_as_there_are_cores() -> None:
    assert onnx_sessions.count_threads(3) == 3
    assert onnx_sessions.count_threads(0) >= 1


def test_cuda_by_name_never_falls_back(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    import onnxruntime

    model = store.path("silero-vad-v6")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(BackendError, match="has no CUDA"):
        onnx_sessions.open_session(model, "cuda")

    def session(source: Any, options: Any, providers: list[str]) -> Any:
        return SimpleNamespace(
            get_providers=lambda: ["CPUExecutionProvider"]
        )  # what it does where a library is missing

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    with pytest.raises(BackendError, match="cannot use CUDA here"):
        onnx_sessions.open_session(model, "cuda")
    assert not onnx_sessions.on_cuda(onnx_sessions.open_session(model, "auto"))

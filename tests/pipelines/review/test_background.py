"""Results that are computed in the background: once for each state, at most one at a time, errors to whoever asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from pipelines.review.background import SharedResult


def until(read: Callable[[], str | None]) -> str:
    end = time.monotonic() + 60
    while (value := read()) is None:
        assert time.monotonic() < end
        time.sleep(0.005)
    return value


def test_each_state_is_computed_once_whoever_asks() -> None:
    background: SharedResult[str] = SharedResult(threading.BoundedSemaphore(1))
    go = threading.Event()
    calls: list[int] = []

    def compute(state: int) -> str:
        calls.append(state)
        assert go.wait(60)
        return f"result {state}"

    for _ in range(5):  # nobody waits, and nobody starts it again
        assert background.get(1, lambda: compute(1)) is None
    assert background.get(2, lambda: compute(2)) is None
    go.set()
    assert until(lambda: background.get(2, lambda: compute(2))) == "result 2"
    assert background.get(2, lambda: compute(2)) == "result 2" and calls == [1, 2]


def test_an_error_is_raised_once_and_the_next_call_tries_again() -> None:
    background: SharedResult[str] = SharedResult(threading.BoundedSemaphore(1))

    def fail() -> str:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        until(lambda: background.get(1, fail))
    assert until(lambda: background.get(1, lambda: "result")) == "result"

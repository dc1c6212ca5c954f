"""Bounded queues: threads that work, and a limit on what waits for them."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pipelines.service.work.refusals import Refusal

Result = TypeVar("Result")


class BoundedPool:
    """`threads` threads; at most `queue` calls wait for one, more are refused with `busy`."""

    def __init__(self, name: str, threads: int, queue: int, prepare: Callable[[], None] = lambda: None) -> None:
        """`prepare` is called in each thread before its first work."""
        self._executor = ThreadPoolExecutor(threads, name, initializer=prepare)
        self._threads, self._most = threads, threads + queue
        self._lock = threading.Lock()
        self.running = 0  # calls that were accepted and are not finished
        self._seconds = 0.5  # that a call takes, the mean of the last ones

    async def start(self) -> None:
        """Start all threads, and wait until each of them is prepared."""
        together = threading.Barrier(self._threads)  # which no thread passes until the last one is there
        futures = [self._executor.submit(together.wait) for _ in range(self._threads)]
        await asyncio.gather(*map(asyncio.wrap_future, futures))

    async def run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """The result of `function`, computed in a thread. Raises Refusal where too many calls wait."""
        with self._lock:
            if self.running >= self._most:
                wait = self._seconds * self.running / self._threads
                raise Refusal("busy", f"{self.running} requests are waiting", retry=wait)
            self.running += 1
        context = contextvars.copy_context()
        try:
            future = self._executor.submit(context.run, self._timed, function, *arguments)
        except RuntimeError as error:  # it was closed
            self._leave()
            raise Refusal("unavailable", "the service is stopping", retry=1) from error
        future.add_done_callback(lambda done: self._leave())
        return await asyncio.wrap_future(future)

    def close(self, cancel: bool = False) -> None:
        """Wait for the calls that run; `cancel`: those that wait are given up."""
        self._executor.shutdown(wait=True, cancel_futures=cancel)

    def _timed(self, function: Callable[..., Result], *arguments: Any) -> Result:
        started = time.monotonic()
        try:
            return function(*arguments)
        finally:
            self._seconds += 0.1 * (time.monotonic() - started - self._seconds)

    def _leave(self) -> None:
        with self._lock:
            self.running -= 1

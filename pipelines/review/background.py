"""Results that take long: computed in the background, once for everybody who asks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class SharedResult(Generic[Result]):
    """The newest result of a computation, for the state that it was asked for. Safe for several threads.

    At most one computation runs, in a thread that does not keep the process from ending.
    """

    def __init__(self, limit: threading.BoundedSemaphore) -> None:
        """`limit`: how many computations of its kind run at once; others wait in their threads."""
        self._limit = limit
        self._lock = threading.Lock()
        self._running = False
        self._key: Hashable = None  # of the outcome
        self._result: Result | None = None
        self._error: BaseException | None = None

    def get(self, key: Hashable, compute: Callable[[], Result]) -> Result | None:
        """The result for `key`, at once; None while it is computed, which begins with the first call.

        Raises what the computation has raised; the next call tries again.
        """
        with self._lock:
            if self._key == key and self._error is not None:
                error, self._error, self._key = self._error, None, None
                raise error
            if self._key == key:
                return self._result
            if not self._running:
                self._running = True
                threading.Thread(target=self._work, args=(key, compute), name="background", daemon=True).start()
            return None

    def _work(self, key: Hashable, compute: Callable[[], Result]) -> None:
        result: Result | None = None
        problem: BaseException | None = None
        with self._limit:
            try:
                result = compute()
            except BaseException as error:
                problem = error
        with self._lock:
            self._key, self._result, self._error, self._running = key, result, problem, False

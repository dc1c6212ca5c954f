"""Ctrl-C, SIGTERM, and SIGHUP of a closed terminal during a run: the first one lets the running recordings finish, the
second one stops everything."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
ECHO = 0.5  # s in which signals count as one: `timeout`, `make` and batch systems send theirs to a process twice


class Interrupt:
    """Inside the block, signals only set flags, so that no operation of the run is cut in two.

    The third signal raises KeyboardInterrupt wherever the run is. Outside the main thread, where Python receives no
    signals, no flag is ever set.
    """

    def __init__(self, on_stop: Callable[[int], None] = lambda running: None) -> None:
        """`on_stop` is called once, by `announce`, with the number of recordings that are still running."""
        self._on_stop = on_stop
        self._signals, self._last, self._announced = 0, 0.0, False
        self._previous: dict[signal.Signals, Any] = {}

    @property
    def stopping(self) -> bool:
        """Whether no new recording may be started."""
        return self._signals > 0

    def check(self) -> None:
        """Raises KeyboardInterrupt where all work is to stop now."""
        if self._signals > 1:
            raise KeyboardInterrupt

    def announce(self, running: int) -> None:
        """Report, the first time only, what the run waits for. (A signal handler must not print.)"""
        if not self._announced:
            self._announced = True
            self._on_stop(running)

    def __enter__(self) -> Interrupt:
        with contextlib.suppress(ValueError):
            for number in stop_signals():
                self._previous[number] = signal.signal(number, self._count)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _count(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._signals == 0 or now - self._last > ECHO:
            self._signals, self._last = self._signals + 1, now
        if self._signals > 2:
            raise KeyboardInterrupt


def stop_signals() -> tuple[signal.Signals, ...]:
    """The signals that end a run: not SIGHUP under `nohup`, which sets it to be ignored."""
    return tuple(each for each in SIGNALS if each.name != "SIGHUP" or signal.getsignal(each) != signal.SIG_IGN)


def treat_all_as_ctrl_c() -> None:
    """From now on each of them raises KeyboardInterrupt, so that a command ends its workers and prints a message."""
    with contextlib.suppress(ValueError):  # not in the main thread
        for number in stop_signals():
            signal.signal(number, signal.default_int_handler)


@contextlib.contextmanager
def exit_without_traceback() -> Iterator[None]:
    """While a program loads, Ctrl-C ends it with a message and status 130: there is nothing to clean up yet."""
    try:
        previous = signal.signal(signal.SIGINT, _exit)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _exit(number: int, frame: FrameType | None) -> None:
    with contextlib.suppress(OSError):
        os.write(2, b"interrupted\n")
    os._exit(130)

"""Ctrl-C, SIGTERM, and SIGHUP of a terminal that is closed, in a run: once, nothing new is begun and what runs is
finished; twice, everything stops."""

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
    """While it is entered, the signals only set what is asked here, so that no line of a run is torn apart.

    The third one is raised wherever the run is, as whoever sends it will not wait. Outside the main thread, where
    Python takes no signals, nothing is ever asked.
    """

    def __init__(self, say: Callable[[int], None] = lambda running: None) -> None:
        """`say` is told once, by `tell`, how many recordings are being finished."""
        self._say = say
        self._times, self._last, self._told = 0, 0.0, False
        self._before: dict[signal.Signals, Any] = {}

    @property
    def ending(self) -> bool:
        """Whether no new recording may be begun."""
        return self._times > 0

    def check(self) -> None:
        """Raises KeyboardInterrupt where all work is to stop now."""
        if self._times > 1:
            raise KeyboardInterrupt

    def tell(self, running: int) -> None:
        """Say what is waited for; the first time only. (A handler of signals must not print.)"""
        if not self._told:
            self._told = True
            self._say(running)

    def __enter__(self) -> Interrupt:
        with contextlib.suppress(ValueError):
            for number in heard():
                self._before[number] = signal.signal(number, self._arrived)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._times == 0 or now - self._last > ECHO:
            self._times, self._last = self._times + 1, now
        if self._times > 2:
            raise KeyboardInterrupt


def heard() -> tuple[signal.Signals, ...]:
    """The signals that end a run: not SIGHUP under `nohup`, which has it ignored."""
    return tuple(each for each in SIGNALS if each.name != "SIGHUP" or signal.getsignal(each) != signal.SIG_IGN)


def as_ctrl_c() -> None:
    """From now on all of them end a command as Ctrl-C does: with its workers, and a word."""
    with contextlib.suppress(ValueError):  # not in the main thread
        for number in heard():
            signal.signal(number, signal.default_int_handler)


@contextlib.contextmanager
def no_traceback() -> Iterator[None]:
    """While a program is loading, Ctrl-C ends it with a word and status 130: there is nothing to put in order yet."""
    try:
        before = signal.signal(signal.SIGINT, _leave)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _leave(number: int, frame: FrameType | None) -> None:
    with contextlib.suppress(OSError):
        os.write(2, b"interrupted\n")
    os._exit(130)

"""Ctrl-C and SIGTERM: what one, two and three of them do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from pipelines.processes.interrupt import ECHO, SIGNALS, Interrupt, treat_all_as_ctrl_c

ROOT = Path(__file__).resolve().parents[3]


def press(monkeypatch: pytest.MonkeyPatch, at: float, how: signal.Signals = signal.SIGINT) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: at)
    os.kill(os.getpid(), how)


def test_fault_46_once_asks_for_an_end_twice_to_stop_and_a_third_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(KeyboardInterrupt), Interrupt() as interrupt:
        asked = [interrupt.stopping]
        press(monkeypatch, 10)
        press(monkeypatch, 10 + ECHO / 2)  # the same one once more: some senders send theirs to group and process
        asked.append(interrupt.stopping)
        assert asked == [False, True]
        interrupt.check()
        press(monkeypatch, 11, signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            interrupt.check()
        press(monkeypatch, 12)
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="terminals send nothing here")
@pytest.mark.parametrize("ignored", [False, True])
def test_a_terminal_that_is_closed_asks_for_an_end_but_not_under_nohup(ignored: bool) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        with Interrupt() as interrupt:
            os.kill(os.getpid(), signal.SIGHUP)
            assert interrupt.stopping == (not ignored)
        treat_all_as_ctrl_c()
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGHUP)
            assert ignored
    finally:
        signal.signal(signal.SIGHUP, before)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_what_is_waited_for_is_said_once() -> None:
    told: list[int] = []
    interrupt = Interrupt(told.append)
    interrupt.announce(3)
    interrupt.announce(2)
    assert told == [3]


def test_fault_46_while_a_program_loads_it_leaves_no_traceback() -> None:
    code = """
import os, signal, time
from pipelines.processes.interrupt import exit_without_traceback
with exit_without_traceback():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
"""
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stderr) == (130, "interrupted\n")

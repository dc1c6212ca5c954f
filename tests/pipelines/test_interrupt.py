"""Ctrl-C and SIGTERM: what one, two and three of them do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.interrupt import ECHO, Interrupt

ROOT = Path(__file__).resolve().parents[2]


def press(monkeypatch: pytest.MonkeyPatch, at: float, how: signal.Signals = signal.SIGINT) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: at)
    os.kill(os.getpid(), how)


def test_fault_46_once_asks_for_an_end_twice_to_stop_and_a_third_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), Interrupt() as interrupt:
        asked = [interrupt.ending]
        press(monkeypatch, 10)
        press(monkeypatch, 10 + ECHO / 2)  # the same one once more: some senders send theirs to group and process
        asked.append(interrupt.ending)
        assert asked == [False, True]
        interrupt.check()
        press(monkeypatch, 11, signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            interrupt.check()
        press(monkeypatch, 12)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_what_is_waited_for_is_said_once() -> None:
    told: list[int] = []
    interrupt = Interrupt(told.append)
    interrupt.tell(3)
    interrupt.tell(2)
    assert told == [3]


def test_fault_46_while_a_program_loads_it_leaves_no_traceback() -> None:
    code = """
import os, signal, time
from pipelines.interrupt import no_traceback
with no_traceback():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
"""
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stderr) == (130, "interrupted\n")

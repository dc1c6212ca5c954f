"""The three standard streams of a command, before anything else is opened or begun."""

from __future__ import annotations

import contextlib
import os
import sys


def carry_anything() -> None:
    """Make both streams carry any text: what they cannot encode is escaped. Closed ones lead to nowhere."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # the next file to be opened would get its number, and be written into
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
            os.set_inheritable(number, True)  # else a worker's first file gets it, and its child's streams
            setattr(sys, name, open(number, "w" if number else "r"))  # noqa: PTH123, SIM115 - for the whole run
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]

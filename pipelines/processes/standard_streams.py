"""The three standard streams of a command, before anything else is opened or started."""

from __future__ import annotations

import contextlib
import os
import sys


def prepare() -> None:
    """Open closed streams to the null device, and escape text that an output stream cannot encode."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # the next file to be opened would get its number, and be written into
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
            os.set_inheritable(number, True)  # else a worker's first file gets it, and its child's streams
            setattr(sys, name, open(number, "w" if number else "r"))  # noqa: PTH123, SIM115 - for the whole run
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]

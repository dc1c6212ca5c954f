"""Runs the command line in children that are killed: after a time, or at their n-th change to the disk.

    python -m tests.pipelines.killed < requests > answers

One JSON object a line: `arguments` of the command, and `seconds` after which, or `step` at which, the child is killed
with its workers (SIGKILL). The answer tells its `status` (-9: killed), how many `steps` it made and how many `seconds`
it took. Children are forked when everything is imported, and so are their workers: imports take seconds.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas  # noqa: F401 - before the fork
import pyarrow.parquet  # noqa: F401
import scipy.cluster.hierarchy  # noqa: F401
import sklearn.cluster  # noqa: F401

import run_pipeline
from diarize import files
from pipelines.batch import spare_worker, supervision
from pipelines.processes import decoding
from tests import cheap  # noqa: F401

STEPS = ("_create", "_fill", "_rename", "_remove", "_make", "_discard")  # all that changes what others see of a disk
FORK = multiprocessing.get_context("fork")


class Forking:
    """In the place of `multiprocessing` in pipelines.batch.spare_worker."""

    parent_process = staticmethod(multiprocessing.parent_process)

    @staticmethod
    def get_context(name: str) -> Any:
        return FORK


def child(arguments: list[str], step: int, count: int) -> None:
    """The command, in this process; killed at the `step`-th change to the disk (0: none), whichever process makes it.

    `count` is a file that grows by a byte with each: no lock that a killed or a forked process could leave locked.
    """
    os.setsid()
    main = os.getpid()

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def done(*given: Any) -> Any:
            os.write(count, b".")
            if step and os.lseek(count, 0, os.SEEK_CUR) >= step:
                os.kill(main, signal.SIGKILL)
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*given)

        return done

    for name in STEPS:
        setattr(files, name, counted(getattr(files, name)))
    vars(spare_worker)["multiprocessing"] = Forking
    supervision.GRACE = 0.0  # a forked worker holds both ends of its pipe, and never hears that it is closed
    decoding.available = lambda: False
    os._exit(run_pipeline.main(arguments))


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Do what a request says."""
    with tempfile.TemporaryFile(buffering=0) as counted:
        return _watched(request, counted.fileno())


def _watched(request: dict[str, Any], count: int) -> dict[str, Any]:
    began = time.monotonic()
    pid = os.fork()
    if not pid:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        child(request["arguments"], request.get("step", 0), count)
    found = 0
    until = began + request.get("seconds", 600.0)
    while found == 0:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found == 0 and time.monotonic() >= until:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        time.sleep(0.001)
    return {
        "status": os.waitstatus_to_exitcode(status),
        "steps": os.lseek(count, 0, os.SEEK_CUR),
        "seconds": time.monotonic() - began,
    }


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)

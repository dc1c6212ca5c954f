"""When processes begin and end: children that die with their parents, groups that are killed whole, time they used."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path

from pipelines.processes.interrupt import SIGNALS

# One thread each: their sums depend on how many there are, so more would make results depend on the machine; small
# matrices gain nothing from more; and the models, which do gain, have threads of their own.
LINEAR_ALGEBRA = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_TOLD_AT_DEATH = 1  # PR_SET_PDEATHSIG of prctl(2)
_EXPENDABLE = "500"  # of -1000 .. 1000: where memory is wanting, Linux ends a worker before what watches over it


@contextlib.contextmanager
def inherited() -> Iterator[None]:
    """What a process begun in this block is born with: one thread of linear algebra, no ear for Ctrl-C and its like.

    They reach whole groups of processes, also one that has not yet come to ignoring them; the parent decides.
    """
    before = {name: os.environ.get(name) for name in LINEAR_ALGEBRA}
    os.environ.update(dict.fromkeys(LINEAR_ALGEBRA, "1"))  # read by the libraries when the process loads them
    mask = None
    if hasattr(signal, "pthread_sigmask"):
        resource_tracker.ensure_running()  # it is begun with the first process, and would lift the mask
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def settle(tied: bool) -> None:
    """First thing in a worker: a group of its own, deaf to Ctrl-C and its like, expendable, and gone with its parent.

    `tied`: the system kills it when the thread that began it ends (Linux), which is soon enough also where this process
    is stuck in native code; only for threads that live as long as their process. Its own children are deaf as well, and
    of its group.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    if hasattr(os, "setpgid"):
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_EXPENDABLE)
    if tied:
        die_with_parent()
    threading.Thread(target=_follow_parent, daemon=True).start()


def die_with_parent() -> None:
    """Have the system kill this process when the thread that began it ends; nothing where it cannot (not on Linux)."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).prctl(_TOLD_AT_DEATH, signal.SIGKILL)


def _follow_parent() -> None:
    """End this process with its parent, also where that was killed: nobody waits for its results any more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        kill_group(os.getpid())
        os._exit(1)


def kill_group(pid: int) -> None:
    """Kill what is left of a process that has settled and of its children."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def describe_exit(code: int | None) -> str:
    """What the exit code of a process (of `subprocess`, `multiprocessing`) says; None: it has not ended."""
    if code is None:
        return "closed its connection"
    if code >= 0:
        return f"ended with exit status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "a signal without a name"
    cause = ", probably because memory ran out" if name == "SIGKILL" else ""
    return f"was killed by signal {-code} ({name}){cause}"


def cpu_seconds(pid: int) -> float | None:
    """Processor time (s) of a process, its living descendants, and the children that these waited for.

    None where there is no such process, or the system does not say.
    """
    import psutil

    total = 0.0
    try:
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since
                times = each.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
    except psutil.Error:
        return None
    return total

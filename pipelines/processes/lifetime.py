"""Start and end of processes: children that end with their parents, groups that are killed as a whole, exit codes."""

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
_PR_SET_PDEATHSIG = 1  # prctl(2)
_OOM_SCORE = "500"  # of -1000 .. 1000: short of memory, Linux ends a worker before the process that supervises it


@contextlib.contextmanager
def worker_environment() -> Iterator[None]:
    """Processes started in this block have one thread of linear algebra and block Ctrl-C and the other stop signals.

    Signals reach whole process groups, also a worker that has not yet set them to be ignored; the parent decides.
    """
    previous = {name: os.environ.get(name) for name in LINEAR_ALGEBRA}
    os.environ.update(dict.fromkeys(LINEAR_ALGEBRA, "1"))  # read by the libraries when the process loads them
    mask = None
    if hasattr(signal, "pthread_sigmask"):
        resource_tracker.ensure_running()  # it starts with the first process, and would lift the mask
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for name, value in previous.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def set_up_worker(from_main_thread: bool) -> None:
    """First call in a worker: it leads a process group of its own, ignores stop signals, and ends with its parent.

    `from_main_thread`: the parent's main thread started it. Then the system kills it when that thread ends (Linux),
    also where it is stuck in native code; a shorter-lived thread would take it along. Its children inherit the group
    and the ignored signals.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    if hasattr(os, "setpgid"):
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    if from_main_thread:
        die_with_parent()
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def die_with_parent() -> None:
    """Have the system kill this process when the thread that started it ends; no effect except on Linux."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _exit_with_parent() -> None:
    """Exit when the parent ends, also where it was killed: nobody waits for results any more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        kill_group(os.getpid())
        os._exit(1)


def kill_group(pid: int) -> None:
    """Kill a worker that `set_up_worker` was called in, and its children."""
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

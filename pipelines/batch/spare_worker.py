"""Worker processes, and the spare one that a command starts before it knows its jobs.

A worker takes a third of a second to load its code, and so does the planning of a run. A command that will need a
worker starts one first, so that both happen at the same time; this module therefore imports nothing large.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from pipelines.processes import lifetime
from pipelines.results import RUN

_spare: list[WorkerProcess] = []  # at most one


@dataclass(frozen=True, eq=False)
class WorkerProcess:
    """A process that loads the code of a worker and then waits for its plan and jobs on `pipe` (`worker.serve`)."""

    process: BaseProcess
    pipe: Connection

    def kill(self, patience: float) -> None:
        """Kill it with its children; a process that hangs in the system's own code cannot be killed, and is left."""
        assert self.process.pid is not None
        lifetime.kill_group(self.process.pid)
        self.process.kill()  # also where it has no group of its own yet
        self.process.join(patience)
        self.pipe.close()


def start() -> WorkerProcess:
    """Start a worker process; returns at once. Raises OSError where the system starts none.

    If the main thread calls this, the worker ends with that thread's process, however that ends (Linux; elsewhere as
    soon as it notices). Its children end with it.
    """
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    from_main_thread = threading.current_thread() is threading.main_thread()
    process = context.Process(target=_run, args=(theirs, from_main_thread))
    try:
        _leave_deleted_folder()
        with lifetime.worker_environment():
            process.start()
    except BaseException:
        pipe.close()
        raise
    finally:
        theirs.close()
    return WorkerProcess(process, pipe)


def take() -> WorkerProcess:
    """The spare worker, or else a new one. Raises OSError where the system starts none."""
    return _spare.pop() if _spare else start()


@contextlib.contextmanager
def started_early(arguments: Sequence[str]) -> Iterator[None]:
    """A spare worker, if the command line `arguments` surely needs one; killed at the end if nobody took it."""
    if needs_worker(arguments):
        with contextlib.suppress(OSError):  # whoever needs a worker meets the same error, and reports it
            Path.cwd()  # if it was deleted, relative paths must be refused before `start` changes the folder
            _spare.append(start())
    try:
        yield
    finally:
        while _spare:
            with contextlib.suppress(KeyboardInterrupt):  # the command is over, and has printed its messages
                _spare.pop().kill(1.0)


def needs_worker(arguments: Sequence[str]) -> bool:
    """Whether a command will have a job for a worker. False where it may reuse all results of an earlier run."""
    if arguments[:1] not in (["process"], ["identify"]):
        return False
    paths = (word.partition("=")[2] or word for word in arguments)
    return "--force" in arguments or not any(_holds_run(path) for path in paths)


def _holds_run(path: str) -> bool:
    try:
        return Path(path, RUN).exists()
    except OSError:  # a text that is too long for a path, or a folder without permission
        return False


def _run(pipe: Connection, from_main_thread: bool) -> None:
    """The worker process, from start to end."""
    lifetime.set_up_worker(from_main_thread)
    from pipelines.batch.worker import serve

    serve(pipe)
    # To unload every module as well would make the run wait for a tenth of a second more.
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):  # what a backend printed
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(0)


def _leave_deleted_folder() -> None:
    """No process can start in a working folder that was deleted."""
    try:
        Path.cwd()
    except FileNotFoundError:
        os.chdir(os.sep)

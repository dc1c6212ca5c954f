"""Worker processes, and the one that is begun before anybody knows what it will do.

A worker takes a third of a second to load its code, and so does the planning of a run. The command that will need one
begins it first of all, so that both happen at the same time; this module therefore imports nothing large.
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

_spare: list[Begun] = []  # at most one


@dataclass(frozen=True, eq=False)
class Begun:
    """A worker process, which loads its code and then waits to be told its work over `pipe` (`work.serve`)."""

    process: BaseProcess
    pipe: Connection

    def kill(self, patience: float) -> None:
        """End it now, with its children; what hangs in the system's own code cannot be killed, and is left."""
        assert self.process.pid is not None
        lifetime.kill_group(self.process.pid)
        self.process.kill()  # also where it has no group of its own yet
        self.process.join(patience)
        self.pipe.close()


def begin() -> Begun:
    """A new one. Returns at once. Raises OSError where it cannot be begun.

    Made in the main thread, it dies with that thread's process, however that ends (Linux; elsewhere as soon as it can
    notice). Its children die with it.
    """
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    tied = threading.current_thread() is threading.main_thread()
    process = context.Process(target=_serve, args=(theirs, tied))
    try:
        _stand_somewhere()
        with lifetime.inherited():
            process.start()
    except BaseException:
        pipe.close()
        raise
    finally:
        theirs.close()
    return Begun(process, pipe)


def take() -> Begun:
    """The one that was begun ahead, or else a new one. Raises OSError where it cannot be begun."""
    return _spare.pop() if _spare else begin()


@contextlib.contextmanager
def begun(arguments: Sequence[str]) -> Iterator[None]:
    """One worker ahead of its work, where the command line `arguments` surely has some; ended if nobody takes it."""
    if wanted(arguments):
        with contextlib.suppress(OSError):  # whoever needs one will meet the same, and say so
            Path.cwd()  # where it was deleted, relative paths are to be refused before `begin` stands elsewhere
            _spare.append(begin())
    try:
        yield
    finally:
        while _spare:
            with contextlib.suppress(KeyboardInterrupt):  # the command is over, and has said what it had to say
                _spare.pop().kill(1.0)


def wanted(arguments: Sequence[str]) -> bool:
    """Whether a command will have work for a worker. Not where it may keep all results of a run before."""
    if arguments[:1] not in (["process"], ["identify"]):
        return False
    places = (word.partition("=")[2] or word for word in arguments)
    return "--force" in arguments or not any(_holds_a_run(place) for place in places)


def _holds_a_run(place: str) -> bool:
    try:
        return Path(place, RUN).exists()
    except OSError:  # a text that is too long for a path, or a folder that others may not look into
        return False


def _serve(pipe: Connection, tied: bool) -> None:
    """The life of a worker process."""
    lifetime.settle(tied)
    from pipelines.batch.worker import serve

    serve(pipe)
    # To take down every module as well would let the run wait for a tenth of a second more.
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):  # what a backend printed
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(0)


def _stand_somewhere() -> None:
    """From a working folder that was deleted no process can be begun."""
    try:
        Path.cwd()
    except FileNotFoundError:
        os.chdir(os.sep)

"""Many recordings, one bad file at a time: a failure is a row in the report, never the end of the run."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

from diarize import files
from diarize.backends import devices
from diarize.errors import OutputError
from pipelines.plan import Plan
from pipelines.work import Job, Outcome, Worker, copy

# One thread each: their sums depend on how many there are, so more would make results depend on the machine; small
# matrices gain nothing from more; and the models, which do gain, have threads of their own.
LINEAR_ALGEBRA = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
POLL = 0.1  # s between looks at what the workers say

Watch = Callable[[str, str], None]  # told (recording id, stage)

_worker: Worker | None = None  # one a process: a pool's initializer has no other place to leave it


def run(
    jobs: Sequence[Job], plan: Plan, out: Path, workers: int = 1, watch: Watch = lambda id, stage: None
) -> Iterator[Outcome]:
    """Outcomes as they finish, each file of equal bytes and settings processed once.

    A worker that dies (segmentation fault, out of memory) costs its own recording only: at most `workers` recordings
    are in flight, so a death leaves few suspects, and each of them is tried once more alone.
    """
    twins = same_bytes(jobs)
    waiting_twins: dict[int, list[Job]] = {}
    for first, second in twins.items():
        waiting_twins.setdefault(second, []).append(jobs[first])
    position = {job.input.id: i for i, job in enumerate(jobs)}
    firsts = [job for i, job in enumerate(jobs) if i not in twins]
    for done in _supervised(firsts, plan, out, workers, watch):
        yield done
        for job in waiting_twins.get(position[done.id], []):
            yield _twin(job, done, plan, out)


def same_bytes(jobs: Sequence[Job]) -> dict[int, int]:
    """Position of a job -> position of an earlier one with the same bytes and settings.

    Only files of equal size are read. Empty ones are not: what the system calls empty may be a pipe into itself.
    """
    by_size: dict[int, list[int]] = {}
    for i, job in enumerate(jobs):
        if job.input.problem is None:
            with contextlib.suppress(OSError):
                status = job.input.path.stat()
                if stat.S_ISREG(status.st_mode) and status.st_size:
                    by_size.setdefault(status.st_size, []).append(i)
    found: dict[int, int] = {}
    for alike in by_size.values():
        seen: dict[tuple[Any, ...], int] = {}
        for i in alike if len(alike) > 1 else []:
            job = jobs[i]
            with contextlib.suppress(OSError):
                key = (files.sha256(job.input.path), job.cluster, job.words, job.speech, job.known)
                if key in seen:
                    found[i] = seen[key]
                else:
                    seen[key] = i
    return found


def threads_for(workers: int) -> int:
    """Threads a worker may use, so that all workers together fill the cores and no more."""
    return max(1, devices.cores() // workers)


def _twin(job: Job, done: Outcome, plan: Plan, out: Path) -> Outcome:
    if done.status != "done":
        reason = f"the same bytes as {done.name}: {done.reason}"
        return replace(done, id=job.input.id, name=job.input.name, reason=reason)
    try:
        return copy(out, done, job.input, plan.config)
    except OutputError as error:
        return Outcome(job.input.id, job.input.name, "failed", "write", str(error), environment=True)


def _supervised(jobs: Sequence[Job], plan: Plan, out: Path, workers: int, watch: Watch) -> Iterator[Outcome]:
    waiting = deque(jobs)
    threads = threads_for(workers)
    while waiting:
        suspects: list[Job] = []
        running: dict[Future[Outcome], Job] = {}
        with _pool(workers, plan, out, threads) as (pool, events):
            while running or (waiting and not suspects):
                while waiting and not suspects and len(running) < workers:
                    try:
                        future = pool.submit(_work, waiting[0])
                    except BrokenProcessPool:  # it broke since the last look: collect what is running
                        break
                    running[future] = waiting.popleft()
                if not running:  # it broke while nobody was at work: take another
                    break
                finished = wait(running, timeout=POLL, return_when=FIRST_COMPLETED).done
                _tell(events, watch)
                for future in finished:
                    job = running.pop(future)
                    try:
                        yield future.result()
                    except BrokenProcessPool:
                        suspects.append(job)
        for job in suspects:
            yield _alone(job, plan, out, watch)


def _alone(job: Job, plan: Plan, out: Path, watch: Watch) -> Outcome:
    with _pool(1, plan, out, threads_for(1)) as (pool, events):
        future = pool.submit(_work, job)
        while not wait([future], timeout=POLL).done:
            _tell(events, watch)
        try:
            return future.result()
        except BrokenProcessPool:
            reason = "the worker process died twice: a crash of a library, or killed for want of memory"
            return Outcome(job.input.id, job.input.name, "crashed", reason=reason)


@contextlib.contextmanager
def _pool(workers: int, plan: Plan, out: Path, threads: int) -> Iterator[tuple[ProcessPoolExecutor, Any]]:
    """A pool whose processes are gone when it is left, also by an exception (Ctrl-C)."""
    before = {name: os.environ.get(name) for name in LINEAR_ALGEBRA}
    os.environ.update(dict.fromkeys(LINEAR_ALGEBRA, "1"))  # read by the libraries when a worker loads them
    context = multiprocessing.get_context("spawn")
    events = context.Queue()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(plan, out, threads, events))
    try:
        yield pool, events
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.kill()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        events.close()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _start(plan: Plan, out: Path, threads: int, events: Any) -> None:
    """In each worker process, once."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_follow_parent, daemon=True).start()
    events.cancel_join_thread()  # a dying worker must not wait for a reader
    _worker = Worker(plan, out, threads, lambda id, stage: events.put((id, stage)))


def _follow_parent() -> None:
    """End this process with its parent, also where that was killed: nobody waits for its results any more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(job: Job) -> Outcome:
    assert _worker is not None
    return _worker(job)


def _tell(events: Any, watch: Watch) -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            watch(*events.get_nowait())

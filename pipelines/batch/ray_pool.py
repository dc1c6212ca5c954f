"""Workers on the nodes of a Ray cluster: recordings are Ray tasks; paths and rows are sent, never sound.

Each of Ray's processes that runs a task keeps one `SupervisedWorker`, so that models are loaded once and a recording
that crashes or hangs is detected where it runs. All nodes see the recordings, the model store and the results under the
same paths (docs/scale.md).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from diarize.errors import BackendError, ConfigError, MissingExtra
from pipelines.batch.supervision import TICK, OnProgress, OnStage, SupervisedWorker, WorkerExit, ignore_progress
from pipelines.inputs.jobs import Job
from pipelines.plan import Plan
from pipelines.processes.interrupt import Interrupt
from pipelines.results.outcomes import Outcome

LOSSES = 3  # nodes that may be lost with one recording: it is not to blame for the first
CONNECTING = 10.0  # s to wait for an answer of the cluster
LOST = "lost"  # the stage of a recording whose node is gone, until it starts again

CURE = "Name the address that `ray start` printed, as host:port."

_worker: SupervisedWorker | None = None  # one a process of Ray's: its tasks have no other place to keep it


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connected to the cluster at `address`, or to one on this machine alone that lasts as long as the block.

    Raises MissingExtra without Ray, and ConfigError where nothing answers at the address.
    """
    if address:
        _check_address(address)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # or a cluster made here reports home
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingExtra("ray", "ray") from error
    here = {} if address else {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    handlers = _handlers()
    try:
        ray.init(address=address or "local", log_to_driver=False, configure_logging=False, **here)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError("--ray-address", str(address), f"no Ray cluster answers: {error}", CURE) from error
    finally:
        for number, handler in handlers.items():  # Ray takes SIGTERM for itself
            signal.signal(number, handler)
    try:
        yield
    finally:
        ray.shutdown()


class RayPool:
    """Sends recordings to whatever node has room, `threads` cores for each."""

    def __init__(
        self,
        plan: Plan,
        out: Path,
        threads: int,
        most: int | None = None,
        on_progress: OnProgress = ignore_progress,
    ) -> None:
        """`most` recordings at a time; None: as many as the cluster has room for."""
        import ray

        self._ray, self._most, self._on_progress = ray, most, on_progress
        self._threads = max(1, min(threads, self._largest()))
        self._shared = ray.put((plan, out.absolute(), self._threads, Path.cwd()))
        self._stages = ray.remote(num_cpus=0, max_restarts=-1)(_StageLog).remote()
        self._task = ray.remote(num_cpus=self._threads, max_retries=0)(_run_job)
        self._running: dict[Any, Job] = {}
        self._started: set[str] = set()  # recordings that a node has started

    def __enter__(self) -> RayPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for task in self._running:
            self._ray.cancel(task, force=True)
        self._ray.kill(self._stages)

    def process(
        self, jobs: Sequence[Job], on_stage: OnStage, interrupt: Interrupt
    ) -> Iterator[tuple[Job, Outcome | WorkerExit]]:
        """Each job with its row, or with the end of the worker that had it."""
        waiting, losses = deque(jobs), Counter[str]()
        while self._running or (waiting and not interrupt.stopping):
            interrupt.check()
            if interrupt.stopping:
                self._cancel_waiting()
                interrupt.announce(len(self._running))
            else:
                self._submit(waiting)
            done, _ = self._ray.wait(list(self._running), timeout=TICK)
            self._receive(on_stage)
            for task in done:
                job = self._running.pop(task)
                try:
                    yield job, self._ray.get(task)
                except self._ray.exceptions.TaskCancelledError:  # it was cancelled: it has no row
                    continue
                except self._ray.exceptions.RayError as error:
                    losses[job.input.id] += 1
                    if losses[job.input.id] < LOSSES:
                        on_stage(job.input.id, LOST)
                        waiting.appendleft(job)
                    else:
                        reason = f"{LOSSES} nodes were lost with it, the last by {_describe(error)}"
                        yield job, WorkerExit("", reason, True)

    def _largest(self) -> int:
        """Cores of the largest node. Raises BackendError where there are none."""
        cores = [int(node["Resources"].get("CPU", 0)) for node in self._ray.nodes() if node["Alive"]]
        if not max(cores, default=0):
            raise BackendError("the Ray cluster has no free cores. Start a node with `ray start --num-cpus=N`.")
        return max(cores)

    def _submit(self, waiting: deque[Job]) -> None:
        """Submit tasks for all cores, and one more: the order of submitted tasks is fixed, and the longest go first."""
        room = int(self._ray.cluster_resources().get("CPU", 0)) // self._threads + 1
        while waiting and len(self._running) < (room if self._most is None else self._most):
            job = waiting.popleft()
            self._started.discard(job.input.id)
            self._running[self._task.remote(self._shared, self._stages, job)] = job

    def _cancel_waiting(self) -> None:
        for task, job in self._running.items():
            if job.input.id not in self._started:
                self._ray.cancel(task)

    def _receive(self, on_stage: OnStage) -> None:
        """Pass on the stages that the nodes report; reports to a node that is gone are lost."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            stages, shares = self._ray.get(self._stages.take.remote(), timeout=TICK)
            for id, stage in stages:
                self._started.add(id)
                on_stage(id, stage)
            for id, (share, duration) in shares.items():
                self._on_progress(id, share, duration)


class _StageLog:
    """An actor of Ray's: the stages that recordings enter, and how far these are, from all nodes."""

    def __init__(self) -> None:
        self._stages: list[tuple[str, str]] = []
        self._shares: dict[str, tuple[float, float | None]] = {}  # of the last stage of a recording

    def add(self, id: str, stage: str) -> None:
        self._stages.append((id, stage))
        self._shares.pop(id, None)

    def progress(self, id: str, share: float, duration: float | None) -> None:
        self._shares[id] = (share, duration)

    def take(self) -> tuple[list[tuple[str, str]], dict[str, tuple[float, float | None]]]:
        """The stages since the last call, and how far the last ones are."""
        news = self._stages, self._shares
        self._stages, self._shares = [], {}
        return news


def _run_job(shared: tuple[Plan, Path, int, Path], stages: Any, job: Job) -> Outcome | WorkerExit:
    """A task, in one of Ray's processes."""
    global _worker
    plan, out, threads, folder = shared
    stages.add.remote(job.input.id, "read")
    os.chdir(folder)  # relative paths mean here what they mean where the run was started
    if _worker is None:
        _worker = SupervisedWorker(plan, out, threads)
    result = _worker.run(
        job,
        lambda id, stage: stages.add.remote(id, stage),
        lambda id, share, duration: stages.progress.remote(id, share, duration),
    )
    if isinstance(result, WorkerExit):
        _worker = None
    return result


def _check_address(address: str) -> None:
    """Raises ConfigError where nothing answers: Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECTING).close()
    except (OSError, ValueError, OverflowError) as error:
        raise ConfigError("--ray-address", address, f"no Ray cluster answers: {error}", CURE) from error


def _handlers() -> dict[signal.Signals, Any]:
    """The signal handlers, where this thread may set them."""
    try:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number, handler in handlers.items():
            signal.signal(number, handler)
    except ValueError:
        return {}
    return handlers


def _describe(error: Exception) -> str:
    return f"{type(error).__name__} ({str(error).strip().splitlines()[0]})" if str(error) else type(error).__name__

"""A crew on the nodes of a Ray cluster: recordings are Ray tasks; what travels are paths and rows, never sound.

Each of Ray's processes that does a task keeps one `supervise.Child`, so that models are loaded once and a recording
that crashes or hangs is found out where it happens. All nodes see the recordings, the model store and the results under
the same paths (docs/scale.md).
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
from pipelines.batch.supervision import TICK, Child, Death, Watch
from pipelines.inputs.jobs import Job
from pipelines.plan import Plan
from pipelines.processes.interrupt import Interrupt
from pipelines.results.outcomes import Outcome

LOSSES = 3  # nodes that may be lost with one recording: it is not to blame for the first
KNOCKS = 10.0  # s to wait for an answer of the cluster
LOST = "lost"  # the stage of a recording whose node is gone, until it is begun anew

CURE = "Name the address that `ray start` printed, as host:port."

_child: Child | None = None  # one a process of Ray's: its tasks have no other place to leave it


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connected to the cluster at `address`, or to one on this machine alone that lasts as long as the block.

    Raises MissingExtra without Ray, and ConfigError where nothing answers at the address.
    """
    if address:
        _knock(address)
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


class RayCrew:
    """Gives recordings to whatever node has room, `threads` cores for each."""

    def __init__(self, plan: Plan, out: Path, threads: int, most: int | None = None) -> None:
        """`most` recordings at a time; None: as many as the cluster has room for."""
        import ray

        self._ray, self._most = ray, most
        self._threads = max(1, min(threads, self._largest()))
        self._shared = ray.put((plan, out.absolute(), self._threads, Path.cwd()))
        self._told = ray.remote(num_cpus=0, max_restarts=-1)(_Told).remote()
        self._task = ray.remote(num_cpus=self._threads, max_retries=0)(_do)
        self._running: dict[Any, Job] = {}
        self._begun: set[str] = set()  # recordings that a node has begun with

    def __enter__(self) -> RayCrew:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for task in self._running:
            self._ray.cancel(task, force=True)
        self._ray.kill(self._told)

    def work(self, jobs: Sequence[Job], watch: Watch, interrupt: Interrupt) -> Iterator[tuple[Job, Outcome | Death]]:
        """Each job with what came of it: its row, or the death of its worker."""
        waiting, losses = deque(jobs), Counter[str]()
        while self._running or (waiting and not interrupt.ending):
            interrupt.check()
            if interrupt.ending:
                self._withdraw()
                interrupt.tell(len(self._running))
            else:
                self._submit(waiting)
            done, _ = self._ray.wait(list(self._running), timeout=TICK)
            self._listen(watch)
            for task in done:
                job = self._running.pop(task)
                try:
                    yield job, self._ray.get(task)
                except self._ray.exceptions.TaskCancelledError:  # it was withdrawn: it has no row
                    continue
                except self._ray.exceptions.RayError as error:
                    losses[job.input.id] += 1
                    if losses[job.input.id] < LOSSES:
                        watch(job.input.id, LOST)
                        waiting.appendleft(job)
                    else:
                        yield job, Death("", f"{LOSSES} nodes were lost with it, the last by {_reason(error)}", True)

    def _largest(self) -> int:
        """Cores of the largest node. Raises BackendError where there are none."""
        cores = [int(node["Resources"].get("CPU", 0)) for node in self._ray.nodes() if node["Alive"]]
        if not max(cores, default=0):
            raise BackendError("the Ray cluster has no cores to give. Start a node with `ray start --num-cpus=N`.")
        return max(cores)

    def _submit(self, waiting: deque[Job]) -> None:
        """Tasks for all cores, and one more: what is submitted can no longer be put off for a longer one."""
        room = int(self._ray.cluster_resources().get("CPU", 0)) // self._threads + 1
        while waiting and len(self._running) < (room if self._most is None else self._most):
            job = waiting.popleft()
            self._begun.discard(job.input.id)
            self._running[self._task.remote(self._shared, self._told, job)] = job

    def _withdraw(self) -> None:
        for task, job in self._running.items():
            if job.input.id not in self._begun:
                self._ray.cancel(task)

    def _listen(self, watch: Watch) -> None:
        """Pass on what the nodes say; what was said to a node that is gone is lost."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            for id, stage in self._ray.get(self._told.take.remote(), timeout=TICK):
                self._begun.add(id)
                watch(id, stage)


class _Told:
    """Stages that recordings enter, from all nodes: an actor of Ray's."""

    def __init__(self) -> None:
        self._said: list[tuple[str, str]] = []

    def say(self, id: str, stage: str) -> None:
        self._said.append((id, stage))

    def take(self) -> list[tuple[str, str]]:
        """All that was said since the last time."""
        said, self._said = self._said, []
        return said


def _do(shared: tuple[Plan, Path, int, Path], told: Any, job: Job) -> Outcome | Death:
    """A task, in one of Ray's processes."""
    global _child
    plan, out, threads, folder = shared
    told.say.remote(job.input.id, "read")
    os.chdir(folder)  # relative paths mean here what they mean where the run was begun
    if _child is None:
        _child = Child(plan, out, threads)
    found = _child.do(job, lambda id, stage: told.say.remote(id, stage))
    if isinstance(found, Death):
        _child = None
    return found


def _knock(address: str) -> None:
    """Raises ConfigError where nobody is at home: Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), KNOCKS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise ConfigError("--ray-address", address, f"no Ray cluster answers: {error}", CURE) from error


def _handlers() -> dict[signal.Signals, Any]:
    """The handlers of signals, where this is the thread that may set them."""
    try:
        found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number, handler in found.items():
            signal.signal(number, handler)
    except ValueError:
        return {}
    return found


def _reason(error: Exception) -> str:
    return f"{type(error).__name__} ({str(error).strip().splitlines()[0]})" if str(error) else type(error).__name__

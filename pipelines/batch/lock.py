"""One run at a time on a folder of results, also where several machines share it.

The lock is a file in the folder with the host, the process, and a count that the process increases as long as it lives.
Whether a process of the same machine lives is known at once, by its number and start time. Of a process of another
machine, from before a restart, or where the system does not tell (Windows), it is known after some seconds: the count
goes up or not. Clocks are never compared.

The start time is read from /proc, in ticks since the machine started, and not from psutil: its `create_time` is that of
the wall clock, which changes when the clock is set, and a living run would be taken for dead.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from diarize import files
from diarize.errors import ConfigError, OutputError, printable
from pipelines.inputs.shards import Shard

BEAT = 1.0  # s between two counts
WATCH = 8.0  # s without a new count until its process is taken for dead; network file systems lag by seconds
POLL = 0.5  # s between two attempts of a run that waits for the lock
ATTEMPTS = 100  # at a lock that other runs take and release, or that cannot be removed
_NAME = re.compile(r"\.lock(?:\.shard-([0-9]+)-of-([0-9]+))?")


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock, as the file says."""

    host: str
    pid: int
    started: str  # start time of the process, in ticks of the system
    machine: str  # its boot and process namespace: numbers and ticks can be compared within one
    token: str
    count: int

    def __str__(self) -> str:
        return printable(f"process {self.pid} on {self.host}")


class Lock:
    """Held inside its block. Raises ConfigError where another run holds it, OutputError where it cannot be written."""

    def __init__(
        self,
        out: Path,
        shard: Shard | None = None,
        wait: bool = False,
        on_wait: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """`wait`: until another run ends; `on_wait` is called once with the reason. Parts of one run share a folder."""
        self._out, self._shard, self._wait, self._on_wait = out, shard, wait, on_wait
        self._path = out / (".lock" if shard is None else f".lock.{shard.name}")
        self._token = secrets.token_hex(8)
        self._released, self.lost = threading.Event(), False
        self._heartbeat = threading.Thread(target=self._count_up, daemon=True)

    def __enter__(self) -> Lock:
        waiting = False
        while (holder := self._acquire()) is not None:
            if not self._wait:
                cure = "Wait for it (--wait), end it, or name another folder."
                raise ConfigError("--out", str(self._out), f"{holder} is writing its results there", cure)
            if not waiting:
                self._on_wait(f"waiting for {holder}, which is writing its results to {self._out}")
            waiting = True
            time.sleep(POLL + secrets.randbelow(100) / 200)  # at random, so that two do not block each other for ever
        self._heartbeat.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._released.set()
        self._heartbeat.join()
        self._release()

    def check(self) -> None:
        """Raises OutputError where another run has taken this one for dead, for example after a long suspension."""
        if self.lost:
            problem = "is gone: somebody removed it, or another run took this one for dead"
            raise OutputError(str(self._path), problem, "Rerun the command when the other run has ended.")

    def _acquire(self) -> Holder | None:
        """Take the lock; the holder where another run has it."""
        for _ in range(ATTEMPTS):
            # Locks of dead runs are removed, one of a living run ends the attempt.
            for path in conflicting(self._out, self._shard, self._path):
                dead = read(path)
                if (holder := living_holder(path)) is not None:
                    return holder
                _remove(path, dead)
            try:
                _create(self._path, self._token)
            except FileExistsError:  # another run was first, and may be gone again
                continue
            except OSError as error:
                problem = f"cannot be written: {error.strerror or error}"
                raise OutputError(str(self._path), problem, files.suggest_cure(error)) from error
            # Of two runs that created different files at once (a whole run and a part), both see the other one here.
            for path in conflicting(self._out, self._shard, self._path):
                if path != self._path and (holder := read(path)) is not None:
                    self._release()
                    return holder
            return None
        raise OutputError(str(self._path), "belongs to a dead run, and cannot be removed", "Remove it.")

    def _release(self) -> None:
        if self._is_ours():
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _is_ours(self) -> bool:
        holder = read(self._path)
        return holder is not None and holder.token == self._token

    def _count_up(self) -> None:
        count = 0
        while not self._released.wait(BEAT):
            count += 1
            try:
                if not self._is_ours() and not self._released.wait(BEAT / 4) and not self._is_ours():
                    self.lost = True
                    return
                with self._path.open(
                    "r+b", buffering=0
                ) as file:  # in place: a renamed file is seen later over networks
                    file.write(_text(self._token, count))
            except OSError:  # a full disk is reported by those who write results
                continue


def conflicting(out: Path, shard: Shard | None, own: Path) -> Iterator[Path]:
    """The lock files in `out` that exclude a run of `shard`, also its `own` one."""
    try:
        names = sorted(path.name for path in out.glob(".lock*"))
    except OSError:
        return
    for name in names:
        match = _NAME.fullmatch(name)
        if match is None:
            continue
        other_part = shard is not None and match[2] is not None and int(match[2]) == shard.count
        if not other_part or name == own.name:
            yield out / name


def running(out: Path) -> dict[str, Holder]:
    """Name of the lock file -> holder, of the runs that are running on a folder."""
    holders = {path.name: living_holder(path) for path in conflicting(out, None, out / ".lock")}
    return {name: holder for name, holder in holders.items() if holder is not None}


def living_holder(path: Path) -> Holder | None:
    """The holder of the lock at `path`; None where there is none, or it is dead. May watch the count for seconds."""
    holder = read(path)
    if holder is None:
        return None
    started = _start_time(holder.pid) if holder.machine == _machine() else None
    if started is not None:
        return holder if started == holder.started else None
    end = time.monotonic() + WATCH
    while time.monotonic() < end:
        time.sleep(BEAT / 4)
        now = read(path)
        if now is None or now.token != holder.token or now.count != holder.count:
            return now
    return None


def read(path: Path) -> Holder | None:
    """The holder that a lock file names; None where the file is gone, or no lock."""
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _create(path: Path, token: str) -> None:
    """Create the file with its content in one step. Raises FileExistsError and OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    temporary.write_bytes(_text(token, 0))
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # no hard links here
        with path.open("xb") as file:
            file.write(_text(token, 0))
    finally:
        temporary.unlink(missing_ok=True)


def _text(token: str, count: int) -> bytes:
    pid = os.getpid()
    holder = Holder(platform.node(), pid, _start_time(pid) or "", _machine(), token, count)
    return json.dumps(asdict(holder)).encode().ljust(400) + b"\n"


def _remove(path: Path, dead: Holder | None) -> None:
    """Remove a dead process's lock, unless another run has done so and holds it now."""
    aside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    with contextlib.suppress(OSError):
        path.rename(aside)
        holder = read(aside)
        if holder is not None and (dead is None or holder.token != dead.token):
            with contextlib.suppress(OSError):
                os.link(aside, path)
        aside.unlink(missing_ok=True)


def _machine() -> str:
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return platform.node()


def _start_time(pid: int) -> str | None:
    """Start time of a process of this machine; "" where there is no such process, or it is a zombie.

    None on Windows, where signal 0, which tests for a process elsewhere, would send it Ctrl-C.
    """
    if sys.platform == "win32":
        return None
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return "" if state[0] in "ZX" else state[19]
    except OSError:
        pass
    if Path("/proc/self/stat").exists():
        return ""
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "alive"

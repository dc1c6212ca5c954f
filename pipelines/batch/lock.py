"""One run at a time on a folder of results, also where several machines share it.

The lock is a file in the folder that names host, process and a count that goes up while the process lives. Of a process
of the same machine it is known at once whether it lives: by its number and the time it was started. Of another
machine's, of one before a restart, and where the system does not tell (Windows), it is known by watching the count; no
clock is ever compared with another.
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
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from diarize import files
from diarize.errors import ConfigError, OutputError, printable
from pipelines.inputs.shards import Shard

BEAT = 1.0  # s between two counts
WATCH = 8.0  # s that a count must stand still for its process to be taken for dead; network file systems lag by seconds
LOOK = 0.5  # s between looks at a lock that is waited for
ATTEMPTS = 100  # at a lock that others take and leave, or that cannot be taken away
_NAME = re.compile(r"\.lock(?:\.shard-([0-9]+)-of-([0-9]+))?")


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, as the file says."""

    host: str
    pid: int
    started: str  # when the process was started, in the system's ticks
    machine: str  # its boot and its space of process numbers: within one, numbers and ticks can be compared
    token: str
    count: int

    def __str__(self) -> str:
        return printable(f"process {self.pid} on {self.host}")


class Lock:
    """Held while its block runs. Raises ConfigError where another run holds it, OutputError where it cannot be."""

    def __init__(
        self, out: Path, shard: Shard | None = None, wait: bool = False, say: Callable[[str], None] = lambda text: None
    ) -> None:
        """`wait` for another run to end, which `say` is told; parts of one division do not exclude each other."""
        self._out, self._shard, self._wait, self._say = out, shard, wait, say
        self._path = out / (".lock" if shard is None else f".lock.{shard.name}")
        self._token = secrets.token_hex(8)
        self._over, self.lost = threading.Event(), False
        self._beating = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Lock:
        told = False
        while (holder := self._taken()) is not None:
            if not self._wait:
                raise ConfigError(
                    "--out",
                    str(self._out),
                    f"{holder} is writing its results there",
                    "Wait for it (--wait), end it, or name another folder.",
                )
            if not told:
                self._say(f"waiting for {holder}, which is writing its results to {self._out}")
            told = True
            time.sleep(LOOK + secrets.randbelow(100) / 200)  # two that wait for each other do not go on in step
        self._beating.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._beating.join()
        self._leave()

    def check(self) -> None:
        """Raises OutputError where another run has taken this one for dead, as after a long suspension."""
        if self.lost:
            cure = "Run the same command again when that one is over."
            raise OutputError(
                str(self._path), "is gone: somebody took it away, or another run took this one for dead", cure
            )

    def _taken(self) -> Holder | None:
        """None: the lock is ours now. Else who has it."""
        for _ in range(ATTEMPTS):
            for path in rivals(self._out, self._shard, self._path):
                dead = read(path)
                if (holder := alive(path)) is not None:
                    return holder
                _remove(path, dead)
            try:
                _create(self._path, self._token)
            except FileExistsError:  # somebody came first, and may be gone again
                continue
            except OSError as error:
                problem = f"cannot be written: {error.strerror or error}"
                raise OutputError(str(self._path), problem, files.suggest_cure(error)) from error
            for path in rivals(self._out, self._shard, self._path):  # both of two that came at once see the other here
                if path != self._path and (holder := read(path)) is not None:
                    self._leave()
                    return holder
            return None
        raise OutputError(str(self._path), "is a dead run's, and cannot be taken away", "Remove it.")

    def _leave(self) -> None:
        if self._ours():
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _ours(self) -> bool:
        holder = read(self._path)
        return holder is not None and holder.token == self._token

    def _beat(self) -> None:
        count = 0
        while not self._over.wait(BEAT):
            count += 1
            try:
                if not self._ours() and not self._over.wait(BEAT / 4) and not self._ours():
                    self.lost = True
                    return
                with self._path.open("r+b", buffering=0) as file:  # in place: a renamed file shows later over networks
                    file.write(_text(self._token, count))
            except OSError:  # a full disk is met elsewhere
                continue


def rivals(out: Path, shard: Shard | None, own: Path) -> Iterator[Path]:
    """The lock files in `out` that exclude a run of `shard`."""
    try:
        names = sorted(path.name for path in out.glob(".lock*"))
    except OSError:
        return
    for name in names:
        found = _NAME.fullmatch(name)
        if found is None:
            continue
        beside = shard is not None and found[2] is not None and int(found[2]) == shard.count
        if not beside or name == own.name:
            yield out / name


def running(out: Path) -> dict[str, Holder]:
    """Lock file -> who holds it, of the runs that are going on in a folder."""
    found = {path.name: alive(path) for path in rivals(out, None, out / ".lock")}
    return {name: holder for name, holder in found.items() if holder is not None}


def alive(path: Path) -> Holder | None:
    """Who holds the lock at `path`; None where nobody does, or one who is dead. Watches for some seconds if need be."""
    holder = read(path)
    if holder is None:
        return None
    started = _start_of(holder.pid) if holder.machine == _machine() else None
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
    """What a lock file says; None where it is gone, or no lock."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Holder(**found)
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _create(path: Path, token: str) -> None:
    """Make the file, whole from its first moment. Raises FileExistsError and OSError."""
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    beside.write_bytes(_text(token, 0))
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except OSError:  # no hard links here
        with path.open("xb") as file:
            file.write(_text(token, 0))
    finally:
        beside.unlink(missing_ok=True)


def _text(token: str, count: int) -> bytes:
    pid = os.getpid()
    holder = {
        "host": platform.node(),
        "pid": pid,
        "started": _start_of(pid) or "",
        "machine": _machine(),
        "token": token,
    }
    return json.dumps({**holder, "count": count}).encode().ljust(400) + b"\n"


def _remove(path: Path, dead: Holder | None) -> None:
    """Take a dead process's lock away, unless somebody else has done so and holds it now."""
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


def _start_of(pid: int) -> str | None:
    """When a process of this machine was started; "" where there is no such process, or only what is left of it.

    None on Windows, where asking for a process as elsewhere, by signal 0, would send it Ctrl-C.
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

"""A function that runs on open files in a child process which may do nothing else.

The parent starts the child once and then sends requests: options and one open file each. The child loads the function,
gives up its rights (`sandbox`), and answers each request with messages that the function sends. Messages both ways: a
kind (one byte), a length (eight bytes), and so many bytes. Nothing is pickled, and what the child sends is not trusted.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import IO, Any

from pipelines.processes import lifetime
from pipelines.processes.interrupt import SIGNALS
from pipelines.processes.sandbox import Limits, confine, limit

STARTING = 120.0  # s until it has loaded the code: on a cold network disk that takes minutes
SILENCE = 300.0  # s without a sign of life: a network share that is gone, an endless loop
ALIVE_EVERY = 1.0  # s between signs of life
LARGEST_MESSAGE = 64 << 20  # bytes: ten minutes of samples are 38 MB, a million lost spans 64
READY, REQUEST, ALIVE = b"!", b"r", b"."
HEAD = struct.Struct("<cQ")  # kind and length of a message


class ChildFailed(Exception):
    """The child did not answer; the text says why. It must not be used again."""


class CpuLimitReached(ChildFailed):
    """The system ended the child, as it had used its processor time up."""


class Connection:
    """One end of the socket between parent and child."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._sent = time.monotonic()

    def send(self, kind: bytes, content: bytes = b"", file: FileIO | None = None) -> None:
        """Send a message, with an open file where there is one. Raises ConnectionError where nobody receives it."""
        head = HEAD.pack(kind, len(content))
        if file is None:
            self.socket.sendall(head)
        else:
            socket.send_fds(self.socket, [head], [file.fileno()])
        self.socket.sendall(content)
        self._sent = time.monotonic()

    def send_alive(self) -> None:
        """Tell the parent that the work goes on, if the last message is older than `ALIVE_EVERY`."""
        if time.monotonic() - self._sent > ALIVE_EVERY:
            self.send(ALIVE)

    def receive(self) -> tuple[bytes, bytearray]:
        """The next message: kind, content. Raises EOFError, OSError, TimeoutError; ValueError if it is too large."""
        return self._content(self._read(HEAD.size))

    def receive_request(self) -> tuple[dict[str, Any], FileIO] | None:
        """The options and the open file of the next request; None where the parent has closed its end."""
        head, descriptors, _, _ = socket.recv_fds(self.socket, HEAD.size, 1)
        if not descriptors:
            return None
        _, options = self._content(head + self._read(HEAD.size - len(head)))
        return json.loads(options), FileIO(descriptors[0])

    def _content(self, head: bytes | bytearray) -> tuple[bytes, bytearray]:
        kind, size = HEAD.unpack(head)
        if size > LARGEST_MESSAGE:
            raise ValueError(f"a message of {size} bytes")
        return kind, self._read(size)

    def _read(self, size: int) -> bytearray:
        content = bytearray(size)
        view = memoryview(content)
        while view:
            n = self.socket.recv_into(view)
            if n == 0:
                raise EOFError
            view = view[n:]
        return content


def serve(
    descriptor: int,
    function: Callable[[dict[str, Any], FileIO, Connection], None],
    limits: Limits,
    warm_up: Callable[[], None],
) -> None:
    """The child: call `function` for each request until the parent closes its end of the socket `descriptor`.

    `warm_up` must import everything that `function` needs: afterwards no file can be opened.
    """
    for number in SIGNALS:  # Ctrl-C reaches the whole process group; the parent decides
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGXCPU})
    warm_up()
    parent = Connection(socket.socket(fileno=descriptor))
    with Path(os.devnull).open("wb") as null:
        os.dup2(null.fileno(), 2)  # until here the parent reads what is wrong, from here on nobody reads
    limit(limits)
    confined = confine()
    with parent.socket, contextlib.suppress(ConnectionError):
        parent.send(READY, json.dumps({"confined": confined}).encode())
        while request := parent.receive_request():
            options, file = request
            with file:
                function(options, file, parent)


class ConfinedProcess:
    """The child, as the parent sees it. One request at a time."""

    def __init__(self, module: str, files: Sequence[IO[bytes]]) -> None:
        """Start it: it calls `serve(descriptor of its socket, descriptors of `files`)` of the named module.

        Returns at once. Raises ChildFailed where the system starts no process. The system kills it when this process
        ends (Linux); started in another thread than the main one it ends when it sees that its socket is closed, as the
        system would kill it with the thread.
        """
        self.confined = self._ready = False
        ours, theirs = socket.socketpair()
        self._connection = Connection(ours)
        code = "import sys, json; a = json.loads(sys.argv[1]); sys.path[:] = a['path']; "
        if threading.current_thread() is threading.main_thread():
            code += "from pipelines.processes.lifetime import die_with_parent; die_with_parent(); "
        code += f"from {module} import serve; serve(a['socket'], a['files'])"
        handles = [theirs.fileno(), *(file.fileno() for file in files)]
        arguments = json.dumps({"path": sys.path, "socket": handles[0], "files": handles[1:]})
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, arguments],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, pass_fds=handles,
                env={**os.environ, **dict.fromkeys(lifetime.LINEAR_ALGEBRA, "1")},
            )  # fmt: skip
        except OSError as error:
            ours.close()
            raise ChildFailed(error.strerror or str(error)) from error
        finally:
            theirs.close()
        import psutil  # takes 9 ms, while the child loads its code

        self._usage = psutil.Process(self.process.pid)

    def wait_until_ready(self) -> None:
        """Wait until it has loaded its code. Raises ChildFailed where it does not."""
        if self._ready:
            return
        self._connection.socket.settimeout(STARTING)
        try:
            kind, content = self._connection.receive()
            self.confined = kind == READY and bool(json.loads(content)["confined"])
        except (EOFError, OSError, ValueError, KeyError) as error:
            self.process.kill()
            last_line = self.process.communicate()[1].decode(errors="replace").strip().rpartition("\n")[2]
            raise ChildFailed(last_line or str(error)) from error
        self._ready = True

    def ask(self, options: Mapping[str, Any], file: FileIO, seconds: int) -> Iterator[tuple[bytes, bytearray]]:
        """The messages that the function sends for one request, in `seconds` of processor time; without end.

        Raises ChildFailed and CpuLimitReached where no more can come, ValueError for a message that is too large.
        """
        self._allow_cpu(seconds)
        self._connection.socket.settimeout(SILENCE)
        try:
            self._connection.send(REQUEST, json.dumps(options).encode(), file)
            while True:
                kind, content = self._connection.receive()
                if kind != ALIVE:
                    yield kind, content
        except TimeoutError as error:
            raise ChildFailed(f"no sign of life for {SILENCE:.0f} s; a disk or a network share may be gone") from error
        except (EOFError, ConnectionError) as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
            code = self.process.poll()
            if code == -signal.SIGXCPU:
                raise CpuLimitReached(f"{seconds} s of processor time were not enough") from error
            raise ChildFailed(f"the process {lifetime.describe_exit(code)}") from error

    def end(self) -> None:
        """Kill it; what hangs in the system's own code cannot be killed, and is left."""
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        if self.process.stderr is not None:
            self.process.stderr.close()
        self._connection.socket.close()

    def _allow_cpu(self, seconds: int) -> None:
        """Let it use so much more processor time; then the system ends it with SIGXCPU."""
        import psutil

        used = self._usage.cpu_times()
        hard = self._usage.rlimit(psutil.RLIMIT_CPU)[1]
        soft = round(used.user + used.system) + 1 + seconds
        if hard == psutil.RLIM_INFINITY or soft < hard:
            self._usage.rlimit(psutil.RLIMIT_CPU, (soft, hard))

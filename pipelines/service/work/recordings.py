"""Recordings as jobs: runs of the batch engine, one folder each, which survive the end of the service.

    <data>/jobs/<tenant>/<id>/job.json      what was asked for, and the state
                             recording      the bytes that were sent, until the job is finished
                             out/           the results of `diarize process`
                             events.jsonl   its log, which the event stream shows

A job belongs to the process that holds the lock of its `claim` file; the system gives the lock back when that process
ends, however it ends. Another one, or the same service after its start, then resumes the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from diarize import files, formats
from diarize.errors import DiarizeError, MissingExtra
from diarize.library.database.address import ServerAddress
from pipelines import results
from pipelines.results import outputs
from pipelines.service.work.refusals import Refusal
from pipelines.service.work.settings import ServiceSettings
from pipelines.service.work.uploads import Upload
from pipelines.service.work.webhooks import ATTEMPTS, WebhookRules

FINAL = ("done", "failed", "cancelled")
ENDING = 10.0  # s that processes get to end after they were killed
SCAN = 5.0  # s between looks for jobs of processes that ended
_CODE = (
    "from pipelines.processes.lifetime import die_with_parent; die_with_parent(); import runpy; "
    "runpy.run_module('diarize', run_name='__main__')"
)
_JOB, _CLAIM, _EVENTS, _RECORDING, _OUT = "job.json", "claim", "events.jsonl", "recording", "out"


class RecordingJobs:
    """The jobs in a data folder."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._root = settings.data / "jobs"
        self._rules = WebhookRules(settings.webhook_networks)
        self._wake = asyncio.Event()
        self._running: dict[Path, asyncio.subprocess.Process] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # that wait for a process
        self._notifying: set[asyncio.Task[None]] = set()
        self.stopping = False  # streams of events end, as the service does

    # requests ---------------------------------------------------------------------------------------------------------

    def submit(
        self, tenant: str, upload: Upload, options: Mapping[str, Any], webhook: tuple[str, str] | None, id: str | None
    ) -> dict[str, Any]:
        """A new job for an upload, which is moved into its folder. `id`: of a repeated request. Raises Refusal."""
        if not upload.size:
            raise Refusal("audio_empty", "0 bytes were received", {"received": upload.received()})
        if webhook is not None:
            self._rules.check(webhook[0])
        folder = self._root / tenant / (id or secrets.token_hex(16))
        if (folder / _JOB).exists():
            return self.show(tenant, folder.name)
        waiting = sum(job["state"] not in FINAL for _, job in self._all())
        if waiting >= self._settings.limits.recordings:
            raise Refusal("busy", f"{waiting} recordings are waiting", retry=60)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.move(upload.path, folder / _RECORDING)
        job: dict[str, Any] = {
            "id": folder.name,
            "tenant": tenant,
            "state": "queued",
            "created": _now(),
            "finished": None,
            "bytes": upload.size,
            "options": dict(options),
            "reason": None,
            "webhook": None if webhook is None else {"url": webhook[0], "secret": webhook[1], "state": "waiting"},
        }
        _write(folder, job)
        return _shown(job)

    def notice(self) -> None:
        """Look for work now: a job came, or was changed. In the event loop."""
        self._wake.set()

    def show(self, tenant: str, id: str) -> dict[str, Any]:
        """A job as the service shows it. Raises Refusal."""
        folder = self._folder(tenant, id)
        return {**_shown(_read(folder)), "progress": _progress(folder)}

    def page(self, tenant: str, after: str, limit: int) -> list[dict[str, Any]]:
        """The next jobs in order of id."""
        root = self._root / tenant
        names = sorted(path.name for path in root.iterdir() if (path / _JOB).exists()) if root.is_dir() else []
        return [_shown(_read(root / name)) for name in names if name > after][:limit]

    def transcript(self, tenant: str, id: str, name: str) -> bytes:
        """The result in one of the formats. Raises Refusal."""
        folder = self._folder(tenant, id)
        if name not in formats.FORMATS:
            raise Refusal("unknown_format", f"{name} is none of them", {"known": sorted(formats.FORMATS)})
        if (state := _read(folder)["state"]) != "done":
            raise Refusal("not_finished", f"its state is {state}", {"state": state})
        path = next((folder / _OUT).glob(f"*/{outputs.TRANSCRIPT}"))
        try:
            return formats.encode(name, outputs.read_corrected(path.parent))
        except MissingExtra as error:
            raise Refusal("unknown_format", f"the service has no package for {name}") from error

    def cancel(self, tenant: str, id: str) -> dict[str, Any]:
        """Give a job up, where it is not finished. Raises Refusal."""
        folder = self._folder(tenant, id)
        job = _read(folder)
        if job["state"] not in FINAL:
            _write(folder, {**job, "state": "cancelled", "finished": _now()})
            (folder / _RECORDING).unlink(missing_ok=True)
        return self.show(tenant, id)

    def delete(self, tenant: str, id: str) -> None:
        """Give a job up, and delete it with its results. Raises Refusal."""
        self.cancel(tenant, id)
        shutil.rmtree(self._folder(tenant, id), ignore_errors=True)

    def delete_old(self, before: datetime) -> int:
        """Delete the finished jobs that ended before a time; how many."""
        old = [f for f, job in self._all() if job["finished"] and datetime.fromisoformat(job["finished"]) < before]
        for folder in old:
            shutil.rmtree(folder, ignore_errors=True)
        return len(old)

    async def events(self, tenant: str, id: str, after: int) -> AsyncIterator[tuple[int, str, dict[str, Any]]]:
        """(number, name, data) of each event after number `after`, until the job is finished. Raises Refusal."""
        folder = self._folder(tenant, id)
        number = 0
        state = ""
        while True:
            try:
                job = _read(folder)
            except Refusal:  # it was deleted
                return
            lines = _lines(folder / _EVENTS)
            for line in lines[max(after, number) :]:
                number = max(after, number) + 1
                yield number, str(line.get("event", "event")), line
            if job["state"] != state:
                state = job["state"]
                yield max(after, number), "state", _shown(job)
            if state in FINAL or self.stopping:
                return
            await asyncio.sleep(0.5)

    def _folder(self, tenant: str, id: str) -> Path:
        """Raises Refusal where the tenant has no such job: `id` becomes the name of a folder."""
        folder = self._root / tenant / id
        if len(id) != 32 or not set(id) <= set("0123456789abcdef") or not (folder / _JOB).exists():
            raise Refusal("recording_not_found", "no recording has this id")
        return folder

    def _all(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        for path in sorted(self._root.glob(f"*/*/{_JOB}")):
            with contextlib.suppress(Refusal):
                yield path.parent, _read(path.parent)

    # work -------------------------------------------------------------------------------------------------------------

    async def work(self) -> None:
        """Run the jobs, the oldest first, until the task is cancelled."""
        try:
            while True:
                self._wake.clear()
                await self._look()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), SCAN)
        finally:
            self.stopping = True  # what is killed now has not failed
            for process in self._running.values():
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            for task in self._notifying:
                task.cancel()
            if tasks := self._tasks | self._notifying:
                await asyncio.wait(tasks, timeout=ENDING)

    async def _look(self) -> None:
        for folder, job in sorted(self._all(), key=lambda each: each[1]["created"]):
            if job["state"] == "cancelled" and folder in self._running:
                with contextlib.suppress(ProcessLookupError):
                    self._running[folder].kill()
            waits = job["state"] not in FINAL and folder not in self._running
            if waits and len(self._running) < self._settings.jobs and (claim := _claim(folder)) is not None:
                await self._start(folder, job, claim)
            hook = job["webhook"]
            untold = job["state"] in FINAL and hook is not None and hook["state"] == "waiting"
            if untold and (claim := _claim(folder)) is not None:
                _spawn(self._notify(folder, claim), self._notifying)

    async def _start(self, folder: Path, job: dict[str, Any], claim: int) -> None:
        _write(folder, {**job, "state": "running"})
        command, environment = self._command(folder, job)
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self._running[folder] = process
        _spawn(self._finish(folder, process, claim), self._tasks)

    def _command(self, folder: Path, job: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
        place = self._settings.tenants.place(job["tenant"])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        if isinstance(place, ServerAddress) and (password := urlsplit(place.secret).password):
            environment["PGPASSWORD"] = unquote(password)  # not among the arguments, which all users of the machine see
        options = [f"--{name.replace('_', '-')}={value}" for name, value in sorted(job["options"].items())]
        return [
            sys.executable, "-c", _CODE, "process", str(folder / _RECORDING), "--out", str(folder / _OUT),
            f"--library={place}", "--wait", "-q", "--log-json", str(folder / _EVENTS),
            *self._settings.process_options, *options,
        ], environment  # fmt: skip

    async def _finish(self, folder: Path, process: asyncio.subprocess.Process, claim: int) -> None:
        try:
            message = (await process.communicate())[1].decode(errors="replace").strip().rpartition("\n")[2]
            if self.stopping:  # the next start resumes it
                return
            with contextlib.suppress(Refusal):  # it was deleted
                job = _read(folder)
                if job["state"] not in FINAL:
                    done = process.returncode == 0 and any((folder / _OUT).glob(f"*/{outputs.TRANSCRIPT}"))
                    reason = None if done else _reason(folder) or message or f"exit status {process.returncode}"
                    _write(
                        folder,
                        {**job, "state": "done" if done else "failed", "finished": _now(), "reason": reason},
                    )
                (folder / _RECORDING).unlink(missing_ok=True)
        finally:
            self._running.pop(folder, None)
            os.close(claim)
            self._wake.set()

    async def _notify(self, folder: Path, claim: int) -> None:
        """Deliver the webhook of a finished job, several times where it fails."""
        try:
            job = _read(folder)
            hook = job["webhook"]
            body = json.dumps(_shown(job)).encode()
            state = "failed"
            for attempt in range(ATTEMPTS):
                try:
                    status = await asyncio.to_thread(self._rules.deliver, hook["url"], hook["secret"], body)
                    if 200 <= status < 300:
                        state = "delivered"
                        break
                except Exception:  # whatever a stranger's server answers; the next attempt may succeed
                    state = "failed"
                if attempt + 1 < ATTEMPTS:
                    await asyncio.sleep(4**attempt)
            with contextlib.suppress(Refusal):
                _write(folder, {**_read(folder), "webhook": {**hook, "state": state}})
        finally:
            os.close(claim)


def _spawn(work: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> None:
    """Start a task, which is in `tasks` until it ends."""
    task = asyncio.get_running_loop().create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


def _shown(job: Mapping[str, Any]) -> dict[str, Any]:
    hook = job["webhook"]
    names = ("id", "state", "created", "finished", "bytes", "options", "reason")
    return {**{name: job[name] for name in names}, "webhook": None if hook is None else hook["state"]}


def _read(folder: Path) -> dict[str, Any]:
    try:
        job: dict[str, Any] = json.loads((folder / _JOB).read_text(encoding="utf-8"))
        return job
    except (OSError, ValueError) as error:
        raise Refusal("recording_not_found", "no recording has this id") from error


def _write(folder: Path, job: Mapping[str, Any]) -> None:
    if folder.is_dir():
        files.write(folder / _JOB, outputs.as_json(job))


def _claim(folder: Path) -> int | None:
    """The open file whose lock makes a job this process's; None: another one has it."""
    import fcntl

    try:
        descriptor = os.open(folder / _CLAIM, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a log."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    lines = []
    for line in text.split("\n")[:-1]:
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            lines.append({key: value for key, value in event.items() if key not in ("id", "models")})
    return lines


def _progress(folder: Path) -> dict[str, Any] | None:
    """The last report of progress."""
    reports = [line for line in _lines(folder / _EVENTS) if line.get("event") in ("progress", "stage")]
    if not reports:
        return None
    return {"stage": reports[-1].get("stage"), "share": reports[-1].get("share"), "eta": reports[-1].get("eta")}


def _reason(folder: Path) -> str | None:
    """Why the recording failed, as the report of the run says."""
    try:
        rows = json.loads((folder / _OUT / results.RUN).read_text(encoding="utf-8"))["recordings"]
        return str(rows[0]["reason"]) if rows else None
    except (OSError, ValueError, KeyError, IndexError, DiarizeError):
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")

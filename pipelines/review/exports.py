"""Exports follow corrections: written again in the background, some seconds after the last one, and at the end.

A correction is on the disk before its author is told so (`corrections.jsonl`); the exports are not. If the process is
killed, they are those of an earlier state, `diarize verify` counts the corrections that are not in them, and the next
review, edit or export brings them up to date.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from diarize.errors import DiarizeError, FormatError
from pipelines.results import corrections, outputs
from pipelines.review import edit

QUIET = 2.0  # s without a correction before exports are written
LONGEST = 20.0  # s after a correction at most, while others follow
SHARE = 10  # times what the last write took: long transcripts cost a tenth of a core


class ExportWriter:
    """Writes the exports of recordings again, in a thread of its own. `report` is called with what there is to say."""

    def __init__(self, report: Callable[[str], None], quiet: float = QUIET, longest: float = LONGEST) -> None:
        self._report, self._quiet, self._longest = report, quiet, longest
        self._changed: dict[Path, tuple[float, float]] = {}  # folder -> first and last change that is not written
        self._problems: dict[Path, str] = {}
        self._condition = threading.Condition()
        self._over = False
        self._thread = threading.Thread(target=self._run, name="exports", daemon=True)
        self._thread.start()

    def changed(self, folder: Path) -> None:
        """There is a new correction in the folder."""
        with self._condition:
            now = time.monotonic()
            self._changed[folder] = (self._changed.get(folder, (now, now))[0], now)
            self._condition.notify()

    def close(self) -> None:
        """Write what is not written yet."""
        with self._condition:
            self._over = True
            if self._changed:
                self._report("writing the exports ...")
            self._condition.notify()
        self._thread.join()

    def _run(self) -> None:
        pause = 0.0
        while True:
            with self._condition:
                folder = self._next()
                while folder is None and not self._over:
                    self._condition.wait(self._quiet / 4 if self._changed else None)
                    folder = self._next()
                if folder is None:
                    return
                del self._changed[folder]
            began = time.monotonic()
            self._write(folder)
            pause = SHARE * (time.monotonic() - began)
            with self._condition:
                if not self._over:
                    self._condition.wait_for(lambda: self._over, pause)

    def _next(self) -> Path | None:
        now = time.monotonic()
        for folder, (first, last) in self._changed.items():
            if self._over or now - last >= self._quiet or now - first >= self._longest:
                return folder
        return None

    def _write(self, folder: Path) -> None:
        try:
            edit.rewrite(folder)
            self._problems.pop(folder, None)
        except (DiarizeError, OSError) as error:
            if self._problems.get(folder) != str(error):
                self._report(f"the exports in {folder} are not up to date: {error}")
            self._problems[folder] = str(error)


def behind(folder: Path) -> int:
    """How many corrections are not in the exports of a folder."""
    if not corrections.exist(folder):
        return 0
    try:
        written = outputs.read_provenance(folder).get("corrections", {})
        return max(0, len(corrections.read_log(folder)[0]) - int(written.get("entries", 0)))
    except (FormatError, AttributeError, TypeError, ValueError):
        return 0

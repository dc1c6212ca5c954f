"""The recordings that a server shows: found once, by their ids, and opened when somebody looks at them.

An id of an address is looked up in a table of the folder's recordings. It is never a part of a path.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diarize import formats
from diarize.cache.store import Cache
from diarize.corrections.state import State
from diarize.errors import ConfigError, DiarizeError, FormatError
from diarize.types import Transcript
from pipelines.results import RUN, corrections, journal, outputs, sources
from pipelines.results.corrections import Corrections, Stale
from pipelines.results.integrity import is_results
from pipelines.review import document, page_html
from pipelines.review.background import SharedResult
from pipelines.review.document import Viewing
from pipelines.review.exports import ExportWriter, behind
from pipelines.review.page_html import ListedRecording
from pipelines.review.server.threads import VOICES
from pipelines.review.sound import BINS, Sound
from pipelines.review.voices import ChangeLibrary, SpeakerVoices, describe_speakers

MOST_OPEN = 8  # recordings in memory
MOST_OPERATIONS = 1000  # of one request


@dataclass
class ReviewRequest:
    """What is reviewed, and how."""

    folder: Path  # results of a run, or of one recording
    viewing: Viewing
    audio: tuple[Path, ...] = ()  # where recordings are looked for, by their sha256
    compare: Path | None = None  # results of another system, of a run or of one recording
    cache: Cache | None = None
    voices: SpeakerVoices | None = None
    library: ChangeLibrary | None = None  # to enrol speakers
    report: Callable[[str], None] = field(default=lambda text: None)  # of what happens in the background


class Answer(Exception):
    """A request that ends with another answer than 200: its status, and what is said."""

    def __init__(self, status: int, content: dict[str, Any]) -> None:
        super().__init__(status, content)
        self.status, self.content = status, content


class ReviewedRecording:
    """One recording: its corrections, its sound, and what the page shows of it. Safe for several threads."""

    def __init__(self, id: str, folder: Path, request: ReviewRequest, exports: ExportWriter, scratch: Path) -> None:
        self.id, self.folder = id, folder
        self._request, self._exports = request, exports
        self._corrections = Corrections(folder)
        self._lock = threading.RLock()
        self._rendered: dict[str, tuple[tuple[str, str], bytes]] = {}  # what is shown -> (for which corrections, bytes)
        self._other = _other(request.compare, id)
        self._compared: SharedResult[dict[str, Any]] = SharedResult(VOICES)
        path = sources.find(self._corrections.transcript, folder, request.audio)
        self.sound = None if path is None else Sound(self._corrections.transcript, path, request.cache, scratch)
        if behind(folder):
            exports.changed(folder)

    @property
    def digest(self) -> str:
        """sha256 of the recording's file."""
        return self.sound.source.digest if self.sound is not None else ""

    def prepare(self) -> None:
        """Have page and state ready: of ten hours each takes about a second."""
        self.page()
        self.state()

    def state(self) -> bytes:
        """`state.json`."""
        return self._render("state", self._state)

    def page(self) -> bytes:
        """The page's HTML, with the transcript in it."""
        return self._render("page", self._page)

    def _render(self, name: str, make: Callable[[], bytes]) -> bytes:
        """What `make` gives, made once for each state of the corrections."""
        with self._lock:
            self._corrections.refresh()
            key = self._corrections.base, self._corrections.head
            if name not in self._rendered or self._rendered[name][0] != key:
                self._rendered[name] = key, make()
            return self._rendered[name][1]

    def _state(self) -> bytes:
        audio = peaks = None
        if self.sound is not None:
            audio, peaks = {"url": "audio", "type": self.sound.type}, {"url": "peaks", "rate": BINS}
        return document.as_json(document.document(self._corrections, self._request.viewing, audio, peaks, self._other))

    def _page(self) -> bytes:
        return page_html.page(self._corrections.corrected(), self._request.viewing.blind).encode()

    def corrected(self) -> Transcript:
        """The transcript with all corrections."""
        with self._lock:
            self._corrections.refresh()
            return self._corrections.corrected()

    def append(self, after: int, operations: Sequence[dict[str, Any]], version: str | None) -> dict[str, Any]:
        """Add operations after entry `after`: the new entries, on the disk. Raises Answer (409, 422) and OutputError.

        `version`: the transcript that the page has seen.
        """
        with self._lock:
            try:
                entries, problem = self._corrections.append_all(
                    operations, self._request.viewing.author, after, version
                )
            except Stale:
                reload = version is not None and version != self._corrections.base
                raise Answer(409, {"entries": self._entries(after), "reload": reload}) from None
            if entries:
                self._exports.changed(self.folder)
            new = self._entries(after)
        if problem:
            raise Answer(422, {"problem": problem, "index": len(entries), "entries": new})
        return {"entries": new}

    def news(self, after: int, version: str) -> tuple[list[dict[str, Any]], str]:
        """The entries after entry `after`, whoever wrote them, and the transcript that they are for."""
        with self._lock:
            self._corrections.refresh()
            return self._entries(after), self._corrections.base

    @property
    def version(self) -> str:
        """The sha256 of the transcript.json that was read last."""
        return self._corrections.base

    def _entries(self, after: int) -> list[dict[str, Any]]:
        return [document.entry(self._corrections, one) for one in self._corrections.applied[max(0, after) :]]

    def speakers(self) -> dict[str, Any]:
        """`speakers.json`, at once. While voices are compared, `pending` is true: candidates are those of the run then,
        and there are no pairs. What could not be compared is tried again with the next call; `problem` says why."""
        with self._lock:
            self._corrections.refresh()
            transcript, state = self._corrections.transcript, self._corrections.history.state
            key = self._corrections.base, self._corrections.head
        blind, voices, sound = self._request.viewing.blind, self._request.voices, self.sound
        described = describe_speakers(transcript, state, blind)
        if voices is None or sound is None:
            return {**described, "problem": "the recording was not found" if sound is None else ""}
        try:
            compared = self._compared.get(
                (*key, voices.library_digests()), lambda: voices.describe(transcript, state, sound.decoded, blind)
            )
        except DiarizeError as error:
            return {**described, "problem": str(error)}
        return {**described, "pending": True} if compared is None else compared

    def enrol(self, speaker: str, name: str, consent: str) -> dict[str, Any]:
        """Enrol a speaker; what was done. Raises Answer (404, 422)."""
        if self._request.library is None or self._request.voices is None:
            raise Answer(404, {"problem": "start diarize review with --library to enrol"})
        recording = self.sound.path if self.sound is not None else None
        try:
            with self._request.library() as library:
                result = self._request.voices.enrol(library, self.folder, speaker, name, consent, recording)
        except DiarizeError as error:
            raise Answer(422, {"problem": str(error)}) from None
        if result.person is None:
            reasons = "; ".join(dict.fromkeys(row.reason for row in result.rows if row.reason))
            raise Answer(422, {"problem": f"nobody was enrolled: {reasons}"})
        complete = "complete" if result.complete else f"not complete: {result.wanted:.0f} s are wanted"
        message = f"{result.person.name} is enrolled: {result.seconds:.1f} s of speech, {complete}"
        return {"message": message, "id": result.person.id, "complete": result.complete}

    def export(self, format: str) -> tuple[str, bytes]:
        """(name of the file, content) of the corrected transcript in a format. Raises Answer (404) and FormatError."""
        if format not in formats.FORMATS or self._request.viewing.blind:
            raise Answer(404, {"problem": "there is no such format"})
        return f"{self.id}{formats.suffix(format)}", formats.encode(format, self.corrected())


class ReviewedRun:
    """All recordings of a folder. Close it: the exports are written then."""

    def __init__(self, request: ReviewRequest, scratch: Path) -> None:
        """Raises ConfigError where there are no results, FormatError where the only one cannot be read."""
        self.request, self._scratch = request, scratch
        self.folders = find_results(request.folder)
        self.exports = ExportWriter(request.report)
        self._open: OrderedDict[str, ReviewedRecording] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def only(self) -> str | None:
        """The id of the recording, where there is one."""
        return next(iter(self.folders)) if len(self.folders) == 1 else None

    def recording(self, id: str) -> ReviewedRecording:
        """The recording with this id. Raises Answer (404), and FormatError where its transcript cannot be read."""
        if id not in self.folders:
            raise Answer(404, {"problem": "there is no such recording"})
        with self._lock:
            if id not in self._open:
                self._open[id] = ReviewedRecording(id, self.folders[id], self.request, self.exports, self._scratch)
                while len(self._open) > MOST_OPEN:
                    self._open.popitem(last=False)
            self._open.move_to_end(id)
            for other in self._open.values():
                if other.id != id and other.sound is not None:
                    other.sound.forget()
            return self._open[id]

    def listing(self) -> str:
        """The page that lists the recordings."""
        rows = journal.read_json(self.request.folder / RUN).get("recordings", [])
        durations = {str(row.get("id")): row.get("duration") for row in rows if isinstance(row, dict)}
        return page_html.listing(
            self.request.folder.resolve().name, [self._listed(id, durations) for id in self.folders]
        )

    def _listed(self, id: str, durations: dict[str, Any]) -> ListedRecording:
        duration = durations.get(id)
        known = float(duration) if isinstance(duration, int | float) else None
        try:
            return ListedRecording(id, known, len(corrections.read_log(self.folders[id])[0]))
        except FormatError as error:
            return ListedRecording(id, known, 0, error.problem)

    def close(self) -> None:
        """Write the exports that are not up to date."""
        self.exports.close()


def find_results(folder: Path) -> dict[str, Path]:
    """Id -> folder, of the recordings with results in `folder`, or of the one whose results it holds.

    Raises ConfigError where there are none.
    """
    if (folder / outputs.TRANSCRIPT).exists():
        outputs.read(folder)
        return {folder.resolve().name: folder}
    if not is_results(folder):
        problem = "has no results of `diarize process`"
        raise ConfigError(
            "review", str(folder), problem, "Name the --out folder of a run, or the folder of a recording."
        )
    results = {
        path.parent.name: path.parent
        for path in sorted(folder.glob(f"*/{outputs.TRANSCRIPT}"))
        if not path.parent.name.startswith(".") and not path.parent.is_symlink()
    }
    if not results:
        raise ConfigError(
            "review", str(folder), "has no finished recording", "Wait for the run, or look at its report."
        )
    return results


def _other(compare: Path | None, id: str) -> State | None:
    """The result of another system for a recording; None where there is none. Raises FormatError."""
    if compare is None:
        return None
    for folder in (compare / id, compare):
        if (folder / outputs.TRANSCRIPT).exists():
            return State.of(outputs.read_corrected(folder))
    return None

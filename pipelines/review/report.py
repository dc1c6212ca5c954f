"""One file that shows a recording's transcript, its sound and its doubts, without a server: `diarize report`.

The file has the same page as `diarize review`, all data in it, and a content security policy by hashes. It asks nothing
of any network. The same results give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from diarize import files
from diarize.cache.store import Cache
from diarize.errors import FormatError
from pipelines.results import outputs, sources
from pipelines.results.corrections import Corrections
from pipelines.review import document, page_html, scratch
from pipelines.review.document import Viewing
from pipelines.review.sound import BINS, OPUS, Sound
from pipelines.review.voices import describe_speakers

AudioMode = Literal["embed", "link", "none"]
ASSETS = Path(__file__).resolve().parent / "page"  # what `web/` builds


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """The file, its size and that of the sound in it (bytes), and what is missing."""

    path: Path
    size: int
    sound: int
    linked: Path | None = None  # the file that is played, where it is not in the report
    notes: tuple[str, ...] = ()


def write(
    folder: Path, path: Path, audio: AudioMode, author: str, places: tuple[Path, ...] = (), cache: Cache | None = None
) -> WrittenReport:
    """Write the report of the results in `folder` to `path`.

    `audio`: embed puts the sound into the file, as Opus; link plays the recording where it is, by a relative address,
    or Opus beside the report where browsers cannot play it; none leaves the sound out. `places`: where the recording is
    looked for. Raises FormatError, AudioError and OutputError.
    """
    corrections = Corrections(folder)
    style, script = read_asset("review.css").decode(), read_asset("review.js").decode()
    recording = sources.find(corrections.transcript, folder, places) if audio != "none" else None
    notes = [] if audio == "none" or recording is not None else ["the recording was not found: no sound in the report"]
    playable: dict[str, str] | None = None
    peaks: dict[str, Any] | None = None
    embedded, linked = 0, None
    if recording is not None:
        with scratch.folder() as temporary:
            source = Sound(corrections.transcript, recording, cache, temporary)
            if audio == "embed":
                content = source.opus().read_bytes()
                embedded = len(content)
                playable = {"url": f"data:{OPUS};base64,{base64.b64encode(content).decode()}", "type": OPUS}
            else:
                played = source.playable()
                linked = played.path
                if linked != recording:
                    linked = path.with_suffix(".opus")
                    files.write(linked, played.path.read_bytes())
                playable = {"url": _relative(linked, path), "type": played.type}
            peaks = {"data": base64.b64encode(source.peaks()).decode(), "rate": BINS}
    state = document.document(corrections, Viewing(author, readonly=True), playable, peaks)
    state["speakers"] = describe_speakers(corrections.transcript, corrections.history.state)
    html = _page(corrections, style, script, state, linked is not None)
    files.write(path, html)
    return WrittenReport(path, len(html), embedded, linked, tuple(notes))


def read_asset(name: str) -> bytes:
    """A file of the built page. Raises FormatError where it was not built."""
    try:
        return (ASSETS / name).read_bytes()
    except OSError as error:
        problem = f"the page is not there: {error.strerror or error}"
        raise FormatError(str(ASSETS / name), problem, "Build it: npm run build, in web/.") from error


def _page(corrections: Corrections, style: str, script: str, state: dict[str, Any], linked: bool) -> bytes:
    script = script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
    style = style.replace("</style", "<\\/style")
    text = document.as_json(state).decode().replace("<", "\\u003c")
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data: blob:; "
        f"media-src data: blob:{' file:' if linked else ''}; base-uri 'none'; form-action 'none'"
    )
    return page_html.single_file(corrections.corrected(), style, script, text, policy).encode("utf-8")


def _hash(text: str) -> str:
    """The source expression of an inline element (W3C Content Security Policy Level 3, 2.3.1)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _relative(target: Path, report: Path) -> str:
    """The address of a file from a report, relative where both are on one drive."""
    try:
        parts = Path(os.path.relpath(target.resolve(), report.resolve().parent)).parts
    except ValueError:
        return target.resolve().as_uri()
    return "/".join(quote(part) for part in parts)


def default_path(folder: Path) -> Path:
    """Where a report is written without --out: in the current folder, as results have no place for other files."""
    return Path(f"{outputs.read(folder).recording}.review.html".replace("/", "_"))

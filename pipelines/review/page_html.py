"""HTML around the page: its address of scripts and data, and the whole transcript for readers without JavaScript.

Every name and text is escaped; nothing of a transcript becomes markup, an attribute or a script.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from diarize.formats.naming import encodable, make_labels, visible
from diarize.formats.times import format_short_clock, round_transcript
from diarize.types import Transcript


@dataclass(frozen=True, slots=True)
class ListedRecording:
    """A line of the list of recordings."""

    id: str
    duration: float | None  # s; None: not known
    corrections: int
    problem: str = ""


def listing(title: str, recordings: Sequence[ListedRecording]) -> str:
    """The page that lists the recordings of a run."""
    rows = []
    for one in recordings:
        clock = "" if one.duration is None else format_short_clock(one.duration)
        link = f'<a href="/r/{quote(one.id, safe="")}/" dir="auto">{_text(one.id)}</a>'
        count = _text(one.problem) if one.problem else str(one.corrections or "")
        rows.append(f"<tr><td>{link}</td><td>{clock}</td><td>{count}</td></tr>")
    body = (
        f'<main class="listing"><h1 dir="auto">{_text(title)}</h1><table><thead><tr><th scope="col">recording</th>'
        f'<th scope="col">length</th><th scope="col">corrections</th></tr></thead><tbody>{"".join(rows)}</tbody>'
        "</table></main>"
    )
    return _document(title, "", '<link rel="stylesheet" href="/assets/review.css">', [body])


def page(transcript: Transcript, blind: bool) -> str:
    """The page of a recording, for the server."""
    head = '<link rel="stylesheet" href="/assets/review.css">'
    body = [
        '<div id="app" data-source="state.json"></div>',
        "<noscript>",
        *plain_transcript(transcript, blind),
        "</noscript>",
        '<script type="module" src="/assets/review.js"></script>',
    ]
    return _document(transcript.recording, transcript.language or "", head, body)


def single_file(
    transcript: Transcript, style: str, script: str, state: str, policy: str, hidden: Iterable[str] = ()
) -> str:
    """The page of a recording in one file. `state` is JSON, `policy` the content security policy."""
    head = f'<meta http-equiv="Content-Security-Policy" content="{html.escape(policy)}">\n<style>{style}</style>'
    body = [
        '<div id="app" data-source="#state"></div>',
        "<noscript>",
        *plain_transcript(transcript, False),
        "</noscript>",
        f'<script type="application/json" id="state">{state}</script>',
        *hidden,
        f'<script type="module">{script}</script>',
    ]
    return _document(transcript.recording, transcript.language or "", head, body)


def plain_transcript(transcript: Transcript, blind: bool) -> Iterator[str]:
    """The transcript to read: a heading and a paragraph an utterance; a turn, where there are no words."""
    transcript = round_transcript(transcript)
    labels: dict[str | None, str] = {None: "?", **{speaker.id: speaker.id for speaker in transcript.speakers}}
    if not blind:
        labels |= make_labels(transcript)
    yield f'<main class="plain"><h1 dir="auto">{_text(transcript.recording)}</h1>'
    yield "<p>This page needs JavaScript to play and to correct. The transcript:</p>"
    if transcript.draft:
        yield f"<p>DRAFT: {_text(transcript.draft)}</p>"
    if transcript.words:
        for utterance in transcript.utterances():
            yield _paragraph(utterance.start, labels[utterance.speaker], utterance.text)
    else:
        for turn in transcript.turns:
            yield _paragraph(turn.start, labels[turn.speaker], "")
    yield "</main>"


def _paragraph(start: float, label: str, text: str) -> str:
    clock = format_short_clock(start)
    return f'<p><time>{clock}</time> <b><bdi>{_text(label)}</bdi>:</b> <span dir="auto">{_text(text)}</span></p>'


def _document(title: str, language: str, head: str, body: Iterable[str]) -> str:
    lang = f' lang="{html.escape(visible(language))}"' if language else ""
    return encodable(
        f'<!DOCTYPE html>\n<html{lang}>\n<head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{_text(title) or "?"}</title>\n{head}</head>\n<body>\n'
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _text(text: str) -> str:
    return html.escape(visible(text))

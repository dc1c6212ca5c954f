"""A page for reading, in one file: no script, no address of anything else, every name and text escaped.

What a person decided is marked: words that somebody corrected are underlined, confirmed turns have a check mark.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from itertools import groupby

from diarize.formats.entries import entries, speaking_times
from diarize.formats.naming import encodable, make_labels, visible
from diarize.formats.times import format_short_clock, round_transcript
from diarize.text import join
from diarize.types import Transcript, Word

_CHECK = '<span title="decided by a person">✓</span>'
_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { text-align: start; padding: 0.2rem 1rem 0.2rem 0; border-bottom: 1px solid #8888; }
p { margin: 0.6rem 0; }
time { font-variant-numeric: tabular-nums; opacity: 0.75; margin-inline-end: 0.5rem; }
mark { background: none; color: inherit; text-decoration: underline 2px; text-underline-offset: 3px; }
.draft { border: 2px solid; padding: 0.5rem 1rem; font-weight: bold; }
"""


def dumps(transcript: Transcript) -> str:
    """The page. Without words, one paragraph for each turn. Words that are a draft say so at the top."""
    transcript = round_transcript(transcript)
    labels = make_labels(transcript)
    title = _text(transcript.recording) or "?"
    language = html.escape(visible(transcript.language or ""))
    head = [
        "<!DOCTYPE html>",
        f'<html lang="{language}">',
        '<head><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        '<meta name="viewport" content="width=device-width">',
        f"<title>{'DRAFT: ' if transcript.draft else ''}{title}</title>",
        f"<style>{_STYLE}</style></head>",
        f'<body><h1 dir="auto">{title}</h1>',
    ]
    if transcript.draft:
        head.append(f'<p class="draft">DRAFT: {_text(transcript.draft)}</p>')
    head.append(f"<p>Length: {format_short_clock(transcript.duration)}</p>")
    if transcript.speakers:
        head.append("<table><thead><tr><th>speaker</th><th>speaking time</th></tr></thead><tbody>")
        times = speaking_times(transcript)
        for speaker in transcript.speakers:
            mark = f" {_CHECK}" if speaker.human else ""
            clock = format_short_clock(times[speaker.id])
            head.append(f'<tr><td dir="auto">{_text(labels[speaker.id])}{mark}</td><td>{clock}</td></tr>')
        head.append("</tbody></table>")
    return encodable("\n".join([*head, "<main>", *_paragraphs(transcript, labels), "</main>", "</body></html>"]) + "\n")


def _paragraphs(transcript: Transcript, labels: dict[str | None, str]) -> Iterator[str]:
    for entry in entries(transcript):
        yield _paragraph(entry.start, labels[entry.speaker], _words(entry.words), entry.human)


def _paragraph(start: float, label: str, content: str, confirmed: bool) -> str:
    mark = f" {_CHECK}" if confirmed else ""
    clock = format_short_clock(start)
    return f'<p><time>{clock}</time><b><bdi>{_text(label)}</bdi>:</b>{mark} <span dir="auto">{content}</span></p>'


def _words(words: Sequence[Word]) -> str:
    """The text, runs of words that a person decided marked."""
    parts = []
    for human, run in groupby(words, key=lambda word: word.human):
        if text := _text(join(word.text for word in run)):
            parts.append(f'<mark title="decided by a person">{text}</mark>' if human else text)
    return " ".join(parts)


def _text(text: str) -> str:
    return html.escape(visible(text))

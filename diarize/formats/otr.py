"""oTranscribe (.otr): JSON with the text as HTML and the name of the media file. Each utterance is a paragraph.

A time stamp is `<span class="timestamp" contenteditable="false" data-timestamp="12.3">0:12</span>`, as oTranscribe
writes it; everything else is escaped.
"""

from __future__ import annotations

import html
from pathlib import PurePosixPath

from diarize.formats.jsontext import dump_json
from diarize.formats.naming import make_labels, visible
from diarize.formats.times import round_transcript
from diarize.types import Transcript


def dumps(transcript: Transcript) -> str:
    """One JSON object. Without words, one paragraph for each turn. Words that are a draft say so first."""
    transcript = round_transcript(transcript)
    labels = make_labels(transcript)
    rows = [(u.start, u.speaker, u.text) for u in transcript.utterances()]
    if not transcript.words:
        rows = [(turn.start, turn.speaker, "") for turn in transcript.turns]
    paragraphs = [f"<p>DRAFT: {_text(transcript.draft)}</p>"] if transcript.draft else []
    for start, speaker, text in rows:
        minutes, seconds = divmod(int(start), 60)
        clock = f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}" if minutes >= 60 else f"{minutes}:{seconds:02d}"
        stamp = f'<span class="timestamp" contenteditable="false" data-timestamp="{start:.3f}">{clock}</span>'
        paragraphs.append(f"<p>{stamp}&nbsp;<b>{_text(labels[speaker])}:</b> {_text(text)}</p>")
    source = transcript.provenance.source
    media = transcript.recording if source is None else PurePosixPath(source.path).name
    content = {"text": "".join(paragraphs), "media": media, "media-time": 0.0, "media-source": ""}
    return dump_json(content, "oTranscribe") + "\n"


def _text(text: str) -> str:
    return html.escape(visible(text))

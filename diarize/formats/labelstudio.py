"""Label Studio, a task with predictions (Label Studio documentation, "Import pre-annotated data"): one region a turn.

The label of a region is its speaker, a text area with the same id has its text. The labelling interface that it needs:

    <View>
      <Labels name="label" toName="audio"/>
      <Audio name="audio" value="$audio"/>
      <TextArea name="transcription" toName="audio" perRegion="true" editable="true"/>
    </View>

with a <Label value="Anna"/> for each speaker. What people change comes back as `annotations`.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from diarize.errors import FormatError
from diarize.formats.jsontext import dump_json, parse_json
from diarize.formats.naming import make_labels, visible
from diarize.formats.segments import text_segments
from diarize.formats.tiers import MOST_CHARACTERS, Label, TierFile, milliseconds
from diarize.formats.timed_text import parse_time
from diarize.formats.times import round_transcript
from diarize.types import Transcript


def dumps(transcript: Transcript) -> str:
    """A list with one task. `data.audio` is the name of the recording's file: Label Studio needs its address there."""
    transcript = round_transcript(transcript)
    labels = make_labels(transcript)
    source = transcript.provenance.source
    result: list[dict[str, Any]] = []
    for number, row in enumerate(text_segments(transcript), 1):
        common = {"id": f"r{number}", "to_name": "audio", "original_length": transcript.duration}
        span = {"start": row.start, "end": row.end, "channel": 0}
        labelled = {**span, "labels": [labels[row.speaker]]}
        result.append({**common, "from_name": "label", "type": "labels", "value": labelled})
        if text := visible(row.text):
            value = {**span, "text": [text]}
            result.append({**common, "from_name": "transcription", "type": "textarea", "value": value})
    audio = transcript.recording if source is None else PurePosixPath(source.path).name
    prediction = {"model_version": transcript.provenance.product, "result": result}
    return dump_json([{"data": {"audio": audio}, "predictions": [prediction]}], "Label Studio task") + "\n"


def loads(text: str, where: str) -> TierFile:
    """The regions of the last annotation of a task, else of its last prediction. Raises FormatError."""
    if len(text) > MOST_CHARACTERS:
        raise FormatError(where, f"has more than {MOST_CHARACTERS} characters")
    value = parse_json(text.lstrip("\ufeff"), where)
    tasks = value if isinstance(value, list) else [value]
    if len(tasks) != 1 or not isinstance(tasks[0], dict):
        raise FormatError(where, "not one task of Label Studio", "Export one task, as JSON.")
    versions = tasks[0].get("annotations") or tasks[0].get("predictions")
    if not isinstance(versions, list) or not versions or not isinstance(versions[-1], dict):
        raise FormatError(where, "a task without annotations and predictions")
    regions: dict[str, Label] = {}
    texts: dict[str, str] = {}
    for part in _list(versions[-1].get("result"), where):
        content = part.get("value") if isinstance(part, dict) else None
        if not isinstance(content, dict) or not isinstance(part.get("id"), str):
            continue  # a choice or a relation
        if isinstance(content.get("labels"), list):
            start, end = parse_time(content.get("start")), parse_time(content.get("end"))
            if start is None or end is None or not start < end:
                raise FormatError(where, f"the region {part['id'][:40]!r} has no start and end")
            names = [name for name in content["labels"] if isinstance(name, str)]
            speaker = names[0] if names and names[0] != "?" else None
            regions[part["id"]] = Label(milliseconds(start, where), milliseconds(end, where), speaker, "")
        elif "text" in content:
            written = content["text"] if isinstance(content["text"], list) else [content["text"]]
            texts[part["id"]] = " ".join(" ".join(str(line) for line in written).split())
    turns = [Label(r.start, r.end, r.speaker, texts.get(id, "")) for id, r in regions.items() if r.start < r.end]
    return TierFile(tuple(sorted(turns, key=lambda one: (one.start, one.end, one.speaker or "", one.text))))


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise FormatError(where, "an annotation without a list of results")
    return value

"""The ids of RTTM, UEM, CTM, STM and SegLST with the names of the speakers: a map from safe tokens to names (JSON)."""

from __future__ import annotations

from diarize.formats.jsontext import dump_json
from diarize.formats.naming import to_token
from diarize.types import Transcript


def dumps(transcript: Transcript) -> str:
    """One line for each speaker: {"recording": {"token", "id"}, "speakers": [{"token", "id", "name", "voice",
    "link"}]}.
    """
    where = transcript.recording
    people = [
        "    "
        + dump_json(
            {"token": to_token(s.id), "id": s.id, "name": s.name, "voice": s.voice, "link": s.link},
            where,
        )
        for s in transcript.speakers
    ]
    listed = "[\n" + ",\n".join(people) + "\n  ]" if people else "[]"
    recording = dump_json({"token": to_token(where), "id": where}, where)
    return f'{{\n  "recording": {recording},\n  "speakers": {listed}\n}}\n'

"""The ids of RTTM, UEM, CTM, STM and SegLST, and whom they mean: the map back from safe tokens to names (JSON)."""

from __future__ import annotations

from diarize.formats.jsontext import dump
from diarize.formats.naming import token
from diarize.types import Transcript


def dumps(transcript: Transcript) -> str:
    """One speaker a line: {"recording": {"token", "id"}, "speakers": [{"token", "id", "name", "voice", "link"}]}."""
    where = transcript.recording
    people = [
        "    "
        + dump(
            {"token": token(s.id), "id": s.id, "name": s.name, "voice": s.voice, "link": s.link},
            where,
        )
        for s in transcript.speakers
    ]
    listed = "[\n" + ",\n".join(people) + "\n  ]" if people else "[]"
    return f'{{\n  "recording": {dump({"token": token(where), "id": where}, where)},\n  "speakers": {listed}\n}}\n'

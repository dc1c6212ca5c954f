"""transcript.json: an exact round trip, a published schema, and a clear word about anything else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings

from diarize.errors import FormatError
from diarize.formats import transcript_json
from diarize.types import Candidate, Provenance, Speaker, Transcript, Turn
from tests.formats.samples import EMPTY, HOSTILE, MEETING, WORDLESS, transcripts

SCHEMA = json.loads(Path(transcript_json.__file__).with_name("transcript.schema.json").read_text(encoding="utf-8"))


@given(transcripts())
@settings(deadline=None)
def test_fault_36_every_transcript_comes_back_exactly(transcript: Transcript) -> None:
    text = transcript_json.dumps(transcript)
    assert transcript_json.loads(text, "t.json") == transcript
    assert transcript_json.dumps(transcript_json.loads(text, "t.json")) == text


@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
def test_fault_36_names_are_kept_to_the_letter(hostile: str) -> None:
    transcript = Transcript(hostile, 1.0, None, (Speaker(hostile, hostile),), (Turn(0.0, 1.0, hostile),))
    text = transcript_json.dumps(transcript)
    text.encode("utf-8")
    assert transcript_json.loads(text, "t.json") == transcript


@pytest.mark.parametrize("transcript", [MEETING, EMPTY, WORDLESS], ids=lambda t: t.recording)
def test_what_is_written_follows_the_schema(transcript: Transcript) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(json.loads(transcript_json.dumps(transcript)), SCHEMA)
    assert transcript_json.loads(transcript_json.dumps(transcript), "t.json") == transcript


def test_a_transcript_of_an_earlier_version_has_no_licences_and_is_read() -> None:
    value = json.loads(transcript_json.dumps(MEETING))
    assert value["provenance"].pop("licences") == dict(MEETING.provenance.licences) != {}
    jsonschema.validate(value, SCHEMA)
    earlier = replace(MEETING, provenance=replace(MEETING.provenance, licences={}))
    assert transcript_json.loads(json.dumps(value), "t.json") == transcript_json.loads(
        transcript_json.dumps(earlier), "t.json"
    )


def test_the_schema_and_the_reader_refuse_the_same() -> None:
    value = json.loads(transcript_json.dumps(MEETING))
    for change in (
        {"recording": 3},
        {"duration": -1.0},
        {"duration": True},
        {"words": None},
        {"extra": 1},
        {"turns": [{"start": 0.0, "end": 1.0, "speaker": "S1"}]},
        {"words": [{"start": 0, "end": 1, "text": "a", "probability": 1.5, "speaker": None}]},
        {"speakers": [value["speakers"][0] | {"name": 7}]},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(value | change, SCHEMA)
        with pytest.raises(FormatError, match=r"t\.json"):
            transcript_json.loads(json.dumps(value | change), "t.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "diarize-transcript/2"}, "made by a newer version .*Upgrade"),
        ({"schema": "something/1"}, "unknown schema"),
        ({"schema": None}, 'lacks "schema"'),
        ({"colour": "red"}, "has keys that diarize-transcript/1 does not: colour"),
        ({"turns": [{"start": 2.0, "end": 1.0, "speaker": "S1", "confidence": None}]}, "0 <= start < end"),
        ({"turns": [{"start": 0.0, "end": 1.0, "speaker": "who", "confidence": None}]}, "not listed: .*who"),
        (
            {"words": [{"start": "0", "end": 1, "text": "a", "probability": 1, "speaker": None}]},
            r"words\[0\].start is a",
        ),
        ({"duration": 10**400}, "duration is too large"),
        ({"lost": [5]}, r"lost\[0\] is a number, not an object"),
        ({"provenance": []}, "provenance is a list"),
    ],
)
def test_what_is_no_transcript_is_told_where(change: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        transcript_json.loads(json.dumps(json.loads(transcript_json.dumps(MEETING)) | change), "t.json")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": NaN}', "[" * 100_000, "nonsense", "\x00"])
def test_what_is_no_json_is_a_format_error(text: str) -> None:
    with pytest.raises(FormatError, match=r"t\.json"):
        transcript_json.loads(text, "t.json")


def test_infinite_times_are_refused() -> None:
    text = transcript_json.dumps(EMPTY).replace('"duration": 3.0', '"duration": 1e400')
    with pytest.raises(FormatError, match="duration"):
        transcript_json.loads(text, "t.json")


def test_settings_that_json_cannot_hold_are_refused() -> None:
    for value in (Path("x"), float("nan"), {1, 2}):
        with pytest.raises(FormatError, match="cannot be written as JSON"):
            transcript_json.dumps(replace(EMPTY, provenance=Provenance(settings={"a": {"b": value}})))


def test_numbers_of_numpy_are_written_as_numbers() -> None:
    speaker = Speaker("S", "n", (Candidate("v", "n", float(np.float32(0.5))),))
    turn = Turn(np.float64(0.25), np.float64(1), "S", np.float64(0.5))
    text = transcript_json.dumps(Transcript("r", np.float64(2), None, (speaker,), (turn,)))
    assert '{"start": 0.25, "end": 1.0, "speaker": "S", "confidence": 0.5}' in text


def test_a_file_that_is_not_there_or_no_text_is_a_format_error(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        transcript_json.read(tmp_path / "none.json")
    (tmp_path / "bytes.json").write_bytes(b'{"schema": "\xff"}')
    with pytest.raises(FormatError, match="byte 12"):
        transcript_json.read(tmp_path / "bytes.json")

"""A transcript as people use it: formats, tables, files, and to and from the objects of other tools."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import diarize
import run_pipeline
from diarize import formats, types
from diarize.errors import FormatError, OutputError
from diarize.formats import transcript_json
from diarize.types import Speaker, Turn, Word

NAMES = ("NA", "01", "<script>", "Anna Maria", "a --> b", "=cmd()", "ä\n日本", "", "nan", "x" * 90)
HOSTILE = diarize.Transcript(
    recording="NA",
    duration=12.0,
    language="en",
    speakers=tuple(Speaker(name) for name in NAMES),
    turns=tuple(Turn(i + 0.25, i + 1.5, name) for i, name in enumerate(NAMES)),
    words=(
        *(Word(i + 0.25, i + 0.5, f"word{i},", 0.5, name) for i, name in enumerate(NAMES)),
        Word(11.5, 11.75, "nobody's", 0.25),
    ),
)


def test_it_is_a_transcript_with_methods() -> None:
    assert isinstance(HOSTILE, types.Transcript)
    assert repr(HOSTILE) == "<Transcript 'NA': 12.0 s, 10 speakers, 10 turns, 11 words>"
    assert isinstance(replace(HOSTILE, language="de"), diarize.Transcript)
    assert pickle.loads(pickle.dumps(HOSTILE)) == HOSTILE
    provenance = types.Provenance(source=types.Source("a", "", 0, notes=("clipped",)), notes=("no words",))
    noted = replace(HOSTILE, provenance=provenance)
    assert noted.notes == ("clipped", "no words") and repr(noted).endswith("; 2 notes: see .notes>")


def test_every_format_is_a_method() -> None:
    for name in set(formats.FORMATS) - {"seglst", "speakers"}:
        content = getattr(HOSTILE, f"to_{name}")()
        assert (content.encode() if isinstance(content, str) else content) == formats.encode(name, HOSTILE)
    assert HOSTILE.to_seglst() == json.loads(formats.dumps("seglst", HOSTILE))


@pytest.mark.parametrize("format", formats.FORMATS)
def test_a_file_is_written_by_its_suffix(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"My talk.v2{formats.suffix(format).upper()}"
    path.write_text("former")
    assert HOSTILE.save(str(path)) == path
    assert path.read_bytes() == formats.encode(format, HOSTILE)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_what_cannot_be_saved_says_why(tmp_path: Path) -> None:
    for name in ("talk.doc", "talk", "json"):
        with pytest.raises(diarize.ConfigError) as caught:
            HOSTILE.save(tmp_path / name)
        assert str(caught.value).startswith(f"save: {name}: names no format by its suffix. Known: .json, .txt, .srt,")
    with pytest.raises(OutputError, match=r"there is no folder .*nowhere\. Make it first"):
        HOSTILE.save(tmp_path / "nowhere" / "talk.srt")
    with pytest.raises(TypeError, match="save: the path of a file is needed, as a str or a Path, not NoneType"):
        HOSTILE.save(None)  # type: ignore[arg-type]
    with pytest.raises(diarize.ConfigError, match="save: '': is no path"):
        HOSTILE.save("")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        HOSTILE.save(f"{tmp_path / 'file'}{os.sep}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_a_transcript_is_read_back_exactly(tmp_path: Path) -> None:
    HOSTILE.save(tmp_path)
    assert diarize.read(tmp_path) == diarize.read(str(tmp_path / "transcript.json")) == HOSTILE
    assert transcript_json.loads(HOSTILE.to_json(), "it").turns == HOSTILE.turns
    for path, message in {
        tmp_path / "nowhere.json": "No such file",
        tmp_path / "transcript.srt": "not JSON",
        tmp_path / "transcript.seglst.json": "not a transcript",
    }.items():
        with pytest.raises(FormatError, match=message):
            diarize.read(path)


def test_a_saved_folder_can_be_corrected_and_saved_again(tmp_path: Path) -> None:
    speaker = HOSTILE.speakers[0].id
    HOSTILE.save(f"{tmp_path / 'talk'}{os.sep}")
    assert run_pipeline.main(["edit", str(tmp_path / "talk"), "--name", f"{speaker}=Corrected Person"]) == 0
    for _ in range(2):
        assert "Corrected Person" in (tmp_path / "talk" / "transcript.txt").read_text("utf-8")
        assert diarize.read(tmp_path / "talk" / "transcript.json") == HOSTILE
        HOSTILE.save(tmp_path / "talk")
    (entry,) = (tmp_path / "talk" / "corrections.jsonl").read_text("utf-8").splitlines()
    assert "Corrected Person" in entry


def test_tables_hold_names_as_they_are(tmp_path: Path) -> None:
    turns, words = HOSTILE.to_dataframe(), HOSTILE.to_dataframe(words=True)
    assert list(turns.columns) == ["recording", "start", "end", "duration", "speaker", "name", "text"]
    assert turns["speaker"].tolist()[:-1] == [*NAMES] and turns["speaker"].isna().tolist()[-1]
    assert list(words.columns) == ["recording", "start", "end", "text", "probability", "speaker", "name"]
    assert words["speaker"].tolist()[:-1] == [*NAMES] and words["probability"].tolist()[-1] == 0.25
    assert turns["recording"].tolist() == ["NA"] * 11


def test_pyannote_and_back() -> None:
    pytest.importorskip("pyannote.core")
    annotation = HOSTILE.to_annotation()
    assert annotation.uri == "NA" and set(annotation.labels()) == set(NAMES)
    back = diarize.from_annotation(annotation, duration=12)
    assert (back.recording, back.duration, back.turns) == (HOSTILE.recording, 12.0, HOSTILE.turns)
    assert {speaker.id for speaker in back.speakers} == set(NAMES)
    same = diarize.Transcript("x", 2.0, None, (Speaker("a"), Speaker("b")), (Turn(0, 1, "a"), Turn(0, 1, "b")))
    assert diarize.from_annotation(same.to_annotation()).turns == same.turns  # two who talk at exactly the same time
    assert diarize.from_annotation(same.to_annotation(), recording="y").recording == "y"


def test_what_is_no_annotation_is_refused() -> None:
    core = pytest.importorskip("pyannote.core")
    with pytest.raises(TypeError, match=r"takes a pyannote\.core\.Annotation, not list"):
        diarize.from_annotation([])
    annotation = core.Annotation()
    annotation[core.Segment(-1, 2)] = 7
    with pytest.raises(FormatError, match="annotation: a segment needs finite 0 <= start < end"):
        diarize.from_annotation(annotation)
    empty = diarize.from_annotation(core.Annotation())
    assert (empty.recording, empty.duration, empty.turns) == ("recording", 0.0, ())


def test_a_missing_pyannote_is_told_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyannote", None)
    with pytest.raises(diarize.MissingExtra, match=r"'pyannote\.core' needs .*diarize-pipeline\[evaluate\]"):
        HOSTILE.to_annotation()


def test_seglst_and_back() -> None:
    back = diarize.from_seglst(HOSTILE.to_seglst())
    assert (back.recording, back.turns) == (HOSTILE.recording, HOSTILE.turns)
    assert {speaker.id for speaker in back.speakers} == set(NAMES)
    assert [(word.text, word.speaker) for word in back.words] == [(word.text, word.speaker) for word in HOSTILE.words]
    assert back.to_seglst() == HOSTILE.to_seglst()


def test_meeteval_and_back() -> None:
    meeteval = pytest.importorskip("meeteval")
    held = meeteval.io.SegLST(HOSTILE.to_seglst())
    assert diarize.from_seglst(held).turns == HOSTILE.turns
    decimal = held.map(
        lambda s: {**s, "start_time": Decimal(str(s["start_time"])), "end_time": np.float32(s["end_time"])}
    )
    assert diarize.from_seglst(decimal).turns == HOSTILE.turns


def segment(**changed: Any) -> dict[str, Any]:
    return {"session_id": "a", "speaker": "S", "start_time": 0, "end_time": 2, "words": "one two", **changed}


def test_a_session_is_chosen_and_faults_are_told_by_number() -> None:
    two = [segment(), segment(session_id="b")]
    assert diarize.from_seglst(two, recording="b", duration=5).duration == 5
    for segments, how, message in (
        (two, {}, r"segments: there are 2 sessions \(a, b\)\. Choose one: recording=NAME\."),
        (two, {"recording": "c"}, r"no session is called 'c'\. There are: a, b\."),
        ([segment(), segment(end_time=-1)], {}, "segments: segment 2: a segment needs finite 0 <= start < end"),
        ([segment(), segment(start_time=None)], {}, "segments: segment 2: start_time or end_time is not a valid time"),
        ([{"speaker": "S"}], {}, "segments: segment 1: a segment is an object with a session_id"),
        ([3], {}, "segments: segment 1: a segment is an object with a session_id"),
        ([segment(words=3)], {}, "segments: segment 1: words is not a string"),
        ([segment(extra={1, 2})], {}, "a value cannot be written as JSON"),
    ):
        with pytest.raises(FormatError, match=message):
            diarize.from_seglst(segments, **how)  # type: ignore[arg-type]
    with pytest.raises(FormatError, match="a: a duration is finite and not negative, got -1"):
        diarize.from_seglst([segment()], duration=-1)
    with pytest.raises(TypeError, match="takes a list of segments"):
        diarize.from_seglst(segment())  # type: ignore[arg-type]
    assert diarize.from_seglst([]).recording == "recording"

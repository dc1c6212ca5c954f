"""References and hypotheses from files and folders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from diarize import formats
from diarize.errors import ConfigError, FormatError
from diarize.formats import transcript_json
from diarize.types import Segment, Speaker, Transcript, Turn, Word
from pipelines.evaluation import files as evaluation_files
from pipelines.evaluation.files import TextSpan, read, read_uem
from pipelines.inputs.recordings import match_key

TALK = Transcript(
    recording="talk",
    duration=9.0,
    speakers=(Speaker("S1", "Ada"), Speaker("S2")),
    turns=(Turn(0, 4, "S1"), Turn(3, 9, "S2")),
    words=(Word(0.5, 1, "hello", speaker="S1"), Word(4, 5, "yes", speaker="S2"), Word(8, 8, "hm")),
)
RTTM = "SPEAKER talk 1 0.000 4.000 <NA> <NA> A <NA> <NA>\n"


def put(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("format", ["json", "rttm", "stm", "seglst", "ctm"])
def test_every_format_of_ours_is_read_back(tmp_path: Path, format: str) -> None:
    file = tmp_path / f"some{formats.suffix(format)}"
    file.write_text(formats.dumps(format, TALK))
    (found,) = read(file).values()
    assert found.recording == "talk"
    if format == "ctm":
        assert found.turns is None
    else:
        assert [(t.start, t.end, t.speaker) for t in found.turns or ()] == [(0, 4, "S1"), (3, 9, "S2")]
    said = [item.text for item in found.timed or ()]
    assert said == {"rttm": []}.get(format, ["hello", "yes", "hm"])
    assert (found.timed is None) == (format == "rttm")


def test_a_transcript_gives_names_words_and_utterances(tmp_path: Path) -> None:
    put(tmp_path, {"transcript.json": transcript_json.dumps(TALK)})
    found = read(tmp_path)["talk"]
    assert found.names == {"S1": "Ada"} and found.identified
    assert found.timed == (TextSpan(0.5, 1, "S1", "hello"), TextSpan(4, 5, "S2", "yes"), TextSpan(8, 8, None, "hm"))
    assert found.utterances is not None and found.utterances[0] == TextSpan(0.5, 1, "S1", "hello")


def test_labels_are_the_names_of_a_reference_without_others(tmp_path: Path) -> None:
    put(tmp_path, {"talk.rttm": RTTM})
    found = read(tmp_path)["talk"]
    assert found.names == {"A": "A"} and not found.identified


def test_a_results_folder_is_its_transcripts(tmp_path: Path) -> None:
    texts = [name for name in formats.names() if name not in formats.BINARY]
    put(tmp_path, {f"talk/transcript{formats.suffix(name)}": formats.dumps(name, TALK) for name in texts})
    put(tmp_path, {"talk/provenance.json": "{}", "run.json": '{"a": 1}', ".hidden/x.rttm": RTTM, "talk/old.rttm": RTTM})
    assert list(read(tmp_path)) == ["talk"] and read(tmp_path)["talk"].identified


def test_turns_and_words_come_from_the_best_file_that_has_them(tmp_path: Path) -> None:
    stm = "talk 1 Ada 1 2 hello\n"
    put(tmp_path, {"talk.rttm": RTTM, "sub/talk.stm": stm, "talk.ctm": "talk 1 1 1 goodbye\n"})
    found = read(tmp_path)["talk"]
    assert found.turns == (Turn(0, 4, "A"),) and found.timed == (TextSpan(1, 2, "Ada", "hello"),)


def test_a_recording_twice_names_both_files(tmp_path: Path) -> None:
    put(tmp_path, {"talk.rttm": RTTM, "talk.old.rttm": RTTM})
    with pytest.raises(ConfigError) as caught:
        read(tmp_path)
    assert str(tmp_path / "talk.rttm") in str(caught.value) and str(tmp_path / "talk.old.rttm") in str(caught.value)
    assert "talk" in read(tmp_path, ignore=["*.old.rttm"])
    assert "talk" in read(tmp_path, match=["talk.rttm"])


def test_many_recordings_in_one_file(tmp_path: Path) -> None:
    put(tmp_path, {"all.rttm": RTTM + RTTM.replace("talk", "call") + RTTM.replace("talk", "chat")})
    assert sorted(read(tmp_path / "all.rttm")) == ["call", "chat", "talk"]


@pytest.mark.parametrize(
    ("name", "text"), [("quiet.rttm", ""), ("quiet.stm", ";; none\n"), ("quiet.seglst.json", "[]")]
)
def test_fault_21_an_empty_file_is_a_silent_recording(tmp_path: Path, name: str, text: str) -> None:
    put(tmp_path, {name: text})
    assert read(tmp_path)["quiet"].turns == ()
    assert read(tmp_path / name)["quiet"].turns == ()


def test_other_files_in_a_folder_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path, {"talk.rttm": RTTM, "talk.words.json": '[{"word": "hello"}]', "talk.uem": "x", "list.json": "[]"})
    assert list(read(tmp_path)) == ["talk"]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.json", '{"schema": "other"}', "neither a transcript of this project nor SegLST"),
        ("a.json", "{", "not JSON"),
        ("a.json", '{"schema": "diarize-transcript/99"}', "newer version"),
        ("a.rttm", "SPEAKER talk 1 zero 4 <NA> <NA> A <NA> <NA>\n", "a.rttm:1"),
        ("a.rttm", "SPEAKER talk 1 0 4 <NA> <NA> Anna Maria <NA> <NA>\n", "a.rttm:1"),
        ("a.stm", "talk 1 A 3 2 hello\n", "a.stm:1"),
        ("a.seglst.json", '[{"session_id": "talk", "speaker": "A", "words": "hello"}]', "is not a valid time"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path: Path, name: str, text: str, problem: str) -> None:
    put(tmp_path, {name: text})
    with pytest.raises(FormatError, match=problem):
        read(tmp_path / name)


def test_fault_43_words_without_times_are_refused(tmp_path: Path) -> None:
    broken = json.loads(transcript_json.dumps(TALK))
    broken["words"][0]["start"] = None
    put(tmp_path, {"transcript.json": json.dumps(broken)})
    with pytest.raises(FormatError, match=r"words\[0\].start is null"):
        read(tmp_path)


def test_text_that_is_no_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.rttm").write_bytes(b"SPEAKER \xff\n")
    with pytest.raises(FormatError, match="not UTF-8"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "nothing", "sound.wav"])
def test_a_path_without_recordings(tmp_path: Path, name: str) -> None:
    (tmp_path / "nothing").mkdir()
    (tmp_path / "sound.wav").write_bytes(b"RIFF")
    with pytest.raises(ConfigError):
        read(tmp_path / name)


def test_uems_from_a_file_or_a_folder(tmp_path: Path) -> None:
    put(tmp_path, {"a.uem": "talk 1 0 5\ntalk 1 7 9\n", "b.uem": "call 1 1 2\n", "c.rttm": RTTM})
    assert read_uem(tmp_path) == {"talk": (Segment(0, 5), Segment(7, 9)), "call": (Segment(1, 2),)}
    assert list(read_uem(tmp_path / "b.uem")) == ["call"]
    put(tmp_path, {"d.uem": "call 1 1 2\n"})
    with pytest.raises(ConfigError, match="another UEM file"):
        read_uem(tmp_path)


@pytest.mark.parametrize("name", ["", "NA", "a b", "été", "../../etc/x", "会" * 33, "x" * 300, "=cmd()"])
def test_fault_38_a_recording_is_the_same_in_every_format(tmp_path: Path, name: str) -> None:
    files = {f: tmp_path / f"t{formats.suffix(f)}" for f in ("json", "rttm", "stm", "seglst", "ctm")}
    for format, file in files.items():
        file.write_text(formats.dumps(format, replace(TALK, recording=name)), encoding="utf-8")
    assert {k for file in files.values() for k in read(file)} == {match_key(name)}


def test_fault_37_unicode_forms_of_one_name_are_one_recording() -> None:
    assert match_key("e\u0301") == match_key("\u00e9")


def test_links_and_devices_in_a_folder_do_not_block(tmp_path: Path) -> None:
    put(tmp_path, {"talk.rttm": RTTM})
    (tmp_path / "gone.rttm").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "zero.rttm").symlink_to("/dev/zero")
    assert list(evaluation_files.read(tmp_path)) == ["talk"]
